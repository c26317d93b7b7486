"""Arithmetic in float32 in one order, for networks whose outputs are scores."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

_ON_GPU = threading.RLock()


@contextmanager
def exactly(device: str | torch.device) -> Iterator[None]:
    """Infer in float32 and in one order: no gradients, no autocast, and on a GPU no TF32 and no choice by timing.

    TF32 keeps 10 of float32's 23 bits, and PyTorch lets convolutions use it unless it is told not to. Its switches are
    the process's, and are put back behind the block: on a GPU, one thread at a time is in one, and others wait. Its
    memory, too, has room for one image's features. On the CPU nobody waits.
    """
    kind = torch.device(device).type
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(torch.autocast(kind, enabled=False))
        if kind == "cuda":
            stack.enter_context(_ON_GPU)
            stack.enter_context(_without_tf32())
            stack.enter_context(_in_one_order())
        yield


@contextmanager
def _without_tf32() -> Iterator[None]:
    backends: Any = torch.backends
    # The last for the older switch alone, which sets it as well.
    switches = [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul]
    older, before = _older_switch(), [switch.fp32_precision for switch in switches]
    try:
        if older:
            torch.set_float32_matmul_precision("highest")  # PyTorch refuses to multiply where the two disagree
        for switch in switches:
            switch.fp32_precision = "ieee"
        yield
    finally:
        if older:
            torch.set_float32_matmul_precision(older)
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision


def _older_switch() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # only the newer ones were used, and they say otherwise
        return None


@contextmanager
def _in_one_order() -> Iterator[None]:
    cudnn = torch.backends.cudnn
    before = cudnn.enabled, cudnn.benchmark, cudnn.deterministic
    try:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = True, False, True
        yield
    finally:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = before
