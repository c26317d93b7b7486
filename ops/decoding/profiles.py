"""ICC profiles: what they describe, whether they are sRGB, and the way from them to sRGB with littleCMS."""

from functools import lru_cache
from typing import Literal

import numpy as np
from msgspec import Struct
from PIL import Image, ImageCms
from PIL import _imagingcms as core

Space = Literal["L", "RGB", "CMYK", "LAB"]

SPACES: dict[str, Space] = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK", "Lab": "LAB"}

# Relative colorimetric keeps the colours that sRGB has exactly as they are, and white white; perceptual would move
# them all, by tables that most camera and display profiles do not have. Black point compensation keeps shadows apart.
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION


class Profile(Struct, frozen=True):
    """A profile that was understood: its colour space as a mode of Pillow, and None where no way is needed."""

    name: str
    space: Space
    transform: ImageCms.ImageCmsTransform | None


# A transform takes milliseconds to build and a collection has few profiles; applying one is thread-safe in littleCMS.
@lru_cache(maxsize=16)
def read_profile(icc: bytes) -> Profile:
    """Return the profile; raises `ValueError` where littleCMS cannot use it."""
    try:
        profile = core.profile_frombytes(icc)
        space = SPACES.get(profile.xcolor_space.strip())
        if space is None:
            raise ValueError(f"its colour space is {profile.xcolor_space!r}")
        transform = _to_srgb(profile, space)
        return Profile(_name(profile), space, None if _is_srgb(space, transform) else transform)
    except (ImageCms.PyCMSError, OSError, TypeError, AttributeError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


@lru_cache(maxsize=1)
def lab_to_srgb() -> ImageCms.ImageCmsTransform:
    """Return the transform of CIE L*a*b* pictures, whose white is D50."""
    return _to_srgb(ImageCms.createProfile("LAB"), "LAB")


def _to_srgb(profile: core.CmsProfile, space: Space) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(profile), ImageCms.createProfile("sRGB"), space, "RGB", INTENT, FLAGS
    )


def _is_srgb(space: Space, transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether the transform moves none of 4,913 colours by more than one level: by what it does, not by its name."""
    if space != "RGB":
        return False
    levels = np.linspace(0, 255, 17).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(17, 17 * 17, 3)
    moved = np.asarray(transform.apply(Image.fromarray(colours)))
    return int(np.abs(moved.astype(np.int16) - colours).max()) <= 1


def _name(profile: core.CmsProfile) -> str:
    text = profile.profile_description or profile.model or "without a name"
    return "".join(letter for letter in text if letter.isprintable()).strip()[:80] or "without a name"
