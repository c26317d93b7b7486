"""A plan: the frozen list of the chunks of one generation, written before any work."""

import hashlib
import io
from collections.abc import Iterable, Iterator

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from ops.archive.layout import ArchiveError, Location, chunk_id
from ops.archive.ranges import conform, read_row_group
from ops.readers.base import Entry

CHUNK_IMAGES = 64
CHUNK_BYTES = 64 << 20
# A worker reads one row group to get its chunk; 16 chunks are some 100 kB.
CHUNKS_PER_ROW_GROUP = 16
CHUNKS_PER_FILE = 1024

_TEXTS = pa.list_(pa.string())
PLAN_SCHEMA = pa.schema(
    [
        ("ordinal", pa.int64()),
        ("chunk_id", pa.string()),
        ("num_images", pa.int32()),
        ("num_bytes", pa.int64()),
        ("keys", _TEXTS),
        ("uris", _TEXTS),
        ("locators", _TEXTS),
        ("sizes", pa.list_(pa.int64())),
        ("etags", _TEXTS),
    ]
)
# A driver holds this of every chunk, and nothing else: some 60 bytes, where the entries of a chunk take 10 kB.
INDEX_SCHEMA = pa.schema(
    [
        ("ordinal", pa.int64()),
        ("chunk_id", pa.string()),
        ("num_images", pa.int32()),
        ("num_bytes", pa.int64()),
        ("file", pa.string()),
        ("row_group", pa.int32()),
        ("row", pa.int32()),
    ]
)


class Chunk(Struct, frozen=True, kw_only=True):
    """A run of source images: the unit of work and of retry."""

    id: str
    ordinal: int
    entries: list[Entry]


class PlanFile(Struct, frozen=True):
    """One Parquet file of a plan; its name is made of its content, so that two planners never mix."""

    name: str
    num_chunks: int
    sha256: str


class Plan(Struct, frozen=True, kw_only=True):
    """plan.json: written last; what it names is the plan. `parent` is the digest of the plan before."""

    generation: int
    kind: str  # first, growth or retry
    parent: str
    source: str
    digest: str
    codec_digest: str
    num_chunks: int
    num_images: int
    num_bytes: int
    files: list[PlanFile]
    index: PlanFile
    skipped: dict[str, int] = {}  # files that were not planned, counted by suffix
    notes: list[str] = []
    problems: list[str] = []  # what could not be listed, such as a shard that is damaged: images may be missing


def chunks_of(entries: Iterable[Entry], generation: int) -> Iterator[Chunk]:
    """Cut a run of entries into chunks, each closed at 64 images or 64 MiB."""
    held: list[Entry] = []
    num_bytes = ordinal = 0
    for entry in entries:
        if held and (len(held) == CHUNK_IMAGES or num_bytes + entry.expected_bytes > CHUNK_BYTES):
            yield _chunk(generation, ordinal, held)
            held, num_bytes, ordinal = [], 0, ordinal + 1
        held.append(entry)
        num_bytes += entry.expected_bytes
    if held:
        yield _chunk(generation, ordinal, held)


def _chunk(generation: int, ordinal: int, entries: list[Entry]) -> Chunk:
    canonical = msgspec.json.encode([(e.key, e.uri, e.locator, e.size, e.etag) for e in entries])
    digest = hashlib.sha256(canonical).hexdigest()
    return Chunk(id=chunk_id(generation, ordinal, digest), ordinal=ordinal, entries=entries)


