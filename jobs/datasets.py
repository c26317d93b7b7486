"""Data sets by name and root: whether all of their files are there, before a run begins."""

import csv
import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from posixpath import basename, dirname
from typing import NamedTuple

from msgspec import Struct

from jobs.dataset_facts import DATASETS, Dataset, Portion
from jobs.dataset_search import Listing, Placed, holds_images, list_below, place_portion
from jobs.errors import InputError, UsageError
from jobs.strict_yaml import nearest
from ops.sources.folders import is_local
from ops.stores import absolute, join, open_store
from ops.stores.local import file_url, path_of
from ops.stores.routing import check_named

SHOWN = 5  # names of files in a message


class DatasetError(InputError):
    """A data set is not whole; the message says what is missing, where it was looked for, and what to do."""


class DatasetName(NamedTuple):
    """A data set and one of its splits, as `div2k:valid` spells them."""

    name: str
    split: str


class Found(Struct, frozen=True, kw_only=True):
    """A split that is all there.

    `keys` name its files the same way in every layout, in order. `digest` is the sha256 of the files' names and sizes.
    `training` says that models may be trained on it. `extra` are other images beside them, which are left out. `folder`
    holds exactly these files under these keys, or is empty where no folder does.
    """

    name: str
    split: str
    files: list[str]
    keys: list[str]
    digest: str
    training: bool = False
    extra: list[str] = []
    folder: str = ""


def known_datasets() -> list[str]:
    """Return how each split is spelled, with its count: `div2k:valid (100 images)`."""
    return [
        f"{name}:{split_name} ({split.count:,} images{', training' if split.training else ''})"
        for name, dataset in DATASETS.items()
        for split_name, split in dataset.splits.items()
    ]


def parse_dataset(spelling: str) -> DatasetName:
    """Return what `div2k:valid` names; without a split the first one is meant. Raises UsageError."""
    name, _, split = spelling.strip().lower().partition(":")
    dataset = DATASETS.get(name)
    if dataset is None:
        raise UsageError(f"no data set {name!r}{nearest(name, DATASETS)}: there are {', '.join(DATASETS)}")
    if split and split not in dataset.splits:
        near = nearest(split, dataset.splits)
        raise UsageError(f"{name} has no split {split!r}{near}: there are {', '.join(dataset.splits)}")
    return DatasetName(name, split or next(iter(dataset.splits)))


def find_dataset(name: str, root: str, split: str | None = None) -> Found:
    """Return the files of a split below a folder or URL, all of which is listed.

    Raises DatasetError unless every file is there, UsageError for a name that is not known.
    """
    named = parse_dataset(f"{name}:{split}" if split else name)
    check_named(root, "the root of a data set")
    listing = list_below(absolute(root))
    dataset = DATASETS[named.name]
    best: list[Placed] = []
    for way in dataset.splits[named.split].ways:
        placed = [place_portion(portion, dataset.folders, listing) for portion in way]
        if all(one.whole for one in placed):
            return _found(named, placed, listing)
        if not best or sum(one.share for one in placed) / len(placed) > sum(one.share for one in best) / len(best):
            best = placed
    raise DatasetError(_complaint(named, best, listing))


def dataset_source(found: Found, lists: str | None = None) -> str:
    """Return a source for a pipeline: the split's own folder, or a URI list (CSV) that is written once below `lists`.

    `lists` is a folder or URL, by default one in the user's cache.
    """
    if found.folder:
        return found.folder
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("uri", "key"))
    rows.writerows(zip((file_url(path) if is_local(path) else path for path in found.files), found.keys, strict=True))
    content = text.getvalue().encode("utf-8", "surrogateescape")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "regrow" / "lists"
    name = f"{found.name}-{found.split}-{hashlib.sha256(content).hexdigest()[:16]}.csv"
    url = join(absolute(lists) if lists else str(cache), name)
    open_store(url).put_new(url, content)
    return url


