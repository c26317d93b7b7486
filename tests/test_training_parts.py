"""Parts of training, each alone: rates, running averages, checkpoints, curves."""

import contextlib
import json
import logging
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ops.training import checkpoints
from ops.training.average import Average
from ops.training.checkpoints import Checkpoint
from ops.training.curves import FILE, Curves, read_points
from ops.training.errors import TrainingError
from ops.training.rates import rate_at
from ops.training.settings import Rate

ROOT = Path(__file__).parents[1]


# Rates


def test_a_rate_rises_over_its_warm_up_and_is_halved_from_its_end():
    rate = Rate(start=8e-4, warmup=4, halve_every=3)
    found = [rate_at(rate, step, 12) for step in range(12)]
    assert found == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, *[8e-4] * 3, *[4e-4] * 3, *[2e-4] * 2], rel=1e-12)
    assert [rate_at(Rate(start=3e-4), step, 5) for step in range(5)] == [3e-4] * 5


def test_a_cosine_goes_from_the_start_to_its_end_at_the_last_step():
    rate = Rate(start=2e-4, warmup=10, cosine_to=2e-6)
    found = [rate_at(rate, step, 111) for step in range(111)]
    assert (found[9], found[10]) == (2e-4, 2e-4)
    assert found[60] == pytest.approx((2e-4 + 2e-6) / 2, rel=1e-12)  # halfway
    assert found[35] == pytest.approx(2e-6 + 1.98e-4 * (1 + math.sqrt(0.5)) / 2, rel=1e-12)  # after a quarter
    assert found[110] == 2e-6
    assert found[10:] == sorted(found[10:], reverse=True)
    assert rate_at(Rate(start=1e-3, cosine_to=1e-5), 0, 1) == 1e-5  # a first step that is the last


def test_a_rate_that_is_to_fall_in_two_ways_is_refused_with_both():
    with pytest.raises(ValueError, match="halve_every 7 and cosine_to 1e-06: leave one of the two out"):
        rate_at(Rate(halve_every=7, cosine_to=1e-6), 0, 10)


# Running averages


class Small(nn.Module):
    """What is trained, what is not, and buffers of three kinds."""

    def __init__(self):
        super().__init__()
        self.trained = nn.Parameter(torch.tensor([1.0, -2.0]))
        self.fixed = nn.Parameter(torch.tensor([5.0]), requires_grad=False)
        self.register_buffer("mean", torch.tensor([10.0]))
        self.register_buffer("count", torch.tensor([3]))
        self.register_buffer("mask", torch.tensor([-math.inf, 0.0]), persistent=False)

    def put(self, trained, mean):
        with torch.no_grad():
            self.trained.copy_(torch.tensor(trained))
            self.mean.copy_(torch.tensor(mean))

    def bits(self):
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        return {name: tensor.detach().numpy().tobytes() for name, tensor in tensors.items()}


def test_an_average_forgets_its_first_steps_and_then_decays_as_it_is_told():
    module = Small()
    average = Average(module, 0.15)
    module.put([2.0, 0.0], [20.0])
    average.update(module)  # by 1/10
    module.put([4.0, 8.0], [0.0])
    average.update(module)  # by 0.15, where 2/11 would be more
    values = average.state()["values"]
    expected = {"trained": [0.15 * 1.9 + 0.85 * 4, 0.15 * -0.2 + 0.85 * 8], "mean": [0.15 * 19]}
    assert {name: value.tolist() for name, value in values.items()} == {
        name: pytest.approx(value, rel=1e-6) for name, value in expected.items()
    }
    assert average.state()["updates"] == 2


