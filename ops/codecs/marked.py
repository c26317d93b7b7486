"""The mark that a codec puts into a thumbnail."""

from ops.codecs.base import CodecConfig
from ops.images import Pixels
from ops.marks import ThumbnailMark, pixels_digest


def mark_of(
    config: CodecConfig, digest: str, small: Pixels, width: int, height: int, *, lossless: bool = True
) -> ThumbnailMark:
    """Return what the thumbnail of an image of width x height says; a lossy one's pixels depend on its decoder."""
    return ThumbnailMark(
        width=width,
        height=height,
        scale=config.factor,
        codec=config.spelling(),
        digest=digest,
        pixels=pixels_digest(small) if lossless else "",
    )
