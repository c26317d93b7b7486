"""A part: one finished chunk, written once. The write-ahead form of an archive."""

import io
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from ops.archive.layout import FORMAT, ArchiveError, Location, parse_chunk_id
from ops.archive.parquet import open_writer, write_rows
from ops.archive.ranges import read_footer
from ops.archive.rows import ImageRow, to_table

FINISHED_SCHEMA = pa.schema([("chunk_id", pa.string()), ("num_bytes", pa.int64())])
_LISTED = 65_536


class PartFacts(Struct, frozen=True, kw_only=True):
    """What a part says of itself in its Parquet metadata, under the name `regrow`."""

    format: int = FORMAT
    chunk_id: str
    plan_digest: str
    codec_digest: str
    device: str
    stack: str

    def agrees(self, other: "PartFacts") -> bool:
        """Say whether two parts are of the same chunk, plan and codec, whatever made them."""
        mine = (self.chunk_id, self.plan_digest, self.codec_digest)
        return mine == (other.chunk_id, other.plan_digest, other.codec_digest)


def encode_part(rows: Sequence[ImageRow], facts: PartFacts) -> bytes:
    """Return a part as Parquet."""
    written = io.BytesIO()
    with open_writer(written, {"regrow": msgspec.json.encode(facts).decode()}) as writer:
        write_rows(writer, to_table(rows))
    return written.getvalue()


def put_part(location: Location, rows: Sequence[ImageRow], facts: PartFacts) -> int:
    """Store a chunk's part and return its bytes; the first writer wins, a second one makes sure that it is the same.

    Raises ArchiveError when a part of this name belongs to another plan or codec.
    """
    url = location.part(facts.chunk_id)
    content = encode_part(rows, facts)
    if location.store.put_new(url, content):
        return len(content)
    footer = read_footer(location.store, url)
    found = facts_of(footer.metadata, url)
    if not found.agrees(facts):
        raise ArchiveError(
            f"{url} is of plan {found.plan_digest[:16]}, not of {facts.plan_digest[:16]}: two archives met"
        )
    return footer.size


def facts_of(metadata: pq.FileMetaData, url: str) -> PartFacts:
    """Return what a part's footer says of it."""
    try:
        facts = msgspec.json.decode(metadata.metadata[b"regrow"], type=PartFacts)
    except (KeyError, TypeError, msgspec.MsgspecError) as error:
        raise ArchiveError(f"{url} is no part of an archive of format {FORMAT}: {error!r}") from error
    if facts.format != FORMAT:
        raise ArchiveError(f"{url} is of format {facts.format}; this regrow reads {FORMAT}: upgrade it")
    return facts


def finished_parts(location: Location, generation: int) -> pa.Table:
    """Return chunk id and bytes of each part of a generation. One request per 1,000 on an object store.

    Some 45 bytes a part are held: as Python's own objects, the parts of 50 million images would take gigabytes.
    """
    tables = []
    listed = _listed(location, generation)
    while batch := list(islice(listed, _LISTED)):
        names, sizes = zip(*batch, strict=True)
        tables.append(pa.table({"chunk_id": names, "num_bytes": sizes}, schema=FINISHED_SCHEMA))
    return pa.concat_tables(tables) if tables else FINISHED_SCHEMA.empty_table()


def _listed(location: Location, generation: int) -> Iterator[tuple[str, int]]:
    for stored in location.store.walk(location.at("parts")):
        name = stored.url.rsplit("/", 1)[-1].removesuffix(".parquet")
        parsed = parse_chunk_id(name)
        if parsed and parsed[0] == generation:
            yield name, stored.size


def read_part(location: Location, chunk_id: str, expected: PartFacts, num_images: int) -> pa.Table:
    """Return a part whole, checked against the plan."""
    url = location.part(chunk_id)
    content = location.store.read(url)
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        table = file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ArchiveError(f"{url} is damaged ({error}): remove it and run the same command again") from error
    if not facts_of(file.metadata, url).agrees(expected) or file.metadata.num_rows != num_images:
        raise ArchiveError(
            f"{url} has {file.metadata.num_rows} rows of plan {facts_of(file.metadata, url).plan_digest[:16]}; "
            f"{num_images} of {expected.plan_digest[:16]} were planned: remove it and run the same command again"
        )
    return table