def test_averages_stand_in_the_module_within_a_block_and_its_own_weights_behind_it_to_the_bit():
    module = Small()
    average = Average(module, 0.999)
    module.put([math.pi, -1e-30], [1 / 3])
    average.update(module)
    before, parameter, address = module.bits(), module.trained, module.trained.data_ptr()
    with contextlib.suppress(KeyError), average.swapped(module):
        assert torch.equal(module.trained, average.state()["values"]["trained"])
        assert torch.equal(module.mean, average.state()["values"]["mean"])
        assert module.bits() != before
        module.mean.add_(1)  # as a validation in the wrong mode would
        raise KeyError
    assert module.bits() == before
    assert (module.trained, module.trained.data_ptr()) == (parameter, address)  # as the optimiser knows it
    average.copy_into(module)
    assert torch.equal(module.trained, average.state()["values"]["trained"])
    assert (module.fixed.tolist(), module.count.tolist(), module.mask.tolist()) == ([5.0], [3], [-math.inf, 0.0])


def test_an_average_of_half_precision_is_kept_in_float32():
    module = nn.Linear(1, 1, bias=False).bfloat16()
    nn.init.constant_(module.weight, 1.0)
    average = Average(module, 0.999)
    nn.init.constant_(module.weight, 1.0078125)  # the next number of bfloat16
    average.update(module)
    value = average.state()["values"]["weight"]
    assert (value.dtype, value.item()) == (torch.float32, pytest.approx(1 + 0.9 * 0.0078125, rel=1e-6))
    average.copy_into(module)
    assert module.weight.dtype == torch.bfloat16


def test_an_average_that_holds_on_to_nothing_is_the_weights_themselves():
    module = Small()
    average = Average(module, 0)
    module.put([7.0, 8.0], [9.0])
    average.update(module)
    before = module.bits()
    with average.swapped(module):
        assert module.bits() == before
    average.copy_into(module)
    assert module.bits() == before
    assert average.state() == {"updates": 0, "values": {}}


def test_an_average_that_was_saved_and_loaded_goes_on_to_the_same_bits(tmp_path):
    module, again = Small(), Small()
    average = Average(module, 0.9)
    for at in range(5):
        module.put([at / 7, at / 3], [at / 11])
        average.update(module)
    torch.save(average.state(), tmp_path / "state.pt")
    resumed = Average(again, 0.9)
    resumed.load(torch.load(tmp_path / "state.pt", weights_only=True))
    for one in (average, resumed):
        one.update(Small())
    assert all(torch.equal(value, average.state()["values"][name]) for name, value in resumed.state()["values"].items())
    with pytest.raises(TrainingError, match=r"bias is on one side only; start in a new folder"):
        Average(nn.Linear(1, 1), 0.9).load(average.state())
    with pytest.raises(TrainingError, match=r"weight has shape \(1, 3\), here it has \(1, 2\)"):
        Average(nn.Linear(2, 1, bias=False), 0.9).load(Average(nn.Linear(3, 1, bias=False), 0.9).state())


# Checkpoints


def checkpoint(stage=0, step=100, **changed):
    torch.manual_seed(stage * 1000 + step)
    module = nn.Linear(9, 7)
    optimiser = torch.optim.AdamW(module.parameters())
    module(torch.ones(9)).sum().backward()
    optimiser.step()
    states = {
        "model": dict(module.state_dict()),
        "average": Average(module, 0.9).state(),
        "optimiser": optimiser.state_dict(),
    }
    facts = {"seconds_0": 1.5, "told": True, "word": "é", "nothing": None}
    return Checkpoint(**{"stage": stage, "step": step, "digest": "0d1c", **states, "facts": facts, **changed})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def flat(state):
    """Return nested states as one dictionary of plain values."""
    if isinstance(state, torch.Tensor):
        return state.tolist()
    if isinstance(state, dict):
        return {name: flat(value) for name, value in state.items()}
    return [flat(value) for value in state] if isinstance(state, list | tuple) else state


def contents(one):
    return flat({name: getattr(one, name) for name in one.__struct_fields__})


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    assert checkpoints.newest(tmp_path / "none") is None
    written = checkpoint(1, 12000)
    assert checkpoints.save(tmp_path / "new", written) == tmp_path / "new" / "01-0012000.pt"
    assert contents(checkpoints.newest(tmp_path / "new")) == contents(written)


