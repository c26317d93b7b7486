"""What a camera wrote into EXIF, as short facts to be told of a reconstruction's original. Never the place."""

from typing import Any

from PIL import ExifTags, Image

_MAIN = {ExifTags.Base.Make: "make", ExifTags.Base.Model: "model", ExifTags.Base.DateTime: "changed"}
_DETAILS = {
    ExifTags.Base.DateTimeOriginal: "taken",
    ExifTags.Base.LensModel: "lens",
    ExifTags.Base.ExposureTime: "exposure_seconds",
    ExifTags.Base.FNumber: "f_number",
    ExifTags.Base.ISOSpeedRatings: "iso",
    ExifTags.Base.FocalLength: "focal_length_mm",
}
_LONGEST = 200


def capture_facts(exif: bytes | None) -> dict[str, str]:
    """Return camera, lens, time and exposure by name; nothing of a block that is missing or broken."""
    if not exif:
        return {}
    block = Image.Exif()
    try:
        block.load(exif)
        details = block.get_ifd(ExifTags.IFD.Exif)
    except Exception:  # noqa: BLE001  Pillow raises what it likes of broken blocks, and these facts are a courtesy
        return {}
    return {**_named(block, _MAIN), **_named(details, _DETAILS)}


def _named(block: Any, names: dict[ExifTags.Base, str]) -> dict[str, str]:
    found = {name: _text(block.get(tag)) for tag, name in names.items()}
    return {name: text for name, text in found.items() if text}


def _text(value: Any) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else "" if value is None else str(value)
    return text.strip("\0 ")[:_LONGEST]
