"""What a job takes of an archive: keys that were asked for, what is new, a condition, or a sample."""

import hashlib
import heapq
from collections.abc import Callable, Collection, Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from msgspec.structs import replace

from ops.archive.layout import ArchiveError
from ops.archive.reading import Archive
from ops.archive.rows import OK
from ops.archive.seals import read_catalog
from ops.archive.where import parse_where
from ops.key_lists import read_key_lists
from pipelines.regrow import Missed
from pipelines.requests import EvaluateRequest, ReconstructRequest

# Codes of what was asked for and cannot be had: a key that the archive does not have, a file that is no list of keys.
NOT_ARCHIVED, NO_LIST = "not_archived", "no_list"

# Each key that is looked up costs two requests; beyond so many the catalog is read through.
FEW_KEYS = 100


class Asked(Struct, frozen=True, kw_only=True):
    """Where keys were asked for, in how many files, how many keys, and how many of these the archive has."""

    place: str
    num_files: int
    num_keys: int
    num_known: int


class Selection(Struct, frozen=True, kw_only=True):
    """Images of an archive for which every given condition holds.

    `after` is a generation: only later ones count. `asked` is there where lists of keys were read, and `refused` has a
    line for all that was asked for in them and cannot be had. `may_be_empty`: to find nothing is nothing wrong.
    """

    keys: Collection[str] | None = None
    match: str | None = None
    where: str | None = None
    after: int | None = None
    asked: Asked | None = None
    refused: list[Missed] = []
    may_be_empty: bool = False

    def tables(self, archive: Archive) -> Iterator[pa.Table]:
        """Yield catalog rows, sorted by key. Raises ArchiveError for a key of `keys` that is not there."""
        if self.keys is not None and not self.keys:
            return
        for table in archive.select(keys=self.keys, match=self.match, where=self.where):
            yield table if self.after is None else table.filter(pc.greater(table["generation"], self.after))


def selection_of(archive: Archive, request: ReconstructRequest, since: int | None = None) -> Selection:
    """Return what a request selects; `since` is the seal that the last run has seen, for `new_since`, or -1 for none.

    Lists of keys are read now. Raises FileNotFoundError for a list that is not there, ArchiveError where nobody said
    what the last run has seen.
    """
    given = Selection(keys=request.keys, match=request.match, where=request.where)
    if request.where is not None:
        parse_where(request.where)  # also where there is nothing to filter
    if request.new_since is not None:
        if since is None:
            raise ArchiveError("new_since: last_run goes by the records of runs: write it in a job file, and run that")
        return replace(given, after=since, may_be_empty=True)
    return given if request.keys_from is None else _asked_for(archive, given, request.keys_from)


def _asked_for(archive: Archive, given: Selection, place: str) -> Selection:
    lists = read_key_lists(place)
    known = known_keys(archive, lists.keys)
    url = archive.location.url
    missing = [
        Missed(
            NOT_ARCHIVED,
            f"{key}: asked for in {file}, not in {url}: archive it, or take the line away; `regrow ls` lists the keys",
        )
        for key, file in lists.keys.items()
        if key not in known
    ]
    return replace(
        given,
        keys=known | set(given.keys or ()),
        asked=Asked(place=place, num_files=lists.num_files, num_keys=len(lists.keys), num_known=len(known)),
        refused=[*(Missed(NO_LIST, problem) for problem in lists.problems), *missing],
        may_be_empty=True,
    )


def known_keys(archive: Archive, keys: Collection[str]) -> set[str]:
    """Return those of some keys that an archive has."""
    if len(keys) <= FEW_KEYS:
        return {key for key in keys if archive.find(key) is not None}
    wanted, found = pa.array(keys, pa.string()), set[str]()
    for table in read_catalog(archive.location, archive.seal, ["key"]):
        found.update(table["key"].filter(pc.is_in(table["key"], wanted)).to_pylist())
    return found


def drawn(request: EvaluateRequest, archive: Archive | None) -> EvaluateRequest:
    """Return a request for the images of its sample, by their keys; without a sample the request itself.

    An image is in a sample by the sha256 over seed and key: the same for any order of the catalog and any number of
    workers. Only images with a thumbnail are drawn. Memory follows the sample.
    """
    if archive is None or request.sample is None:
        return request
    num_drawn = request.sample
    if isinstance(num_drawn, float):
        num_drawn = max(1, round(num_drawn * sum(table.num_rows for table in _good(rows_of(archive, request)))))
    seed = f"{request.seed}\0".encode()
    ranked = (
        (hashlib.sha256(seed + key.encode()).digest(), key)
        for table in _good(rows_of(archive, request))
        for key in table["key"].to_pylist()
    )
    keys = sorted(key for _, key in heapq.nsmallest(num_drawn, ranked))
    if not keys:
        raise ArchiveError(
            f"{request.target} has no image with a thumbnail that meets the request: nothing to draw from"
        )
    return replace(request, keys=keys, sample=None, seed="")


def rows_of(archive: Archive, request: EvaluateRequest) -> Callable[[], Iterator[pa.Table]]:
    """Return what yields the catalog's rows that a request selects, without drawing a sample of them."""
    return partial(archive.select, keys=request.keys, match=request.match, where=request.where)


def _good(rows: Callable[[], Iterator[pa.Table]]) -> Iterator[pa.Table]:
    for table in rows():
        yield table.filter(pc.equal(table["status"], OK))
