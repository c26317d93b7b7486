"""An original becomes a training photograph: half the side, then JPEG. Halving sheds the original's JPEG artefacts."""

import hashlib
import io

import numpy as np
from PIL import Image, features
from PIL import __version__ as pillow_version

from jobs.errors import InputError
from jobs.photographs.listing import Photograph

# With these, Pillow 12.1 and 13.0 (libjpeg-turbo 3.1 and 3.2) write the files that were trained on, bit for bit.
QUALITY, SUBSAMPLING = 94, 0
# How far a decoded JPEG may be from the halved pixels, in levels. Of the 79, the worst are 27 and 2.79 away.
MOST, MOST_ON_AVERAGE = 40, 3.5


def halve(original: bytes) -> Image.Image:
    """Return half of an original, sides rounded down, by Lanczos, in RGB.

    Profiles, orientation and alpha are passed over, as they were when `nano` was trained: none of the originals is
    turned.
    """
    with Image.open(io.BytesIO(original)) as image:
        rgb = image.convert("RGB")
    return rgb.resize((rgb.width // 2, rgb.height // 2), Image.Resampling.LANCZOS)


def check_pixels(photograph: Photograph, halved: Image.Image) -> None:
    """Compare halved pixels with the record. Raises InputError: another decoder or filter than was used."""
    if halved.size != (photograph.width, photograph.height):
        raise InputError(
            f"{photograph.name} is {halved.width}x{halved.height}, not {photograph.width}x{photograph.height} as listed"
        )
    if (digest := hashlib.sha256(halved.tobytes()).hexdigest()) != photograph.pixels:
        raise InputError(
            f"{photograph.name}: halved by {stack()}, its pixels have sha256 {digest}, not {photograph.pixels}; "
            "Pillow 12.1 and 13.0 are known to agree with the record"
        )


def encode(photograph: Photograph, halved: Image.Image) -> bytes:
    """Return the JPEG file. Raises InputError where it decodes to something further away than such a JPEG may be."""
    file = io.BytesIO()
    halved.save(file, "JPEG", quality=QUALITY, subsampling=SUBSAMPLING, optimize=True)
    with Image.open(file) as decoded:
        apart = np.abs(np.asarray(decoded, np.int16) - np.asarray(halved, np.int16))
    if apart.max() > MOST or apart.mean() > MOST_ON_AVERAGE:
        raise InputError(
            f"{photograph.name}: the JPEG of {stack()} is {apart.max()} levels off at most and {apart.mean():.2f} on "
            f"average; {MOST} and {MOST_ON_AVERAGE} are allowed: use another Pillow"
        )
    return file.getvalue()


def stack() -> str:
    """Return what decodes and encodes here."""
    turbo = features.version("libjpeg_turbo")
    return f"Pillow {pillow_version} with " + (
        f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}"
    )
