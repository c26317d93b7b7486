"""The size that a JPEG XL file claims: its plug-in decodes all pixels on opening, too late for a limit."""

from ops.decoding.boxes import boxes

RATIOS = {1: (1, 1), 2: (6, 5), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


class Bits:
    """Numbers from bytes, lowest bit first."""

    def __init__(self, encoded: bytes) -> None:
        self.left = int.from_bytes(encoded, "little")

    def take(self, count: int) -> int:
        """Return the next `count` bits."""
        number = self.left & ((1 << count) - 1)
        self.left >>= count
        return number


def jxl_size(encoded: bytes) -> tuple[int, int]:
    """Return width and height as displayed, in pixels; raises `ValueError` without a codestream."""
    bits = Bits(_codestream(encoded)[2:64])
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio:
        wide, high = RATIOS[ratio]
        width = height * wide // high
    else:
        width = _side(bits, small)
    return (height, width) if _orientation(bits) > 4 else (width, height)


def _side(bits: Bits, small: int) -> int:
    if small:
        return (bits.take(5) + 1) * 8
    return bits.take((9, 13, 18, 30)[bits.take(2)]) + 1


def _orientation(bits: Bits) -> int:
    all_default = bits.take(1)
    extra_fields = 0 if all_default else bits.take(1)
    return bits.take(3) + 1 if extra_fields else 1


def _codestream(encoded: bytes) -> bytes:
    if encoded.startswith(b"\xff\x0a"):
        return encoded[:64]
    for part in boxes(encoded):
        # A partial codestream begins with its four-byte index.
        start = part.start + 4 if part.kind == b"jxlp" else part.start
        if part.kind in {b"jxlc", b"jxlp"} and encoded[start : start + 2] == b"\xff\x0a":
            return encoded[start : start + 64]
    raise ValueError("no codestream box jxlc or jxlp")
