"""The frozen plan of an evaluation: which thumbnail is judged against which reference, cut into work."""

import hashlib
import io
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct
from msgspec.structs import replace

from ops.archive.layout import ArchiveError
from ops.archive.ranges import conform, read_row_group
from ops.archive.reading import CatalogRow
from ops.readers.base import Entry
from ops.stores import join, open_store

WORKS_PER_FILE = 1024
WORKS_PER_ROW_GROUP = 16
# Of photographs in JPEG; lossless files have fewer.
PIXELS_PER_BYTE = 4
INDEX_SCHEMA = pa.schema(
    [("id", pa.string()), ("num_images", pa.int32()), ("num_bytes", pa.int64()), ("file", pa.string()),
     ("row_group", pa.int32()), ("row", pa.int32())]
)  # fmt: skip


class Pair(Struct, frozen=True, kw_only=True):
    """One image to judge. Of an archive it has a catalog row; `reference` is None where that row's source is it.

    Neither means that `references` were named and hold no image of this key.
    """

    key: str
    row: CatalogRow | None = None
    reference: Entry | None = None


class Work(NamedTuple):
    """Pairs that are judged together: the unit of resuming."""

    id: str
    pairs: list[Pair]


class EvaluationPlan(Struct, frozen=True, kw_only=True):
    """plan/plan.json, written last: what it names is the plan.

    `images_digest` is the sha256, in hex, over the sorted sha256 of all keys: the same for any order and cut. `shares`
    has, by the side of a patch, the share of all patches (0 to 1) whose features are kept.
    """

    files: list[str]
    num_works: int
    num_images: int
    images_digest: str
    digest: str
    shares: dict[str, float] = {}
    notes: list[str] = []


def write_plan(
    url: str,
    groups: Iterable[tuple[list[Pair], int]],
    shares: Callable[[int], dict[str, float]] = lambda _: {},
    notes: Iterable[str] = (),
) -> EvaluationPlan:
    """Write a plan of groups of pairs, each with its bytes to fetch, and return the one that counts: the first.

    `shares` is asked with the number of images, and `notes` are read, when all groups are there.
    """
    writer = _Writer(url)
    for ordinal, (pairs, num_bytes) in enumerate(groups):
        writer.add(ordinal, pairs, num_bytes)
    plan = replace(writer.finish(), notes=list(notes))
    plan = replace(plan, shares=shares(plan.num_images))
    content = msgspec.json.format(msgspec.json.encode(plan), indent=1)
    if open_store(url).put_new(join(url, "plan", "plan.json"), content):
        return plan
    found = read_plan(url)
    if found is None:
        raise ArchiveError(f"{url}/plan/plan.json came and went; is somebody removing the evaluation?")
    return found


def read_plan(url: str) -> EvaluationPlan | None:
    """Return an evaluation's plan, or nothing before it was published."""
    place = join(url, "plan", "plan.json")
    try:
        return msgspec.json.decode(open_store(url).read(place), type=EvaluationPlan)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise ArchiveError(f"{place} is damaged ({error}): restore it, or remove the folder") from error


def read_index(url: str, plan: EvaluationPlan) -> pa.Table:
    """Return where each work of a plan stands, in order. Reads no keys."""
    tables = [INDEX_SCHEMA.empty_table()]
    for name in plan.files:
        content = open_store(url).read(join(url, "plan", name))
        found = pq.read_table(io.BytesIO(content), columns=["id", "num_images", "num_bytes"], use_threads=False)
        places = [divmod(position, WORKS_PER_ROW_GROUP) for position in range(found.num_rows)]
        found = found.append_column("file", pa.array([name] * found.num_rows))
        found = found.append_column("row_group", pa.array([group for group, _ in places], pa.int32()))
        tables.append(
            conform(found.append_column("row", pa.array([row for _, row in places], pa.int32())), INDEX_SCHEMA)
        )
    return pa.concat_tables(tables)


def read_work(url: str, file: str, row_group: int, row: int) -> Work:
    """Return one work of a plan, checked against its id."""
    place = join(url, "plan", file)
    found = read_row_group(open_store(url), place, row_group, version=file).slice(row, 1).to_pylist()[0]
    if not found["id"].endswith(_digest(found["pairs"])):
        raise ArchiveError(f"{place}: work {found['id']} is not as it was planned: remove the evaluation, run it again")
    return Work(found["id"], msgspec.msgpack.decode(found["pairs"], type=list[Pair]))


