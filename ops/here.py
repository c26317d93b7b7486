"""Where codecs run outside Ray, and how a device and what computes on it are called."""

import gc
import importlib.util
import logging
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from ops.codecs.base import CodecConfig
from ops.codecs.learned import LearnedConfig
from ops.stack import cpu, stack

IDLE_GPU = "torch here cannot use the GPU: install a CUDA build of torch, or set CUDA_VISIBLE_DEVICES= to leave it"

_LIBRARIES = ("torch", "diffusers")


def device_here(config: CodecConfig) -> str:
    """Return the device on which this machine runs a codec: `cuda` for a learned one where there is one, else `cpu`."""
    return "cuda" if isinstance(config, LearnedConfig) and has_cuda() else "cpu"


def has_cuda() -> bool:
    """Say whether torch is here and can use a GPU: its CPU build cannot, nor any build with a broken driver."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch  # noqa: PLC0415  the base install has none

    return torch.cuda.is_available()


def usable_device(device: str) -> str:
    """Return a device for work on this machine: the one that is wanted, or `cpu` where torch cannot use that.

    Whoever counts GPUs looks for their files, not at torch. The processor in a GPU's place is warned of in the log.
    """
    if device == "cpu" or has_cuda():
        return device
    _warn_of_idle_gpu()
    return "cpu"


def device_words(device: str) -> str:
    """Return what kind of device it is, as archives record it."""
    if device == "cpu":
        return cpu()
    import torch  # noqa: PLC0415  the base install has none

    return f"{device.partition(':')[0]} {torch.cuda.get_device_name(device)}"


def stack_words(config: CodecConfig) -> str:
    """Return the versions of everything that decides a codec's bytes."""
    if not isinstance(config, LearnedConfig):
        return stack()
    return ", ".join([stack(), *(said for name in _LIBRARIES if (said := _version(name)))])


def forget_device() -> None:
    """Give back what this process holds of an accelerator's memory and uses no more: workers need it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


@cache
def _warn_of_idle_gpu() -> None:
    """Warn in the log, once in a process."""
    logging.getLogger(__name__).warning(IDLE_GPU)


def _version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return ""
