"""Networks of metrics compute in float32 in one order, whatever the process has switched on."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn.functional import conv2d

from ops.networks.exact import exactly

BACKENDS: Any = torch.backends


def switches() -> tuple[list[str], list[bool]]:
    precisions = (BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn, BACKENDS.mkldnn.matmul)
    cudnn = torch.backends.cudnn
    return [one.fp32_precision for one in precisions], [cudnn.enabled, cudnn.benchmark, cudnn.deterministic]


@pytest.fixture
def _put_back() -> Iterator[None]:
    precisions, (_, benchmark, _) = switches()
    yield
    torch.set_float32_matmul_precision("highest")
    BACKENDS.fp32_precision = "none"
    BACKENDS.cuda.matmul.fp32_precision, BACKENDS.cudnn.conv.fp32_precision = precisions[:2]
    BACKENDS.cudnn.rnn.fp32_precision, BACKENDS.mkldnn.matmul.fp32_precision = precisions[2:]
    torch.backends.cudnn.benchmark = benchmark


def older_switch() -> None:
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True


def newer_switches() -> None:
    BACKENDS.cuda.matmul.fp32_precision = BACKENDS.cudnn.conv.fp32_precision = "tf32"


def one_for_all() -> None:
    BACKENDS.fp32_precision = "tf32"


@pytest.mark.usefixtures("_put_back")
@pytest.mark.parametrize("switch_on", [lambda: None, older_switch, newer_switches, one_for_all])
def test_on_a_gpu_tf32_and_timing_are_off_inside_and_as_before_behind_it(switch_on):
    switch_on()
    before = switches()
    for error in (None, KeyError("of the metric")):
        try:
            with torch.autocast("cpu", torch.bfloat16), exactly("cuda"):
                assert switches() == (["ieee"] * 4, [True, False, True])
                # What PyTorch looks at when it multiplies: it raises where older and newer switches disagree.
                assert not torch.backends.cuda.matmul.allow_tf32
                conv2d(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3, 3))
                assert torch.is_inference_mode_enabled()
                if error:
                    raise error
        except KeyError:
            pass
        assert switches() == before


def test_on_the_cpu_no_switch_is_touched_and_autocast_is_off():
    before, x = switches(), torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16), exactly("cpu"):
        assert switches() == before
        assert (x @ x).dtype == torch.float32


@pytest.mark.parametrize(("device", "together"), [("cuda", False), ("cpu", True)])
def test_threads_take_turns_on_a_gpu_and_none_waits_on_the_cpu(device, together):
    inside = threading.Event()

    def second() -> None:
        with exactly(device):
            inside.set()

    with exactly(device):
        thread = threading.Thread(target=second)
        thread.start()
        assert inside.wait(5 if together else 0.3) == together
    thread.join(5)
    assert inside.is_set()
