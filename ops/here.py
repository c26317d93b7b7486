"""Where codecs run outside Ray, and how a device and what computes on it are called."""

import gc
import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version

from ops.codecs.base import CodecConfig
from ops.codecs.learned import LearnedConfig
from ops.stack import cpu, stack

_LIBRARIES = ("torch", "diffusers")


def device_here(config: CodecConfig) -> str:
    """Return the device on which this machine runs a codec: `cuda` for a learned one where there is one, else `cpu`."""
    if not isinstance(config, LearnedConfig) or importlib.util.find_spec("torch") is None:
        return "cpu"
    import torch  # noqa: PLC0415  the base install has none

    return "cuda" if torch.cuda.is_available() else "cpu"


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


def _version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return ""
