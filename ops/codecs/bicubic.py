"""Bicubic down and up: the least that a learned codec must beat."""

from typing import Annotated, ClassVar

from msgspec import Meta

from ops.codecs.picture import PictureConfig
from ops.images import Pixels
from ops.thumbnails import ThumbnailType, encode_lossless


class BicubicConfig(PictureConfig, tag="bicubic", frozen=True, kw_only=True):
    """`bicubic-xN`: sides shrink N times; the thumbnail is lossless. `auto` is settled by each thumbnail's size."""

    lossless: ClassVar[bool] = True

    scale: Annotated[int, Meta(ge=2, le=64)]
    thumbnail: ThumbnailType = "auto"

    @property
    def factor(self) -> int:
        """Return by how much each side shrinks."""
        return self.scale

    def spelling(self) -> str:
        """Return such as `bicubic-x16`."""
        return f"{self.name}-x{self.scale}"

    def write(self, small: Pixels, xmp: bytes) -> tuple[bytes, str]:
        """Return the lossless thumbnail and its media type."""
        return encode_lossless(small, self.thumbnail, xmp)
