"""From a chunk's encoded images to its rows: decode, codec, lossless thumbnail. What an actor does, without Ray."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeAlias

import msgspec
import numpy as np
from msgspec import Struct

from ops.ahead import Ahead
from ops.archive.attempts import Attempt
from ops.archive.layout import ArchiveError, Reading
from ops.archive.plan import Chunk
from ops.archive.rows import ImageRow
from ops.careful import decode_apart
from ops.codecs.base import Codec, Payload, Runtime, is_broken_device, refusal
from ops.decoding import Decoded, Limits, decode, probe
from ops.images import Failure, FailureCode, ImageError, Pixels
from ops.large import alone_if
from ops.readers.base import Entry
from ops.thumbnails import encode_plane

# An honest decoder takes well under a second per megapixel; one that takes longer is caught in a loop.
CAREFUL_SECONDS = 120.0
CAREFUL_SECONDS_PER_MEGAPIXEL = 1.0

_NOTHING = np.empty((0, 0, 3), np.uint8)

Decoder = Callable[[bytes], Decoded]
Aside: TypeAlias = Any
DoneAside: TypeAlias = Callable[[str, bytes, Pixels, Payload, bytes | None], Aside]
"""What else is done with an image while its pixels are at hand: key, encoded bytes, pixels, payload, alpha."""


def limits_of(reading: Reading) -> Limits:
    """Return the largest image that an archive admits."""
    return Limits(pixels=reading.max_pixels, side=reading.max_side, encoded_bytes=reading.max_encoded_bytes)


class Encoded(Struct):
    """What became of one image: the payload or the failure, and what was learned of it when it was decoded."""

    payload: Payload | Failure
    decoded: Decoded | None = None
    alpha: bytes | None = None
    aside: Aside = None


class ChunkEncoder:
    """Encodes chunks with one codec; decodes ahead in threads under the runtime's budget of pixels.

    Several threads may have a chunk each encoded at the same time: they share pool, budget and codec. With `aside`,
    something else is done with each image that has a payload, by the thread that has it in hand; `cost` says what an
    image of so many pixels then takes of the budget.
    """

    def __init__(
        self,
        codec: Codec,
        reading: Reading,
        runtime: Runtime,
        aside: DoneAside | None = None,
        cost: Callable[[int], int] = int,
    ) -> None:
        self._codec, self._reading, self._runtime, self._aside = codec, reading, runtime, aside
        self._cost = cost
        self._ahead = Ahead(runtime.threads, runtime.pixel_budget)
        self._device = threading.Lock()
        settings = {"limits": limits_of(reading), "background": reading.background, "metadata": reading.metadata}
        self._decode: Decoder = partial(decode, **settings)
        self._decode_apart = partial(decode_apart, **settings)

    def rows(
        self, chunk: Chunk, fetched: Sequence[bytes | Failure], generation: int, asides: list[Aside] | None = None
    ) -> list[ImageRow]:
        """Return a row per image of the chunk, in order. `fetched` holds its encoded bytes, or why there are none.

        What was done aside with each image that has a thumbnail is added to `asides`, in order.
        """
        rows = []
        for entry, content, result in zip(chunk.entries, fetched, self._encode_ahead(chunk, fetched), strict=True):
            rows.append(_row(entry, content, result, generation, attempts=1))
            _add_aside(asides, result)
        return rows

    def careful_rows(
        self,
        chunk: Chunk,
        fetched: Sequence[bytes | Failure],
        generation: int,
        attempt: Attempt,
        asides: list[Aside] | None = None,
    ) -> list[ImageRow]:
        """Do the same one image at a time, each decoded in a process of its own, after a worker died of this chunk."""
        rows = []
        try:
            for index, (entry, content) in enumerate(zip(chunk.entries, fetched, strict=True)):
                result = self._encode_carefully(index, entry, content, attempt)
                rows.append(_row(entry, content, result, generation, attempts=attempt.deaths + 1))
                _add_aside(asides, result)
        finally:
            # Also where an error ends it: a worker that can raise has not died of the image in hand.
            attempt.take_in_hand(None)
        return rows

    def _encode_carefully(self, index: int, entry: Entry, content: bytes | Failure, attempt: Attempt) -> Encoded:
        if attempt.convicted(index):
            return Encoded(_killed(entry, attempt))
        attempt.take_in_hand(index)
        with self._alone_if_large(content):
            return self._through_codec(entry, content, _attempt_decode(content, self._decode_in_process))

    def _decode_in_process(self, content: bytes) -> Decoded:
        megapixels = claimed_pixels(content) / 1e6
        return self._decode_apart(
            content,
            seconds=CAREFUL_SECONDS + CAREFUL_SECONDS_PER_MEGAPIXEL * megapixels,
            memory_bytes=int(12e6 * megapixels) + (2 << 30),
        )

    def _encode_ahead(self, chunk: Chunk, fetched: Sequence[bytes | Failure]) -> Iterator[Encoded]:
        images = zip(chunk.entries, fetched, strict=True)
        costs = (((entry, content), self._cost(claimed_pixels(content))) for entry, content in images)
        if self._codec.concurrent:
            yield from self._ahead.in_order(self._encode_one, costs)
            return
        decoded = self._ahead.in_order(self._decode_one, costs)
        for entry, content, result in zip(chunk.entries, fetched, decoded, strict=True):
            yield self._through_codec(entry, content, result)

    def _decode_one(self, image: tuple[Entry, bytes | Failure]) -> Encoded:
        with self._alone_if_large(image[1]):
            return _attempt_decode(image[1], self._decode)

    def _encode_one(self, image: tuple[Entry, bytes | Failure]) -> Encoded:
        with self._alone_if_large(image[1]):
            return self._through_codec(*image, _attempt_decode(image[1], self._decode))

    def _alone_if_large(self, content: bytes | Failure) -> AbstractContextManager[None]:
        return alone_if(large=self._cost(claimed_pixels(content)) > self._runtime.large_pixels)

    def _through_codec(self, entry: Entry, content: bytes | Failure, result: Encoded) -> Encoded:
        """Give decoded pixels, if there are any, to the codec, and let go of them."""
        decoded = result.decoded
        if decoded is None or isinstance(content, Failure):
            return result
        facts, alpha = msgspec.structs.replace(decoded, pixels=_NOTHING, alpha=None), None
        try:
            with nullcontext() if self._codec.concurrent else self._device:
                payload = self._codec.encode([decoded.pixels])[0]
            alpha = None if decoded.alpha is None else encode_plane(decoded.alpha)
        except Exception as error:
            # Of any library below a codec; but a device that is broken must not fail every image that comes after.
            if is_broken_device(error):
                raise broken_over(entry.key, error) from error
            payload = refusal(error)
        encoded = Encoded(payload, facts, alpha)
        if self._aside and not isinstance(payload, Failure):
            encoded.aside = self._aside(entry.key, content, decoded.pixels, payload, alpha)
        return encoded


def broken_over(key: str, error: Exception) -> ArchiveError:
    """Return what ends a run whose device failed, with the image that it had in hand."""
    said = " ".join(str(error).split())
    return ArchiveError(
        f"the device failed over {key!r} ({said}); what is done is kept: look at the device, and run the same command "
        "again"
    )


def _add_aside(asides: list[Aside] | None, result: Encoded) -> None:
    if asides is not None and result.aside is not None:
        asides.append(result.aside)


def _attempt_decode(content: bytes | Failure, decoder: Decoder) -> Encoded:
    if isinstance(content, Failure):
        return Encoded(content)
    try:
        return Encoded(Failure(FailureCode.REFUSED, "not encoded"), decoder(content))
    except ImageError as error:
        return Encoded(error.failure)
    except MemoryError:
        megapixels = claimed_pixels(content) / 1e6
        return Encoded(
            Failure(FailureCode.OUT_OF_MEMORY, f"no memory for {megapixels:.0f} megapixels; retry with more")
        )


def claimed_pixels(content: bytes | Failure) -> int:
    """Return the pixels that an image claims in its header; none where it has no header to read."""
    if isinstance(content, Failure):
        return 0
    try:
        header = probe(content)
    except ImageError:
        return 0
    return header.width * header.height


def _killed(entry: Entry, attempt: Attempt) -> Failure:
    times = attempt.deaths
    return Failure(
        FailureCode.KILLED_WORKER,
        f"{entry.uri} was in hand each time its worker died ({times} deaths); look at the file, then `regrow retry`",
    )


def _row(entry: Entry, content: bytes | Failure, result: Encoded, generation: int, attempts: int) -> ImageRow:
    row = ImageRow(
        key=entry.key,
        generation=generation,
        attempts=attempts,
        uri=entry.uri,
        locator=entry.locator,
        etag=entry.etag,
        source_bytes=entry.size if isinstance(content, Failure) else len(content),
        source_sha256=None if isinstance(content, Failure) else hashlib.sha256(content).hexdigest(),
    )
    if result.decoded:
        _add_facts(row, result.decoded)
    if isinstance(result.payload, Failure):
        row.status, row.message = str(result.payload.code), result.payload.message
    else:
        _add_payload(row, result.payload, result.alpha)
    return row


def _add_facts(row: ImageRow, decoded: Decoded) -> None:
    row.format, row.mode, row.bit_depth = decoded.format, decoded.mode, decoded.bit_depth
    row.frames, row.orientation, row.choices = decoded.frames, decoded.orientation, decoded.choices
    row.exif, row.icc, row.xmp = decoded.exif, decoded.icc, decoded.xmp


def _add_payload(row: ImageRow, payload: Payload, alpha: bytes | None) -> None:
    row.thumbnail, row.media_type, row.extras, row.alpha = payload.thumbnail, payload.media_type, payload.extras, alpha
    row.thumbnail_sha256 = hashlib.sha256(payload.thumbnail).hexdigest()
    row.width, row.height = payload.width, payload.height
