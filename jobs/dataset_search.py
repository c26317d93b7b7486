"""Looking for the files of a data set below a root."""

from collections.abc import Iterable
from posixpath import dirname

from msgspec import Struct

from jobs.dataset_facts import Place, Portion
from ops.readers import shard_suffix
from ops.sources.folders import walk
from ops.sources.report import HIDDEN, ScanReport, why_skipped
from ops.stores import Stored


class Listing(Struct):
    """Everything below a root by name, and the folders that hold something."""

    root: str
    files: dict[str, Stored]
    folders: dict[str, list[str]]
    problems: list[tuple[str, str]]


class Placed(Struct):
    """A portion in the folder that holds most of it: which files were found there, and which were not."""

    portion: Portion
    folder: str
    present: list[str]
    missing: list[str]

    @property
    def whole(self) -> bool:
        """Say whether every file is there, and where names are not known, no other."""
        return len(self.present) == self.portion.count

    @property
    def share(self) -> float:
        """Return which part of the files is there, 0 to 1."""
        return min(len(self.present), self.portion.count) / self.portion.count


def list_below(root: str) -> Listing:
    """Return the names of everything below a folder or URL."""
    report = ScanReport()
    files = {found.name: found.stored for found in walk(root, report)}
    folders: dict[str, list[str]] = {}
    for name in files:
        folders.setdefault(dirname(name), []).append(name)
    return Listing(root, files, folders, report.problems)


def place_portion(portion: Portion, between: Iterable[str], listing: Listing) -> Placed:
    """Return where a portion lies: the first folder that holds it whole, or else the one that holds most of it."""
    best = Placed(portion, "", [], [])
    for place in portion.places:
        for folder in between:
            placed = _look(portion, place, "/".join(part for part in (folder, place.folder) if part), listing)
            if placed.whole:
                return placed
            if placed.share > best.share:
                best = placed
    return best


def _look(portion: Portion, place: Place, folder: str, listing: Listing) -> Placed:
    if not place.pattern:
        present = [name for name in listing.folders.get(folder, ()) if holds_images(name) and listing.files[name].size]
        return Placed(portion, folder, [name for name in present if not shard_suffix(name)], [])
    placed = Placed(portion, folder, [], [])
    prefix = f"{folder}/" * bool(folder)
    if not any(held == folder or held.startswith(prefix) for held in listing.folders):
        return placed
    for name in place.names(portion.first, portion.count):
        stored = listing.files.get(prefix + name)
        # Of an interrupted download, or a link to nothing, an empty file is left.
        (placed.present if stored is not None and stored.size else placed.missing).append(prefix + name)
    return placed


def holds_images(name: str) -> bool:
    """Say whether a pipeline would take a file for an image or a shard of them."""
    reason = why_skipped(name)
    return reason is None or (reason != HIDDEN and bool(shard_suffix(name)))
