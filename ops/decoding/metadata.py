"""EXIF, ICC and XMP of a picture: what is read from them, and what may be kept."""

from typing import Literal, TypeAlias

from msgspec import Struct
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from ops.decoding import boxes
from ops.decoding import exif as exif_block
from ops.decoding.png import png_profile

MetadataPolicy: TypeAlias = Literal["keep", "no-location", "none"]

# Applied by libavif's caller through the EXIF that it writes, by libheif and libjxl themselves.
TURNED_BY_DECODER = {"HEIF", "JXL", "TIFF"}

# Words of the XMP properties that hold a place, in any namespace prefix: exif:GPS*, photoshop:City, State and Country,
# Iptc4xmpCore:Location, Iptc4xmpExt:LocationCreated, Sublocation, and geo:lat and long.
PLACE_WORDS = (b"gps", b"location", b"city", b"state", b"country", b"geo:", b"latitude", b"longitude")

DESCRIPTIVE = {"ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "Copyright", "HostComputer"}


class Metadata(Struct):
    """The three blocks as they stand in the file."""

    exif: bytes | None
    icc: bytes | None
    xmp: bytes | None


def read_metadata(picture: ImageFile.ImageFile, encoded: bytes) -> Metadata:
    """Return the blocks of a picture that was loaded."""
    if picture.format == "JPEG2000":
        return Metadata(None, boxes.jpeg2000_profile(encoded), None)
    exif = _bytes(picture.info.get("exif"))
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        exif = _exif_of_tiff(picture)
    icc = _bytes(picture.info.get("icc_profile"))
    if icc is None and picture.format == "PNG":
        icc = png_profile(encoded)
    return Metadata(exif, icc, _bytes(picture.info.get("xmp")))


def orientation_to_apply(name: str, picture: Image.Image, exif: bytes | None, choices: list[str]) -> int:
    """Return 1 to 8: how rows must be turned; 1 where the decoder did it, and where EXIF is broken, which is noted."""
    from_jpeg = name == "JXL" and bool(getattr(picture, "jpeg", False))
    if not exif or (name in TURNED_BY_DECODER and not from_jpeg):
        return 1
    try:
        found = exif_block.orientation(exif)
    except ValueError as error:
        choices.append(f"EXIF ignored: {error}")
        return 1
    if found != 1:
        choices.append(f"EXIF orientation {found} applied")
    return found


def keep(metadata: Metadata, policy: MetadataPolicy, choices: list[str]) -> Metadata:
    """Return what the policy lets through, and note what it does not."""
    if policy == "keep":
        return metadata
    if policy == "none":
        return Metadata(None, None, None)
    return Metadata(_exif_without_places(metadata.exif, choices), metadata.icc, _xmp_without_places(metadata, choices))


def _exif_without_places(exif: bytes | None, choices: list[str]) -> bytes | None:
    if exif is None:
        return None
    try:
        kept = exif_block.without_places(exif)
    except ValueError as error:
        choices.append(f"EXIF dropped: it is broken and could hide a location ({error})")
        return None
    if kept != exif:
        choices.append("GPS, XMP, IPTC and maker notes removed from EXIF")
    return kept


def _xmp_without_places(metadata: Metadata, choices: list[str]) -> bytes | None:
    # Dropping zero bytes reads UTF-16 and UTF-32 as well.
    text = (metadata.xmp or b"").replace(b"\0", b"").lower()
    if any(word in text for word in PLACE_WORDS):
        choices.append("XMP dropped: it names a place")
        return None
    return metadata.xmp


def _exif_of_tiff(picture: TiffImagePlugin.TiffImageFile) -> bytes | None:
    """Return the descriptive tags of a TIFF as an EXIF block: in the file they are mixed with those of its pixels."""
    wanted = {tag for tag, name in ExifTags.TAGS.items() if name in DESCRIPTIVE}
    block = Image.Exif()
    try:
        source = picture.getexif()
        block.update({tag: value for tag, value in source.items() if tag in wanted})
        for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            if directory := source.get_ifd(ifd):
                block.get_ifd(ifd).update(directory)
                block[ifd] = dict(directory)
        return block.tobytes() if len(block) else None
    except Exception:  # noqa: BLE001 -- Pillow raises whatever a broken tag makes it raise; no tag is worth the pixels
        return None


def _bytes(value: object) -> bytes | None:
    if isinstance(value, str):
        return value.encode()
    return value or None if isinstance(value, bytes) else None
