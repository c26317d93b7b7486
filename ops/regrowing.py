"""From rows of an archive to image files of their reconstructions: codec, alpha, marks. Without Ray."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

from msgspec import Struct
from PIL import ImageColor

from ops.ahead import Ahead
from ops.archive.rows import ImageRow
from ops.capture import capture_facts
from ops.codecs.base import Codec, Payload, Runtime
from ops.images import Failure, FailureCode, ImageError, Pixels
from ops.large import alone_if
from ops.marks import MarkError, ReconstructionMark, write_reconstruction_mark
from ops.pictures import Suffix, write_picture
from ops.thumbnails import Plane, decode_plane

DEFAULT_QUALITY = 90


class PictureStyle(Struct, frozen=True, kw_only=True):
    """How reconstructions are written, and what they say of themselves.

    `metadata` puts the original's EXIF back (camera, time, place), with the orientation set upright.
    """

    suffix: Suffix
    quality: int | None
    metadata: bool
    archive: str
    codec: str
    codec_digest: str
    generative: bool
    background: str


class Regrower:
    """Regrows row after row with one codec; writes ahead in threads under the runtime's budget of pixels."""

    def __init__(self, codec: Codec, style: PictureStyle, runtime: Runtime) -> None:
        self._codec, self._style, self._runtime = codec, style, runtime
        self._ahead = Ahead(runtime.threads, runtime.pixel_budget)
        self._device = threading.Lock()
        red, green, blue = ImageColor.getrgb(style.background)[:3]
        self._background = (red, green, blue)

    def pictures(self, rows: Sequence[ImageRow]) -> Iterator[bytes | Failure]:
        """Yield the image file of each row's reconstruction, or why there is none, in order."""
        if self._codec.concurrent:
            given = ((row, _pixels(row)) for row in rows)
            yield from self._ahead.in_order(self._regrow, given)
            return
        grown = (((row, self._grow(row)), _pixels(row)) for row in rows)
        yield from self._ahead.in_order(self._write, grown)

    def _regrow(self, row: ImageRow) -> bytes | Failure:
        with alone_if(large=_pixels(row) > self._runtime.large_pixels):
            return self._write((row, self._grow(row)))

    def _grow(self, row: ImageRow) -> Pixels | Failure:
        try:
            with nullcontext() if self._codec.concurrent else self._device:
                return self._codec.decode([payload_of(row)])[0]
        except ImageError as error:
            return error.failure
        except MarkError as error:
            return Failure(FailureCode.CORRUPT, str(error))

    def _write(self, grown: tuple[ImageRow, Pixels | Failure]) -> bytes | Failure:
        row, pixels = grown
        if isinstance(pixels, Failure):
            return pixels
        style = self._style
        try:
            return write_picture(
                pixels,
                _alpha(row, pixels),
                style.suffix,
                write_reconstruction_mark(self._mark(row)),
                row.exif if style.metadata else None,
                quality=style.quality or DEFAULT_QUALITY,
                background=self._background,
            )
        except ImageError as error:
            return error.failure

    def _mark(self, row: ImageRow) -> ReconstructionMark:
        style = self._style
        facts = {
            "format": row.format,
            "width": row.width,
            "height": row.height,
            "bytes": row.source_bytes,
            "sha256": row.source_sha256,
            **capture_facts(row.exif),
        }
        return ReconstructionMark(
            archive=style.archive,
            key=row.key,
            thumbnail=row.thumbnail_sha256 or "",
            codec=style.codec,
            digest=style.codec_digest,
            generative=style.generative,
            derived_from={name: str(value) for name, value in facts.items() if value is not None},
        )


def payload_of(row: ImageRow) -> Payload:
    """Return what a codec needs of a row. Raises ImageError for a row without a thumbnail."""
    if row.thumbnail is None or row.media_type is None or row.width is None or row.height is None:
        raise ImageError(FailureCode.CORRUPT, f"{row.key!r} has no thumbnail ({row.status}): see `regrow failures`")
    return Payload(row.thumbnail, row.media_type, row.width, row.height, row.extras)


def _alpha(row: ImageRow, pixels: Pixels) -> Plane | None:
    """Return the alpha plane of a row. Raises ImageError(corrupt) where it is damaged, or of another size."""
    alpha = None if row.alpha is None else decode_plane(row.alpha)
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        message = f"alpha {alpha.shape} and pixels {pixels.shape[:2]} of {row.key!r} differ in height or width"
        raise ImageError(FailureCode.CORRUPT, f"{message}: see `regrow verify`")
    return alpha


def _pixels(row: ImageRow) -> int:
    return (row.width or 0) * (row.height or 0)