def _found(named: DatasetName, placed: list[Placed], listing: Listing) -> Found:
    keyed = [(one.portion.prefix + basename(name), name) for one in placed for name in one.present]
    keyed.sort(key=lambda pair: os.fsencode(pair[0]))
    claimed = {name for _, name in keyed}
    beside = sorted({dirname(name) for name in claimed})
    urls = [listing.files[name].url for _, name in keyed]
    return Found(
        name=named.name,
        split=named.split,
        files=[path_of(url) if is_local(url) else url for url in urls],
        keys=[key for key, _ in keyed],
        digest=_digest((basename(name), listing.files[name].size) for name in claimed),
        training=DATASETS[named.name].splits[named.split].training,
        extra=[
            name for folder in beside for name in listing.folders[folder] if name not in claimed and holds_images(name)
        ],
        folder=_own_folder(placed, keyed, listing),
    )


def _own_folder(placed: list[Placed], keyed: list[tuple[str, str]], listing: Listing) -> str:
    """Return the URL of the folder of which a pipeline would take just these files, under these keys; or nothing."""
    prefix = f"{placed[0].folder}/" * bool(placed[0].folder)
    below = sum(1 for name in listing.files if name.startswith(prefix) and holds_images(name))
    if below != len(keyed) or any(prefix + key != name for key, name in keyed):
        return ""
    return join(listing.root, prefix[:-1]) if prefix else listing.root


def _digest(files: Iterable[tuple[str, int]]) -> str:
    lines = sorted(f"{name}\t{size}\n".encode("utf-8", "surrogateescape") for name, size in files)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _complaint(named: DatasetName, placed: list[Placed], listing: Listing) -> str:
    """Return in one line what is missing of a split, where it was looked for, and what to do."""
    dataset = DATASETS[named.name]
    what = f"{named.name}:{named.split}"
    faults = "; ".join(_fault(one, dataset, listing) for one in placed if not one.whole)
    problems = "".join(f" {uri}: {problem}." for uri, problem in listing.problems[:2])
    return f"{what} is not complete below {listing.root}: {faults}.{problems} {_remedy(dataset)}"


def _fault(placed: Placed, dataset: Dataset, listing: Listing) -> str:
    portion, count = placed.portion, f"{placed.portion.count:,}"
    if not placed.present:
        looked = ", ".join(dict.fromkeys(one.folder or "the root" for one in portion.places))
        between = f", nor below {', '.join(dataset.folders[1:])}" if dataset.folders[1:] else ""
        return f"none of {count} images{_names(portion)} in {looked}{between}{_elsewhere(portion, listing)}"
    where = placed.folder or "the root"
    if len(placed.present) > portion.count:
        return f"{where} holds {len(placed.present):,} images and should hold {count}: take out those of other sets"
    found = f"{len(placed.present):,} of {count} images in {where}"
    if not placed.missing:
        return f"{found} (which are missing is not known: their names are not)"
    empty = [name for name in placed.missing if name in listing.files]
    absent = [name for name in placed.missing if name not in listing.files]
    parts = [f"{word} {_some(names)}" for word, names in (("missing", absent), ("empty", empty)) if names]
    return f"{found}; {'; '.join(parts)}"


def _names(portion: Portion) -> str:
    pattern = portion.places[0].pattern
    if not pattern:
        return ""
    names = [basename(pattern.format(n=n, block=0)) for n in (portion.first, portion.first + portion.count - 1)]
    return f" ({names[0]} to {names[1]})"


def _elsewhere(portion: Portion, listing: Listing) -> str:
    """Return where such files lie that were not looked for, or what lies there at all."""
    if portion.places[0].pattern:
        wanted = {basename(name) for name in portion.places[0].names(portion.first, portion.count)}
        held = Counter(dirname(name) for name in listing.files if basename(name) in wanted)
        if held:
            folder, number = held.most_common(1)[0]
            return f"; {number:,} files of such names lie in {folder}: name it as the root if they are these"
    held = Counter(dirname(name) for name in listing.files if holds_images(name))
    there = ", ".join(f"{folder or 'the root'} ({number:,})" for folder, number in held.most_common(SHOWN))
    return f"; images there: {there or 'none'}"


def _some(names: list[str]) -> str:
    shown = ", ".join(basename(name) for name in names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN:,} more" if len(names) > SHOWN else shown


def _remedy(dataset: Dataset) -> str:
    return f"Complete it ({dataset.source}), or name the folder itself as the source to take what is there"
