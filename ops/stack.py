"""What a machine runs on, in a line: recorded with every part, since bytes may depend on it."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from PIL import Image, features

_LIBRARIES = ("jpg", "webp", "libjpeg_turbo", "zlib", "libtiff", "jpg_2000", "avif", "littlecms2")


@cache
def regrow_version() -> str:
    """Return the version that is installed, or a plain word where the source runs uninstalled."""
    try:
        return version("regrow")
    except PackageNotFoundError:
        return "uninstalled"


@cache
def stack() -> str:
    """Return the versions of everything that decodes, resamples or encodes pixels."""
    libraries = [f"{name} {features.version(name)}" for name in _LIBRARIES if features.version(name)]
    return ", ".join(
        [
            f"regrow {regrow_version()}",
            f"python {platform.python_version()}",
            f"Pillow {Image.__version__}",
            *libraries,
            f"numpy {np.__version__}",
        ]
    )


@cache
def cpu() -> str:
    """Return the kind of device for work that runs on the processor."""
    return f"cpu {platform.machine()} {platform.system().lower()}"
