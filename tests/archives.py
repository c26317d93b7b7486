"""Makers of small archives without Ray: plan, parts by real codecs, seal."""

import hashlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

import ops.archive.plan as plans
from ops.archive.layout import ArchiveDocument, Location, Reading, create, locate
from ops.archive.parts import PartFacts, put_part
from ops.archive.plan import Chunk, Plan, PlanWriter, chunks_of, publish, read_chunk, read_index
from ops.archive.rows import ImageRow
from ops.archive.seals import Seal, highest_seal, seal_generation, write_packs_here
from ops.codecs.base import Runtime
from ops.codecs.names import codec_from
from ops.encoding import ChunkEncoder
from ops.images import Failure, FailureCode
from ops.readers.base import Entry
from ops.stores import open_store
from tests import makers

CODEC = "bicubic-x4"
READER = Path(__file__).parents[1] / "reader" / "read_archive.py"


def small_images(num_images: int = 6) -> dict[str, bytes]:
    """Return keys and encoded images; every third is a PNG with alpha."""
    images = {}
    for index in range(num_images):
        if index % 3 == 2:
            images[f"png/{index:03d}.png"] = makers.encode(makers.photo(40 + index, 30, 4, seed=index), "PNG")
        else:
            images[f"jpg/{index:03d}é.jpg"] = makers.encode(makers.photo(48, 32 + index, seed=index), "JPEG")
    return images


def document_for(codec: str = CODEC) -> ArchiveDocument:
    config = codec_from(codec)
    return ArchiveDocument(
        codec=msgspec.to_builtins(config), codec_name=config.spelling(), codec_digest=config.digest(),
        generative=config.generative, reading=Reading(), made_by="tests", notes="Lossy.",
    )  # fmt: skip


def entries_of(images: Mapping[str, bytes | Failure], etag: str = "1") -> list[Entry]:
    return [
        Entry(key=key, uri=f"memory://source/{index}", size=0 if isinstance(one, Failure) else len(one), etag=etag)
        for index, (key, one) in enumerate(images.items())
    ]


def write_plan(
    location: Location, entries: Sequence[Entry], *, generation: int = 0, kind: str = "first", codec_digest: str = "",
    source: str = "memory://source", chunk_images: int = 64,
) -> Plan:  # fmt: skip
    """Plan entries as the generation; chunks of `chunk_images`."""
    writer = PlanWriter(location, generation)
    for chunk in cut(entries, generation, chunk_images):
        writer.add(chunk)
    index, digest = writer.finish()
    before = highest_seal(location)
    plan = Plan(
        generation=generation, kind=kind, parent=before.plan_digest if before else "", source=source, digest=digest,
        codec_digest=codec_digest or codec_from(CODEC).digest(), num_chunks=writer.num_chunks,
        num_images=writer.num_images, num_bytes=writer.num_bytes, files=writer.files, index=index,
    )  # fmt: skip
    return publish(location, plan)


def cut(entries: Sequence[Entry], generation: int, chunk_images: int) -> list[Chunk]:
    """Return chunks smaller than the real ones, with ids made the same way."""
    kept, plans.CHUNK_IMAGES = plans.CHUNK_IMAGES, chunk_images
    try:
        return list(chunks_of(entries, generation))
    finally:
        plans.CHUNK_IMAGES = kept


def planned_chunks(location: Location, plan: Plan) -> list[Chunk]:
    places = read_index(location, plan).to_pylist()
    return [read_chunk(location, plan.generation, one["file"], one["row_group"], one["row"]) for one in places]


def facts_for(plan: Plan, chunk: Chunk) -> PartFacts:
    return PartFacts(
        chunk_id=chunk.id, plan_digest=plan.digest, codec_digest=plan.codec_digest, device="cpu", stack="tests"
    )


def put_parts(location: Location, plan: Plan, images: Mapping[str, bytes | Failure], codec: str = CODEC) -> None:
    """Encode every chunk of the plan with a real codec and put its part."""
    encoder = ChunkEncoder(codec_from(codec).load(Runtime()), Reading(), Runtime())
    for chunk in planned_chunks(location, plan):
        rows = encoder.rows(chunk, [images[entry.key] for entry in chunk.entries], plan.generation)
        put_part(location, rows, facts_for(plan, chunk))


def seal(location: Location, plan: Plan) -> Seal:
    return seal_generation(location, plan, lambda orders: write_packs_here(location, orders))


def make_archive(
    url: str | Path, images: Mapping[str, bytes | Failure] | None = None, *, codec: str = CODEC, sealed: bool = True,
    chunk_images: int = 64,
) -> Location:  # fmt: skip
    """Make an archive of encoded images (or failures to fetch them), sealed unless that is not wanted."""
    images = small_images() if images is None else images
    location = locate(str(url))
    document = create(location, document_for(codec))
    plan = write_plan(location, entries_of(images), codec_digest=document.codec_digest, chunk_images=chunk_images)
    put_parts(location, plan, images, codec)
    if sealed:
        seal(location, plan)
    return location


def grow_archive(
    location: Location, images: Mapping[str, bytes | Failure], kind: str = "growth", *, sealed: bool = True
) -> Plan:
    """Add a generation to a sealed archive."""
    before = highest_seal(location)
    assert before is not None
    plan = write_plan(location, entries_of(images, etag="2"), generation=before.number + 1, kind=kind)
    put_parts(location, plan, images)
    if sealed:
        seal(location, plan)
    return plan


def plain_row(entry: Entry, generation: int = 0, thumbnail: bytes | None = None, status: str = "ok") -> ImageRow:
    """Return a row that no codec made, for tests of the format alone."""
    row = ImageRow(
        key=entry.key, generation=generation, status=status, uri=entry.uri, locator=entry.locator, etag=entry.etag,
        source_bytes=entry.size,
    )  # fmt: skip
    if status != "ok":
        row.message = "said why"
        return row
    row.thumbnail = f"thumbnail of {entry.key}".encode() if thumbnail is None else thumbnail
    row.thumbnail_sha256 = hashlib.sha256(row.thumbnail).hexdigest()
    row.media_type, row.width, row.height, row.format = "image/webp", 64, 48, "JPEG"
    return row


def failed(code: FailureCode = FailureCode.UNREADABLE, message: str = "gone") -> Failure:
    return Failure(code, message)


def copy_here(location: Location, folder: Path) -> Path:
    """Copy an archive of any store to a local folder."""
    store = open_store(location.url)
    root = location.url.removeprefix("memory://").strip("/")
    for stored in store.walk(location.url):
        name = stored.url.split(root, 1)[1].lstrip("/")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(store.read(stored.url))
    return folder


def run_standalone_reader(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the standalone reader where nothing of regrow can be imported."""
    command = [sys.executable, "-P", str(READER), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=READER.parent)


def check_with_standalone_reader(path: str | Path) -> str:
    """Assert that the reader that knows nothing of regrow finds an archive whole; return what it says."""
    done = run_standalone_reader(path, "check")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