def test_the_newest_two_stay_and_those_that_were_to_be_kept(tmp_path):
    (tmp_path / "00-0000050.pt.new").write_bytes(b"of a run that was killed while it wrote")
    (tmp_path / "notes.pt").write_bytes(b"somebody's own")
    for stage, step in ((0, 100), (0, 200), (1, 0), (1, 50), (1, 100), (2, 0), (2, 9_999_990), (2, 10_000_000)):
        checkpoints.save(tmp_path, checkpoint(stage, step), keep=step == 0)
    kept = ["01-0000000.keep", "01-0000000.pt", "02-0000000.keep", "02-0000000.pt"]
    assert names(tmp_path) == [*kept, "02-10000000.pt", "02-9999990.pt", "notes.pt"]
    assert checkpoints.newest(tmp_path).step == 10_000_000  # by number, not by letters


def test_a_torn_or_corrupt_checkpoint_is_told_and_the_one_before_is_taken(tmp_path, caplog):
    checkpoints.save(tmp_path, checkpoint(0, 100))
    path = checkpoints.save(tmp_path, checkpoint(0, 200))
    whole, expected = path.read_bytes(), contents(checkpoint(0, 200))
    flipped = [_flipped(whole, at) for at in range(0, len(whole), 61)]
    torn = [whole[:length] for length in range(0, len(whole), 997)]
    refused = 0
    for content in (*torn, bytes(len(whole)), b"not a checkpoint", *flipped):
        path.write_bytes(content)
        caplog.clear()
        found = checkpoints.newest(tmp_path)
        if found.step == 200:  # what was flipped is padding
            assert contents(found) == expected
            continue
        refused += 1
        assert found.step == 100
        assert f"checkpoint {path} cannot be read" in caplog.messages[0]
        assert names(tmp_path) == ["00-0000100.pt", "00-0000200.pt.unreadable"]
    assert refused > len(torn) + len(flipped) // 3


def _flipped(content, at):
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def test_a_run_never_begins_anew_by_itself_where_no_checkpoint_can_be_read(tmp_path, caplog):
    checkpoints.save(tmp_path, checkpoint()).write_bytes(b"torn")
    for _ in range(2):  # the second time it is set aside already
        with pytest.raises(TrainingError, match="has no checkpoint that can be read: remove the folder to begin anew"):
            checkpoints.newest(tmp_path)
    assert len(caplog.messages) == 1


def test_a_corrupt_checkpoint_does_not_count_among_the_two_that_are_kept(tmp_path, caplog):
    for step in (100, 200):
        path = checkpoints.save(tmp_path, checkpoint(0, step))
    path.write_bytes(b"torn")
    with caplog.at_level(logging.ERROR):
        assert checkpoints.newest(tmp_path).step == 100
    checkpoints.save(tmp_path, checkpoint(0, 150))
    assert [name for name in names(tmp_path) if name.endswith(".pt")] == ["00-0000100.pt", "00-0000150.pt"]


def test_what_could_not_be_read_back_never_stands_for_a_checkpoint(tmp_path):
    checkpoints.save(tmp_path, checkpoint(0, 100))
    with pytest.raises(Exception, match="numpy"):
        checkpoints.save(tmp_path, checkpoint(0, 200, facts={"loss": np.float64(0.5)}))
    assert names(tmp_path) == ["00-0000100.pt"]


def test_a_checkpoint_of_another_configuration_is_refused_with_both_digests():
    checkpoints.check(checkpoint(), ["0d1c", "and what is not begun"])
    checkpoints.check(checkpoint(1, 0), ["0d1c", "and what is not begun"])
    with pytest.raises(
        TrainingError, match=r"00-0000100\.pt is of configuration 0d1c, but this run's is beef: train in"
    ):
        checkpoints.check(checkpoint(), ["beef", "0d1c"])
    with pytest.raises(TrainingError, match=r"01-0000005\.pt is of a run with 2 stages begun, but the job has 1"):
        checkpoints.check(checkpoint(1, 5), ["0d1c"])