def find_pairs(url: str, plan: EvaluationPlan, keys: Collection[str]) -> dict[str, Pair]:
    """Return the pairs of some keys; the plan is read file by file until all are found."""
    found: dict[str, Pair] = {}
    for name in plan.files:
        content = open_store(url).read(join(url, "plan", name))
        for encoded in pq.read_table(io.BytesIO(content), columns=["pairs"], use_threads=False)["pairs"].to_pylist():
            pairs = msgspec.msgpack.decode(encoded, type=list[Pair])
            found.update({pair.key: pair for pair in pairs if pair.key in keys})
        if len(found) == len(set(keys)):
            break
    return found


class _Writer:
    """Writes works to files whose names are made of their content, so that two planners never mix."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._held: list[dict[str, object]] = []
        self._keys: list[bytes] = []
        self._digest = hashlib.sha256()
        self._files: list[str] = []
        self._num_works = 0

    def add(self, ordinal: int, pairs: list[Pair], num_bytes: int) -> None:
        encoded = msgspec.msgpack.encode(pairs)
        name = f"{ordinal:08d}-{_digest(encoded)}"
        self._digest.update(f"{name}\n".encode())
        self._held.append({"id": name, "num_images": len(pairs), "num_bytes": num_bytes, "pairs": encoded})
        self._keys += [_hash(pair.key) for pair in pairs]
        self._num_works += 1
        if len(self._held) == WORKS_PER_FILE:
            self._flush()

    def _flush(self) -> None:
        schema = pa.schema(
            [("id", pa.string()), ("num_images", pa.int32()), ("num_bytes", pa.int64()), ("pairs", pa.binary())]
        )
        written = io.BytesIO()
        table = pa.Table.from_pylist(self._held, schema=schema)
        pq.write_table(table, written, compression="zstd", write_statistics=False, row_group_size=WORKS_PER_ROW_GROUP)
        name = f"{hashlib.sha256(written.getvalue()).hexdigest()[:16]}.parquet"
        open_store(self._url).put_new(join(self._url, "plan", name), written.getvalue())
        self._files.append(name)
        self._held = []

    def finish(self) -> EvaluationPlan:
        if self._held:
            self._flush()
        return EvaluationPlan(
            files=self._files, num_works=self._num_works, num_images=len(self._keys),
            images_digest=_images_digest(self._keys),
            digest=self._digest.hexdigest(),
        )  # fmt: skip


def plan_of_keys(keys: Iterable[str], num_works: int) -> EvaluationPlan:
    """Return what a plan would say of images whose scores were taken without one, while their archive was made."""
    hashes = [_hash(key) for key in keys]
    return EvaluationPlan(
        files=[], num_works=num_works, num_images=len(hashes), images_digest=_images_digest(hashes), digest=""
    )


def _hash(key: str) -> bytes:
    # So that fifty million keys can be sorted in memory.
    return hashlib.sha256(key.encode()).digest()


def _images_digest(hashes: list[bytes]) -> str:
    return hashlib.sha256(b"".join(sorted(hashes))).hexdigest()


def _digest(encoded: bytes) -> str:
    return hashlib.sha256(encoded).hexdigest()[:16]


def grouped(pairs: Iterable[Pair], most_images: int, most_pixels: int) -> Iterator[tuple[list[Pair], int]]:
    """Cut pairs into runs of at most so many images and pixels, with their bytes to fetch; a larger image is alone."""
    held: list[Pair] = []
    num_bytes = num_pixels = 0
    for pair in pairs:
        pixels = pixels_of(pair)
        if held and (len(held) == most_images or num_pixels + pixels > most_pixels):
            yield held, num_bytes
            held, num_bytes, num_pixels = [], 0, 0
        held.append(pair)
        num_bytes += _bytes_of(pair)
        num_pixels += pixels
    if held:
        yield held, num_bytes


def pixels_of(pair: Pair) -> int:
    """Return about how many pixels a pair has: a catalog says it; of a file of unknown size its bytes tell."""
    if pair.row is not None and pair.row.width and pair.row.height:
        return pair.row.width * pair.row.height
    return PIXELS_PER_BYTE * _bytes_of(pair)


def _bytes_of(pair: Pair) -> int:
    if pair.reference:
        return pair.reference.expected_bytes
    return pair.row.source_bytes if pair.row else 0
