"""Conventional codecs, to compare with at the same bytes: JPEG, WebP, AVIF and JPEG XL, each also after a downscale."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from msgspec import Meta
from PIL import Image, features

from ops.codecs.base import Runtime
from ops.codecs.picture import PictureCodec, PictureConfig
from ops.images import Pixels
from ops.thumbnails import WEBP_PIXELS, WEBP_SIDE, jxl_plugin, save_image, save_jpeg

Quality: TypeAlias = Annotated[int, Meta(ge=1, le=100)]
Scale: TypeAlias = Annotated[int, Meta(ge=1, le=64)]
Subsampling: TypeAlias = Literal["4:2:0", "4:2:2", "4:4:4"]


class ConventionalConfig(PictureConfig, frozen=True, kw_only=True):
    """`NAME-qN` or, after a downscale, `NAME-qN-xM`: the thumbnail is the encoded file itself."""

    quality: Quality
    scale: Scale = 1

    @property
    def factor(self) -> int:
        """Return by how much each side shrinks."""
        return self.scale

    def spelling(self) -> str:
        """Return such as `jpeg-q50` or `jpeg-q50-x4`."""
        return f"{self.name}-q{self.quality}" + (f"-x{self.scale}" if self.scale > 1 else "")


class JpegConfig(ConventionalConfig, tag="jpeg", frozen=True, kw_only=True):
    """JPEG as libjpeg-turbo writes it."""

    side_limit: ClassVar[int] = 65_500  # libjpeg's own, below the 65,535 of the format

    subsampling: Subsampling = "4:2:0"
    progressive: bool = True

    def write(self, small: Pixels, xmp: bytes) -> tuple[bytes, str]:
        """Return a JPEG with optimised Huffman tables."""
        image = Image.fromarray(small)
        options = {"quality": self.quality, "subsampling": self.subsampling, "progressive": self.progressive}
        return save_jpeg(image, optimize=True, xmp=xmp, **options), "image/jpeg"


class WebpConfig(ConventionalConfig, tag="webp", frozen=True, kw_only=True):
    """Lossy WebP as libwebp writes it; always 4:2:0."""

    side_limit: ClassVar[int] = WEBP_SIDE
    pixel_limit: ClassVar[int] = WEBP_PIXELS

    method: Annotated[int, Meta(ge=0, le=6)] = 4

    def write(self, small: Pixels, xmp: bytes) -> tuple[bytes, str]:
        """Return a lossy WebP."""
        return save_image(
            Image.fromarray(small), "WEBP", quality=self.quality, method=self.method, xmp=xmp
        ), "image/webp"


class AvifConfig(ConventionalConfig, tag="avif", frozen=True, kw_only=True):
    """AVIF as libavif writes it with aom."""

    # What libavif reads back: it would write up to 65,536 a side.
    side_limit: ClassVar[int] = 32_768
    pixel_limit: ClassVar[int] = 16_384 * 16_384

    subsampling: Subsampling = "4:2:0"
    speed: Annotated[int, Meta(ge=0, le=10)] = 6

    def load(self, runtime: Runtime) -> PictureCodec:
        """Build the codec. Raises ModuleNotFoundError where Pillow was built without AVIF."""
        if not features.check("avif"):
            raise ModuleNotFoundError(
                f"{self.spelling()}: this Pillow has no AVIF: pip install 'pillow>=12.1' as a wheel"
            )
        return super().load(runtime)

    def write(self, small: Pixels, xmp: bytes) -> tuple[bytes, str]:
        """Return an AVIF of one tile, written by one thread: both change bytes."""
        image = Image.fromarray(small)
        options = {"quality": self.quality, "subsampling": self.subsampling, "speed": self.speed}
        return save_image(image, "AVIF", codec="aom", max_threads=1, autotiling=False, xmp=xmp, **options), "image/avif"


class JxlConfig(ConventionalConfig, tag="jxl", frozen=True, kw_only=True):
    """JPEG XL as libjxl writes it; always 4:4:4."""

    effort: Annotated[int, Meta(ge=1, le=9)] = 7

    def load(self, runtime: Runtime) -> PictureCodec:
        """Build the codec. Raises ImageError(no_plugin) with the remedy where the plug-in is not installed."""
        jxl_plugin()
        return super().load(runtime)

    def write(self, small: Pixels, xmp: bytes) -> tuple[bytes, str]:
        """Return a JPEG XL, lossy but for quality 100."""
        # The plug-in takes 100 for lossless, and libjxl refuses that beside a lossy setting.
        how = {"lossless": True} if self.quality == 100 else {"quality": self.quality}
        return save_image(Image.fromarray(small), "JXL", **how, effort=self.effort, num_threads=1, xmp=xmp), "image/jxl"
