"""What a file says about its picture beside the pixels: depth, frames, and what makes it no picture for us."""

from PIL import BmpImagePlugin, GifImagePlugin, ImageFile, PngImagePlugin, TiffImagePlugin

from ops.decoding import boxes
from ops.decoding.formats import open_picture
from ops.decoding.jxl import jxl_size
from ops.decoding.limits import Limits, check_memory, check_size
from ops.decoding.png import before_pixels
from ops.images import FailureCode, ImageError

# Canon's raw files: the first directory at 16, and before it a mark with its version.
CR2 = b"\x10\0\0\0CR\x02\0"
SUB_DIRECTORIES, NEW_SUBFILE_TYPE, DNG_VERSION, BITS_PER_CHANNEL = 330, 254, 50706, 258
# Strips, then tiles: offsets and byte counts.
EXTENTS = ((273, 279), (324, 325))


def check_claims(name: str, encoded: bytes, limits: Limits) -> None:
    """Raise `ImageError` for sizes beyond the limits in formats whose plug-in decodes or allocates on opening."""
    try:
        if name == "JXL":
            check_size(*jxl_size(encoded), limits)
        elif name == "JPEG2000":
            width, height, _ = boxes.jpeg2000_size(encoded)
            check_size(width, height, limits)
            # OpenJPEG holds four bytes for each component of the tile at hand, beside our eight for each pixel.
            tile, components = boxes.jpeg2000_tile(encoded)
            held = 4 * components * min(tile, width * height)
            check_memory(width * height, 8 * width * height + held, limits)
        elif name == "WEBP" and encoded[12:16] == b"VP8X":
            width, height = (int.from_bytes(encoded[at : at + 3], "little") + 1 for at in (24, 27))
            check_size(width, height, limits)
    except (ValueError, IndexError):
        # A header without a size: the plug-in says what is wrong with it.
        return


def check_tiff(picture: TiffImagePlugin.TiffImageFile, encoded: bytes) -> None:
    """Raise `ImageError` for raw camera files, which begin with a preview, and for strips beyond the end."""
    tags = picture.tag_v2
    preview = tags.get(NEW_SUBFILE_TYPE, 0) == 1 and SUB_DIRECTORIES in tags
    if encoded[4:12] == CR2 or DNG_VERSION in tags or preview:
        reason = "a raw camera file, whose first picture is only a preview; develop it to TIFF or JPEG"
        raise ImageError(FailureCode.UNSUPPORTED, reason)
    for offsets, counts in EXTENTS:
        ends = [start + size for start, size in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)]
        # One strip that claims more than there is may be a careless writer; its decoder decides.
        if len(ends) > 1 and sorted(ends)[-2] > len(encoded):
            reason = f"TIFF: strips or tiles end at byte {max(ends):,}, the file at {len(encoded):,}; fetch it again"
            raise ImageError(FailureCode.TRUNCATED, reason)


def check_jpeg2000(picture: ImageFile.ImageFile, encoded: bytes) -> None:
    """Raise `ImageError` for four inks that only their ICC profile tells from RGB with alpha."""
    if picture.mode == "RGBA" and (boxes.jpeg2000_profile(encoded) or b"")[16:20] == b"CMYK":
        reason = "JPEG 2000 of four inks (CMYK) by its ICC profile, which its decoder takes for RGB with alpha"
        raise ImageError(FailureCode.UNSUPPORTED, f"{reason}; save it as TIFF")


def bit_depth(name: str, picture: ImageFile.ImageFile, encoded: bytes) -> int:
    """Return the bits per channel that the file holds."""
    if isinstance(picture, PngImagePlugin.PngImageFile):
        return encoded[24]
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        bits = picture.tag_v2.get(BITS_PER_CHANNEL, (1,))
        return max(bits) if isinstance(bits, tuple) else int(bits)
    if isinstance(picture, BmpImagePlugin.BmpImageFile):
        bits = encoded[28] if encoded[14] != 12 else encoded[24]
        return {1: 1, 4: 4, 16: 5}.get(bits, 8)
    if name == "JPEG2000":
        return boxes.jpeg2000_size(encoded)[2]
    if name in {"AVIF", "HEIF"}:
        return boxes.pixel_depth(encoded)
    return 16 if picture.mode.startswith("I;16") else 8


def gray_as_rgb(picture: ImageFile.ImageFile, encoded: bytes) -> bool:
    """Whether gray was opened as RGB, as Pillow does with 16 bit gray and alpha of a PNG."""
    return isinstance(picture, PngImagePlugin.PngImageFile) and picture.mode == "RGBA" and encoded[25] == 4


def stretched_levels(name: str, picture: ImageFile.ImageFile, encoded: bytes) -> list[int] | None:
    """Return 256 numbers per channel in place of those that Pillow gives of JPEG 2000 below 8 bits: it only shifts."""
    depths = boxes.jpeg2000_depths(encoded) if name == "JPEG2000" else []
    shallow = len(depths) == len(picture.getbands()) and any(depth < 8 for depth in depths)
    if not shallow or picture.mode.startswith("I;16"):
        return None
    levels = []
    for channel, depth in zip(picture.getbands(), depths, strict=True):
        unused, white = max(8 - depth, 0), (1 << min(depth, 8)) - 1
        stored = [level >> unused for level in range(256)]
        levels += stored if channel == "P" else [(level * 255 + white // 2) // white for level in stored]
    return levels


def coding_colours(name: str, picture: ImageFile.ImageFile, encoded: bytes) -> tuple[int, int] | None:
    """Return (primaries, transfer) of H.273 where the file states its colours by them and by no ICC profile."""
    if name == "PNG":  # the chunk cICP comes before a profile
        chunk = before_pixels(encoded, b"cICP")
        content = chunk.content(encoded) if chunk else b""
        return (content[0], content[1]) if len(content) == 4 else None
    if name in {"AVIF", "HEIF"} and "icc_profile" not in picture.info:
        return boxes.coding_colours(encoded)
    return None


def count_frames(name: str, picture: ImageFile.ImageFile, encoded: bytes) -> int:
    """Return how many pictures the file holds, as far as they can be counted without decoding them; at least 1."""
    try:
        if name == "JPEG":
            return _multi_picture_count(picture.info.get("mp", b""))
        if isinstance(picture, (GifImagePlugin.GifImageFile, TiffImagePlugin.TiffImageFile)):
            # Counting moves through the file; another instance keeps a broken later page from hurting the first.
            return int(getattr(open_picture(encoded, name), "n_frames", 1))
        return max(1, int(getattr(picture, "n_frames", 1)))
    except Exception:  # noqa: BLE001 -- a count is not worth the pixels, and Pillow raises whatever comes here
        return 1


def _multi_picture_count(index: bytes) -> int:
    """Return the number of images of a multi-picture index (CIPA DC-007), tag 0xB001, 1 where there is none."""
    order = "little" if index[:2] == b"II" else "big"
    directory = int.from_bytes(index[4:8], order)
    for at in range(directory + 2, min(directory + 2 + 12 * 64, len(index) - 11), 12):
        if int.from_bytes(index[at : at + 2], order) == 0xB001:
            return max(1, int.from_bytes(index[at + 8 : at + 12], order))
    return 1


def zero_is_white(picture: ImageFile.ImageFile) -> bool:
    """Whether a TIFF of 16 bit gray counts from white; Pillow inverts the other depths itself, but not this one."""
    is_tiff = isinstance(picture, TiffImagePlugin.TiffImageFile)
    return is_tiff and picture.mode.startswith("I;16") and picture.tag_v2.get(262) == 0
