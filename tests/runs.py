"""Runs of the pipelines as a user would see them: small sources, what an archive holds, and its invariants."""

import io
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from ops.archive.layout import Location, locate
from ops.archive.plan import Plan, read_chunk, read_index, read_plan
from ops.archive.reading import Archive, CatalogRow, catalog_rows
from ops.archive.seals import Seal, highest_seal, read_seal
from ops.codecs.names import codec_from
from ops.stores import join, open_store
from pipelines.archive import archive
from pipelines.events import Event, Planned, Receipt
from pipelines.requests import ArchiveRequest
from tests import makers
from tests.archives import check_with_standalone_reader, copy_here

CODEC = codec_from("bicubic-x4")


def jpeg(seed: int, width: int = 48, height: int = 32) -> bytes:
    """Return a small photograph of its own."""
    return makers.encode(makers.photo(width, height, seed=seed), "JPEG")


def put_files(url: str, files: dict[str, bytes]) -> str:
    """Write files below a folder or prefix; return its URL."""
    for name, content in files.items():
        open_store(url).put(join(url, name), content)
    return url


def photographs(number: int, first: int = 0) -> dict[str, bytes]:
    """Return numbered JPEG files."""
    return {f"{index:03d}.jpg": jpeg(index) for index in range(first, first + number)}


def request(source: object, destination: object, **more: object) -> ArchiveRequest:
    """Return a request with the codec of the tests."""
    return ArchiveRequest(source=str(source), archive=str(destination), **{"codec": CODEC, **more})  # type: ignore[arg-type]


class Run:
    """One run of `archive`: what it told its listener, and the seal."""

    def __init__(self, asked: ArchiveRequest) -> None:
        self.events: list[Event] = []
        self.seal = archive(asked, self.events.append)

    @property
    def chunks(self) -> list[str]:
        """The ids of the chunks that this run encoded."""
        return sorted(event.name for event in self.events if isinstance(event, Receipt))

    @property
    def notes(self) -> str:
        """What the plan says about the source."""
        return "\n".join(note for event in self.events if isinstance(event, Planned) for note in event.plan.notes)


def rows_of(url: object) -> dict[str, CatalogRow]:
    """Return each key's current row."""
    found = [row for table in Archive.open(str(url)).select() for row in catalog_rows(table)]
    by_key = {row.key: row for row in found}
    assert len(by_key) == len(found), "a key has two current rows"
    return by_key


def current(url: object) -> dict[str, tuple[str, str | None]]:
    """Return what counts of an archive: each key's status and its thumbnail's sha256."""
    return {key: (row.status, row.sha256) for key, row in rows_of(url).items()}


def messages(url: object) -> dict[str, tuple[str, str]]:
    """Return status and message of each failure."""
    return {row.key: (row.status, row.message or "") for row in Archive.open(str(url)).failures()}


def names_in(url: object) -> set[str]:
    """Return the name of every object below an archive, half-written files too."""
    location = locate(str(url))
    if Path(location.url).is_dir():
        return {str(path.relative_to(location.url)) for path in Path(location.url).rglob("*") if path.is_file()}
    return {stored.url.removeprefix(f"{location.url}/") for stored in location.store.walk(location.url)}


def check_invariants(url: object) -> None:
    """Assert that every planned image has one row in one pack, every key one current row, and nothing lies astray.

    And that the standalone reader finds it whole.
    """
    location = locate(str(url))
    seal = highest_seal(location)
    assert seal is not None, f"{url} is not sealed"
    plans = [plan for number in range(seal.number + 1) if (plan := read_plan(location, number))]
    planned = Counter((plan.generation, key) for plan in plans for key in _planned(location, plan))
    packed = Counter(pair for pack in seal.packs for pair in _packed(location, pack.name))
    assert planned == packed
    assert set(planned.values()) <= {1}
    assert set(current(url)) == {key for _, key in planned}
    stray = names_in(url) - set(_counted(location, plans, seal))
    assert not stray, f"stray files: {sorted(stray)}"
    _check_apart(location)


def _check_apart(location: Location) -> None:
    """Assert that the reader that knows nothing of regrow finds it whole; it reads other stores where they lie here."""
    with tempfile.TemporaryDirectory(prefix="regrow-copied-") as folder:
        path = location.url if Path(location.url).is_dir() else copy_here(location, Path(folder))
        assert check_with_standalone_reader(path).startswith("sealed: ")


def _planned(location: Location, plan: Plan) -> Iterator[str]:
    for row in read_index(location, plan).to_pylist():
        chunk = read_chunk(location, plan.generation, row["file"], row["row_group"], row["row"])
        yield from (entry.key for entry in chunk.entries)


def _packed(location: Location, name: str) -> list[tuple[int, str]]:
    table = pq.read_table(io.BytesIO(location.store.read(location.at(name))), columns=["generation", "key"])
    return list(zip(table["generation"].to_pylist(), table["key"].to_pylist(), strict=True))


def _counted(location: Location, plans: list[Plan], seal: Seal) -> Iterator[str]:
    """Yield the names of all that belongs to an archive."""
    yield "archive.json"
    yield from (name for name in names_in(location.url) if name.startswith("codec/"))
    yield from (pack.name for pack in seal.packs)
    for plan in plans:
        yield f"plan/{plan.generation:05d}/plan.json"
        yield from (f"plan/{plan.generation:05d}/{file.name}" for file in [*plan.files, plan.index])
    for number in range(seal.number + 1):
        yield f"seals/{number:05d}.json"
        yield from (file.name for file in read_seal(location, number).catalog)
