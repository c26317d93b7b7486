"""Large archives without large sources: plans, parts and seals through the real code, with made-up keys."""

import hashlib
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from ops.archive.attempts import begin
from ops.archive.layout import ArchiveDocument, Location, Reading, create, locate
from ops.archive.parts import put_part
from ops.archive.plan import Chunk, Plan, PlanWriter, chunks_of, publish
from ops.archive.rows import ImageRow
from ops.codecs.base import Payload, Runtime
from ops.codecs.names import codec_from
from ops.readers.base import Entry
from ops.stores import absolute
from pipelines.documents import describe
from pipelines.encode import ArchiveTask, part_facts
from pipelines.planning import Target
from pipelines.requests import ArchiveRequest

PHOTOS_A_DAY = 5_000


def photo_key(number: int) -> str:
    """Return a name as photographs have it on object stores; names ascend with their numbers, as listings do."""
    day = number // PHOTOS_A_DAY
    year, rest = divmod(day, 336)
    return f"uploads/{2000 + year}/{rest // 28 + 1:02d}/{rest % 28 + 1:02d}/IMG_{number:09d}.jpg"


def md5_etag(number: int) -> str:
    """Return an etag as S3 gives it to an object put at once."""
    return hashlib.md5(number.to_bytes(8, "little"), usedforsecurity=False).hexdigest()


def new_target(source: str, archive: str, codec: str) -> tuple[Target, ArchiveRequest]:
    """Make archive.json; return what plans are made for, and the request that asks for them."""
    request = ArchiveRequest(source=source, archive=archive, codec=codec_from(codec), seal=False)
    location = locate(archive)
    document = create(location, describe(codec_from(codec), Reading()))
    return Target(location, document, None), request


def plan_of_few(target: Target, source: str, files: Iterable[Entry], num_images: int) -> tuple[Plan, Iterator[Chunk]]:
    """Publish a plan of many keys whose entries point to a few real files; return it and its chunks once more."""
    few = list(files)

    def chunks() -> Iterator[Chunk]:
        entries = (replace(few[number % len(few)], key=photo_key(number)) for number in range(num_images))
        return chunks_of(entries, 0)

    writer = PlanWriter(target.location, 0)
    for chunk in chunks():
        writer.add(chunk)
    index, digest = writer.finish()
    plan = Plan(
        generation=0, kind="first", parent="", source=absolute(source), digest=digest,
        codec_digest=target.document.codec_digest, num_chunks=writer.num_chunks, num_images=writer.num_images,
        num_bytes=writer.num_bytes, files=writer.files, index=index,
    )  # fmt: skip
    return publish(target.location, plan), chunks()


def small_payload(codec: str) -> Payload:
    """Return a real thumbnail of a tiny image."""
    import numpy as np  # noqa: PLC0415

    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    payload = codec_from(codec).load(Runtime()).encode([pixels])[0]
    assert isinstance(payload, Payload)
    return payload


class PartWriter:
    """Puts parts of small rows, as an actor would: the mark of the attempt, then the part."""

    def __init__(self, location: Location, document: ArchiveDocument, plan: Plan) -> None:
        codec = codec_from(document.codec)
        self._task = ArchiveTask(
            location=location, run="bench", generation=0, plan_digest=plan.digest, codec=codec,
            codec_digest=document.codec_digest, reading=document.reading,
        )  # fmt: skip
        self._payload = small_payload(codec.spelling())

    def put(self, chunk: Chunk, *, attempt: bool = True) -> None:
        """Put one chunk's part."""
        if attempt:
            begin(self._task.location, chunk.id, self._task.run)
        put_part(self._task.location, [self._row(entry) for entry in chunk.entries], part_facts(self._task, chunk.id))

    def _row(self, entry: Entry) -> ImageRow:
        payload = self._payload
        return ImageRow(
            key=entry.key, generation=0, uri=entry.uri, locator="", etag=entry.etag, source_bytes=entry.size,
            source_sha256=hashlib.sha256(entry.key.encode()).hexdigest(), thumbnail=payload.thumbnail,
            media_type=payload.media_type, thumbnail_sha256=hashlib.sha256(payload.thumbnail).hexdigest(),
            width=payload.width, height=payload.height, format="JPEG", mode="RGB", bit_depth=8, frames=1,
        )  # fmt: skip
