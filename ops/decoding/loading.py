"""A picture from its bytes: opened, held against the limits, decoded, and tried again without broken metadata."""

from typing import NamedTuple

from PIL import ExifTags, ImageFile, TiffImagePlugin

from ops.decoding import colour, endings, facts
from ops.decoding.failures import explain
from ops.decoding.formats import open_picture
from ops.decoding.limits import Limits, check_size
from ops.decoding.repair import repairs
from ops.decoding.whites import restore_whites
from ops.images import FailureCode, ImageError

# Their decoders may return what there is of a picture, with gray or garbage for the rest.
LENIENT = {"JPEG", "WEBP", "AVIF", "HEIF", "JPEG2000"}


class Loaded(NamedTuple):
    """A decoded picture, and the orientation that its decoder has applied already."""

    picture: ImageFile.ImageFile
    turned: int


def load_picture(name: str, encoded: bytes, limits: Limits, choices: list[str]) -> Loaded:
    """Return the first picture with its pixels decoded by Pillow; raises `ImageError`."""
    try:
        return _load(name, encoded, limits)
    except ImageError:
        raise
    except BaseException as error:  # noqa: BLE001 -- plug-ins raise anything (pyo3's panics are no Exception); the reason is kept
        _leave_alone(error)
        failure = explain(name, encoded, error)
    if not endings.ends_early(name, encoded):
        for bare, sentence in repairs(name, encoded):
            try:
                loaded = _load(name, bare, limits)
            except Exception:  # noqa: BLE001, S112 -- the failure of the whole file is the one that is told
                continue
            choices.append(sentence)
            return loaded
    raise failure


def open_checked(name: str, encoded: bytes, limits: Limits) -> ImageFile.ImageFile:
    """Return the unloaded picture, no larger than the limits; raises `ImageError` and what the plug-in raises."""
    facts.check_claims(name, encoded, limits)
    picture = open_picture(encoded, name)
    check_size(*picture.size, limits)
    colour.check_mode(picture.mode)
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        facts.check_tiff(picture, encoded)
    if name == "JPEG2000":
        facts.check_jpeg2000(picture, encoded)
    return picture


def _load(name: str, encoded: bytes, limits: Limits) -> Loaded:
    if name == "PNG":
        endings.check_png(encoded)
    if name in LENIENT and endings.ends_early(name, encoded):
        reason = f"{name}: ends at byte {len(encoded):,}, or in zero bytes, before its pixels do; fetch it again"
        raise ImageError(FailureCode.TRUNCATED, reason)
    picture = open_checked(name, encoded, limits)
    turned = 1
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        # With the orientation that XMP gives where no tag does: Pillow turns by both.
        turned = picture.getexif().get(ExifTags.Base.Orientation, 1)
    picture.load()
    check_size(*picture.size, limits)
    if name == "JPEG2000":
        restore_whites(picture, encoded)
    return Loaded(picture, turned if turned in range(1, 9) else 1)


def _leave_alone(error: BaseException) -> None:
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        raise error
