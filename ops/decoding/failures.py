"""From whatever a decoder raises to a failure with a code, a reason and a remedy."""

import re

from PIL import Image

from ops.decoding.endings import ends_early
from ops.images import FailureCode, ImageError

UNSUPPORTED = re.compile(
    r"unsupported|cannot handle|unknown pixel mode|unknown data organi|not yet supported|unable to determine|"
    r"not implemented|not supported|no codec|imagesizelimit",
    re.IGNORECASE,
)
TRUNCATED = re.compile(r"truncat|not enough image data|end of file|unexpected eof|premature|incomplete", re.IGNORECASE)
MEMORY = re.compile(r"out of memory|insufficient memory|bad_alloc|memory allocation", re.IGNORECASE)


def explain(name: str, encoded: bytes, error: BaseException) -> ImageError:
    """Return the failure that an exception of the decoder of this format stands for, with its text kept."""
    text = " ".join(f"{name}: {str(error) or type(error).__name__}".split())[:300]
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(FailureCode.TOO_LARGE, f"{text}; this is a limit inside Pillow, save it in another format")
    if isinstance(error, MemoryError) or MEMORY.search(text):
        return ImageError(FailureCode.OUT_OF_MEMORY, f"{text}; allow more memory or lower limits.pixels")
    if ends_early(name, encoded) or TRUNCATED.search(text):
        return ImageError(FailureCode.TRUNCATED, f"{text}; the file ends too early, fetch it again")
    if UNSUPPORTED.search(text):
        return ImageError(FailureCode.UNSUPPORTED, f"{text}; save it in a plain variety of {name}, or as PNG")
    return ImageError(FailureCode.CORRUPT, f"{text}; the file is damaged, fetch it again or restore a copy")
