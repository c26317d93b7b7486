"""From rows of an archive to image files of their reconstructions: codec, alpha, marks. Without Ray."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

from msgspec import Struct
from PIL import ImageColor

from ops.ahead import Ahead
from ops.archive.rows import ImageRow
from ops.capture import capture_facts
from ops.codecs.base import Codec, Payload, Runtime, is_broken_device, refusal
from ops.encoding import broken_over
from ops.images import Failure, FailureCode, ImageError, Pixels
from ops.large import alone_if
from ops.marks import MarkError, ReconstructionMark, write_reconstruction_mark
from ops.pictures import Suffix, write_picture
from ops.thumbnails import Plane, decode_plane

DEFAULT_QUALITY = 90
# Tiles of small images share a device's passes; what a large one has fills them by itself.
BATCH_IMAGES, BATCH_PIXELS = 16, 8_000_000


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
        grown = (one for batch in _batches(rows) for one in zip(batch, self._grow_all(batch), strict=True))
        yield from self._ahead.in_order(self._write, ((one, _pixels(one[0])) for one in grown))

    def _regrow(self, row: ImageRow) -> bytes | Failure:
        with alone_if(large=_pixels(row) > self._runtime.large_pixels):
            return self._write((row, self._grow(row)))

    def _grow_all(self, rows: Sequence[ImageRow]) -> Sequence[Pixels | Failure]:
        """Return what a device makes of some rows in one call, or, where it raised, of each in a call of its own."""
        if len(rows) > 1:
            try:
                with self._device:
                    return self._codec.decode([payload_of(row) for row in rows])
            except Exception as error:  # of one of them, who knows which
                if is_broken_device(error):
                    raise broken_over(rows[0].key, error) from error
        return [self._grow(row) for row in rows]

    def _grow(self, row: ImageRow) -> Pixels | Failure:
        try:
            with nullcontext() if self._codec.concurrent else self._device:
                return self._codec.decode([payload_of(row)])[0]
        except MarkError as error:
            return Failure(FailureCode.CORRUPT, str(error))
        except Exception as error:  # whatever a codec's libraries raise over one image ends no run
            if is_broken_device(error):
                raise broken_over(row.key, error) from error
            return refusal(error, "regrow")

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


def _batches(rows: Sequence[ImageRow]) -> Iterator[list[ImageRow]]:
    """Yield rows in groups for one call of a device each, in order; a large image is alone."""
    held: list[ImageRow] = []
    num_pixels = 0
    for row in rows:
        if held and (len(held) == BATCH_IMAGES or num_pixels + _pixels(row) > BATCH_PIXELS):
            yield held
            held, num_pixels = [], 0
        held.append(row)
        num_pixels += _pixels(row)
    if held:
        yield held


def _alpha(row: ImageRow, pixels: Pixels) -> Plane | None:
    """Return the alpha plane of a row. Raises ImageError(corrupt) where it is damaged, or of another size."""
    alpha = None if row.alpha is None else decode_plane(row.alpha)
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        message = f"alpha {alpha.shape} and pixels {pixels.shape[:2]} of {row.key!r} differ in height or width"
        raise ImageError(FailureCode.CORRUPT, f"{message}: see `regrow verify`")
    return alpha


def _pixels(row: ImageRow) -> int:
    return (row.width or 0) * (row.height or 0)