class PlanWriter:
    """Writes the chunks of one generation to files of some 10 MB, and the index that points into them."""

    def __init__(self, location: Location, generation: int) -> None:
        self._location, self._generation = location, generation
        self._held: list[Chunk] = []
        self._index: list[pa.Table] = []
        self._digest = hashlib.sha256()
        self.files: list[PlanFile] = []
        self.num_images = self.num_bytes = self.num_chunks = 0

    def add(self, chunk: Chunk) -> None:
        """Append the next chunk."""
        self._held.append(chunk)
        self._digest.update(f"{chunk.id}\n".encode())
        self.num_chunks += 1
        self.num_images += len(chunk.entries)
        self.num_bytes += sum(entry.expected_bytes for entry in chunk.entries)
        if len(self._held) == CHUNKS_PER_FILE:
            self._flush()

    def _flush(self) -> None:
        rows = [_columns(chunk) for chunk in self._held]
        table = pa.Table.from_pylist(rows, schema=PLAN_SCHEMA)
        file = self._store(table, len(rows), CHUNKS_PER_ROW_GROUP)
        places = [divmod(position, CHUNKS_PER_ROW_GROUP) for position in range(len(rows))]
        self._index.append(
            table.select(INDEX_SCHEMA.names[:4])
            .append_column("file", pa.array([file.name] * len(rows)))
            .append_column("row_group", pa.array([group for group, _ in places], pa.int32()))
            .append_column("row", pa.array([row for _, row in places], pa.int32()))
        )
        self.files.append(file)
        self._held = []

    def _store(self, table: pa.Table, num_chunks: int, row_group_size: int | None) -> PlanFile:
        written = io.BytesIO()
        pq.write_table(table, written, compression="zstd", write_statistics=False, row_group_size=row_group_size)
        content = written.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        name = f"{digest[:16]}.parquet"
        self._location.store.put_new(self._location.plan(self._generation, name), content)
        return PlanFile(name, num_chunks, digest)

    def finish(self) -> tuple[PlanFile, str]:
        """Write the rest; return the index and the plan's digest, the sha256 over the ids, each with a newline."""
        if self._held:
            self._flush()
        index = pa.concat_tables(self._index) if self._index else INDEX_SCHEMA.empty_table()
        return self._store(index, self.num_chunks, None), self._digest.hexdigest()


def _columns(chunk: Chunk) -> dict[str, object]:
    entries = chunk.entries
    return {
        "ordinal": chunk.ordinal,
        "chunk_id": chunk.id,
        "num_images": len(entries),
        "num_bytes": sum(entry.expected_bytes for entry in entries),
        "keys": [entry.key for entry in entries],
        "uris": [entry.uri for entry in entries],
        "locators": [entry.locator for entry in entries],
        "sizes": [entry.size for entry in entries],
        "etags": [entry.etag for entry in entries],
    }


def publish(location: Location, plan: Plan) -> Plan:
    """Write plan.json if there is none, and return the one that counts: ours, or another driver's that was first."""
    content = msgspec.json.format(msgspec.json.encode(plan), indent=1)
    if location.store.put_new(location.plan(plan.generation), content):
        return plan
    found = read_plan(location, plan.generation)
    if found is None:
        raise ArchiveError(f"{location.plan(plan.generation)} came and went; is somebody removing the archive?")
    if (found.parent, found.codec_digest) != (plan.parent, plan.codec_digest):
        raise ArchiveError(f"{location.plan(plan.generation)} is another driver's plan for another codec or past")
    if found.source != plan.source:
        raise ArchiveError(
            f"another driver has just planned {found.source} into {location.url}: wait for it, then run this again"
        )
    return found


def read_plan(location: Location, generation: int) -> Plan | None:
    """Return a generation's plan, or nothing if it has not been published. Raises ArchiveError for a damaged one."""
    try:
        content = location.store.read(location.plan(generation))
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=Plan)
    except msgspec.MsgspecError as error:
        raise ArchiveError(f"{location.plan(generation)} is damaged ({error}): restore it from a copy") from error


def read_index(location: Location, plan: Plan) -> pa.Table:
    """Return where each chunk of a plan stands, in order, as INDEX_SCHEMA has it. Reads no keys."""
    url = location.plan(plan.generation, plan.index.name)
    content = location.store.read(url)
    if hashlib.sha256(content).hexdigest() != plan.index.sha256:
        raise ArchiveError(f"{url} is not as it was written: restore it from a copy")
    return conform(pq.read_table(io.BytesIO(content), use_threads=False), INDEX_SCHEMA)


def read_chunk(location: Location, generation: int, file: str, row_group: int, row: int) -> Chunk:
    """Return one chunk of a plan, checked against its id."""
    url = location.plan(generation, file)
    found = read_row_group(location.store, url, row_group).slice(row, 1).to_pylist()[0]
    columns = (found[name] for name in ("keys", "uris", "locators", "sizes", "etags"))
    entries = [
        Entry(key=key, uri=uri, locator=locator, size=size, etag=etag)
        for key, uri, locator, size, etag in zip(*columns, strict=True)
    ]
    chunk = _chunk(generation, found["ordinal"], entries)
    if chunk.id != found["chunk_id"]:
        raise ArchiveError(f"{url}: chunk {found['chunk_id']} is not as it was planned: restore the file from a copy")
    return chunk
