"""Codecs that keep a smaller picture as an ordinary image file and grow it by bicubic interpolation."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, TypeVar

from ops.codecs.base import Box, CodecConfig, Payload, Runtime, refusal
from ops.codecs.marked import mark_of
from ops.codecs.resampling import check_box, grow, grow_region, shrink, shrunk_size
from ops.images import Failure, FailureCode, ImageError, Pixels
from ops.marks import write_mark
from ops.thumbnails import decode_thumbnail

Given = TypeVar("Given")
Made = TypeVar("Made")


class PictureConfig(CodecConfig, frozen=True, kw_only=True):
    """Settings of such a codec: a scale, and how the small picture is written."""

    lossless: ClassVar[bool] = False
    # Width or height, in pixels of the small picture, that the format can hold and Pillow can read back.
    side_limit: ClassVar[int] = 1 << 30
    pixel_limit: ClassVar[int] = 1 << 40

    def write(self, small: Pixels, xmp: bytes) -> tuple[bytes, str]:
        """Return the image file, with the XMP in it, and its media type."""
        raise NotImplementedError(f"{type(self).__name__} must say how it writes")

    def load(self, runtime: Runtime) -> "PictureCodec":
        """Build the codec."""
        return PictureCodec(self, runtime)


class PictureCodec:
    """Shrinks, writes, reads and grows. Each image alone, so batches and threads change nothing."""

    generative = False
    concurrent = True

    def __init__(self, config: PictureConfig, runtime: Runtime) -> None:
        self._config = config
        self._threads = runtime.threads
        self._digest = config.digest()

    def encode(self, images: Sequence[Pixels]) -> list[Payload | Failure]:
        """Return a payload per image, or why the format cannot hold it."""
        return self._each(self._encode, images)

    def decode(self, payloads: Sequence[Payload]) -> list[Pixels]:
        """Return images of the payloads' sizes. Raises ImageError for a thumbnail that cannot be read."""
        return self._each(self._decode, payloads)

    def decode_region(self, payload: Payload, box: Box) -> Pixels:
        """Return the crop `box` of `decode`; only the thumbnail is decoded whole."""
        check_box(box, payload.width, payload.height)
        return grow_region(self._read(payload), self._config.factor, box)

    def _encode(self, pixels: Pixels) -> Payload | Failure:
        height, width = pixels.shape[:2]
        try:
            self._check_size(width, height)
            small = shrink(pixels, self._config.factor)
            mark = mark_of(self._config, self._digest, small, width, height, lossless=self._config.lossless)
            thumbnail, media_type = self._config.write(small, write_mark(mark))
        except Exception as error:  # noqa: BLE001  (writers of files raise anything; the reason is kept)
            return refusal(error)
        return Payload(thumbnail, media_type, width, height)

    def _decode(self, payload: Payload) -> Pixels:
        return grow(self._read(payload), self._config.factor, payload.width, payload.height)

    def _read(self, payload: Payload) -> Pixels:
        return decode_thumbnail(payload.thumbnail, shrunk_size(payload.width, payload.height, self._config.factor))

    def _check_size(self, width: int, height: int) -> None:
        columns, rows = shrunk_size(width, height, self._config.factor)
        if max(columns, rows) > self._config.side_limit or columns * rows > self._config.pixel_limit:
            message = (
                f"{self._config.spelling()} would keep {columns}x{rows}, and {self._config.name} holds "
                f"{self._config.side_limit} pixels a side and {self._config.pixel_limit} in all: use a larger scale"
            )
            raise ImageError(FailureCode.REFUSED, message)

    def _each(self, work: Callable[[Given], Made], given: Sequence[Given]) -> list[Made]:
        if self._threads == 1 or len(given) == 1:
            return [work(one) for one in given]
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(work, given))
