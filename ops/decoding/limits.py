"""How large an image may claim to be before a pixel of it is decoded."""

from msgspec import Struct

from ops.images import FailureCode, ImageError


class Limits(Struct, frozen=True, kw_only=True):
    """The largest image that is admitted: pixels in all, pixels per side, bytes encoded.

    Decoding may take 12 bytes of memory times `pixels`. JPEG 2000 takes more per pixel, so fewer are admitted of it.
    """

    pixels: int = 400_000_000
    side: int = 65_535
    encoded_bytes: int = 1 << 30


def check_encoded(encoded: bytes, limits: Limits) -> None:
    """Raise `ImageError` where there are no bytes, or too many."""
    if not encoded:
        raise ImageError(FailureCode.EMPTY, "no bytes at all; upload or download the file again")
    if len(encoded) > limits.encoded_bytes:
        reason = f"{len(encoded):,} bytes encoded, the limit is {limits.encoded_bytes:,}; {_larger('encoded_bytes')}"
        raise ImageError(FailureCode.TOO_LARGE, reason)


def check_memory(pixels: int, needed: int, limits: Limits) -> None:
    """Raise `ImageError` where decoding so many pixels would take more than 12 bytes for each that is admitted."""
    if needed > 12 * limits.pixels:
        reason = f"{pixels:,} pixels take {needed:,} bytes to decode, the limit is {12 * limits.pixels:,}"
        raise ImageError(FailureCode.TOO_LARGE, f"{reason}; save it as PNG or in tiles, or {_larger('pixels')}")


def check_size(width: int, height: int, limits: Limits) -> None:
    """Raise `ImageError` where a header claims more pixels than are admitted."""
    if max(width, height) > limits.side:
        reason = f"{width}x{height} pixels, the limit is {limits.side:,} per side; {_larger('side')}"
        raise ImageError(FailureCode.TOO_LARGE, reason)
    if width * height > limits.pixels:
        reason = f"{width}x{height} is {width * height:,} pixels, the limit is {limits.pixels:,}; {_larger('pixels')}"
        raise ImageError(FailureCode.TOO_LARGE, reason)


def _larger(name: str) -> str:
    """Return the remedy, in the words of those who archive: limits are decided when an archive is made."""
    option = f"--max-{name.replace('_', '-')}"
    return f"make an archive with a larger max_{name} ({option}, or reading.max_{name} in a job file)"