# A limit on the size of files is a full disk that a test can have: a write ends in the middle, with an OSError.
FULL = """
import resource, sys
from pathlib import Path
import torch
from ops.training import checkpoints
from ops.training.curves import Curves
from ops.training.errors import TrainingError
folder = Path(sys.argv[1])
number = lambda step, n: checkpoints.Checkpoint(
    stage=0, step=step, digest="d", model={"w": torch.full((n,), float(step))}, average={}, optimiser={})
checkpoints.save(folder, number(1, 10_000))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
try:
    checkpoints.save(folder, number(2, 1_000_000), keep=True)
except TrainingError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    with Curves(folder / "curves") as curves:
        for step in range(9):
            curves.add(0, step, {"loss": 1.0})
except TrainingError as error:
    print(error)
"""


def test_a_full_disk_is_told_with_bytes_and_leaves_the_checkpoint_before(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr  # TensorBoard's thread, where it is installed, tells its own end there
    of_checkpoint, of_curves = done.stdout.splitlines()
    assert of_checkpoint.startswith(
        f"{tmp_path / '00-0000002.pt'} cannot be written (File too large): it needs 4.0 MB, "
    )
    assert " MB are free there; make room, or allow larger files, and start the same command again" in of_checkpoint
    assert of_curves.startswith(f"{tmp_path / 'curves' / FILE} cannot be written (File too large)")
    assert names(tmp_path) == ["00-0000001.pt", "curves"]
    assert checkpoints.newest(tmp_path).model["w"].tolist() == [1.0] * 10_000


# Curves


def drawn(folder, first, last):
    """Draw the points of two stages of four steps, of those from `first` to `last`."""
    with Curves(folder, first) as curves:
        for stage, step in [(stage, step) for stage in (0, 1) for step in range(4)]:
            if first <= (stage, step) <= last:
                curves.add(stage, step, {"loss": 1 / (1 + stage + step), "rate": 1e-4})
                if step == 3:
                    curves.add(stage, step, {"psnr": 25.5})


@pytest.mark.parametrize("resumed", [(0, 0), (0, 2), (1, 0), (1, 1)])
def test_a_resumed_run_has_the_curves_of_one_that_was_never_interrupted(tmp_path, resumed):
    drawn(tmp_path / "whole", (0, 0), (1, 3))
    drawn(tmp_path / "torn", (0, 0), (1, 2))
    with (tmp_path / "torn" / FILE).open("ab") as file:
        file.write(b'{"stage":1,"step":3,"lo')
    drawn(tmp_path / "torn", resumed, (1, 3))
    whole = (tmp_path / "whole" / FILE).read_bytes()
    assert (tmp_path / "torn" / FILE).read_bytes() == whole
    points = [json.loads(line) for line in whole.splitlines()]
    assert points == read_points(tmp_path / "torn" / FILE)
    assert (len(points), points[1]) == (10, {"stage": 0, "step": 1, "loss": 0.5, "rate": 1e-4})


def test_a_point_is_on_disk_at_once_and_what_is_no_number_is_null(tmp_path):
    with Curves(tmp_path) as curves:
        curves.add(0, 7, {"loss": math.nan, "rate": 0.5})
        assert (tmp_path / FILE).read_text() == '{"stage":0,"step":7,"loss":null,"rate":0.5}\n'
        with pytest.raises(ValueError, match="a curve cannot be called 'step'"):
            curves.add(0, 8, {"step": 1.0})


def test_tensorboard_shows_a_resumed_run_as_one_that_was_never_interrupted(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator as accumulator  # noqa: PLC0415  slow to import

    drawn(tmp_path, (0, 0), (1, 2))
    drawn(tmp_path, (1, 1), (1, 3))
    for stage in (0, 1):
        events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / f"stage-{stage}"))
        events.Reload()
        losses = [(point.step, point.value) for point in events.Scalars("loss")]
        assert losses == [(step, pytest.approx(1 / (1 + stage + step))) for step in range(4)]
        assert [point.value for point in events.Scalars("psnr")] == [25.5]
