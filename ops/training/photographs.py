"""The frozen list of the photographs that a run is trained on: what they are, where they lie, what was left out."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct

from ops.decoding import Header
from ops.images import Failure
from ops.keys import KeySet
from ops.probing import probed
from ops.readers import Entry
from ops.sources import ScanReport, SourceError, scan
from ops.training.errors import TrainingError
from ops.training.settings import Photographs

_TOLD = 3
_BATCH = 10_000


class TrainingDataError(TrainingError, ValueError):
    """The photographs cannot be trained on; the message names what was found, and the remedy."""


class TrainingPhotograph(Struct, frozen=True, kw_only=True):
    """One photograph: its key, where it lies (as in an Entry), its encoded bytes, and its pixels as displayed."""

    key: str
    uri: str
    locator: str = ""
    size: int
    width: int
    height: int
    group: str = ""

    @property
    def entry(self) -> Entry:
        """What fetching it asks for; without the etag, since copies of one set differ in their times."""
        return Entry(key=self.key, uri=self.uri, locator=self.locator, size=self.size)


class LeftOut(Struct, frozen=True):
    """What is not trained on: a key, or the URI of what could not be listed; and why."""

    name: str
    reason: str


class FrozenPhotographs(Struct, frozen=True, kw_only=True):
    """The list, in the order of its keys: with a seed it decides every crop of a run."""

    photographs: tuple[TrainingPhotograph, ...]
    held_out: tuple[TrainingPhotograph, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def digest(self) -> str:
        """Return the sha256 of all that decides crops; it is the same wherever the photographs lie."""
        facts = [(one.key, one.size, one.width, one.height, one.group) for one in self.photographs]
        return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()

    def save(self, path: Path) -> None:
        """Write the list as JSON, whole or not at all."""
        saved = _Saved(
            digest=self.digest(), photographs=self.photographs, held_out=self.held_out, left_out=self.left_out
        )
        aside = path.with_name(path.name + ".new")
        with aside.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(saved), indent=1))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)

    @staticmethod
    def load(path: Path) -> "FrozenPhotographs":
        """Read a list. Raises TrainingDataError for one that is damaged or was changed by hand."""
        remedy = "remove it to list the photographs anew"
        try:
            saved = msgspec.json.decode(path.read_bytes(), type=_Saved)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TrainingDataError(f"{path} is no list of photographs ({error}): {remedy}") from error
        frozen = FrozenPhotographs(photographs=saved.photographs, held_out=saved.held_out, left_out=saved.left_out)
        if frozen.digest() != saved.digest:
            raise TrainingDataError(f"{path} is not as it was written: {remedy}")
        return frozen


def check_frozen_for(frozen: FrozenPhotographs, settings: Photographs, path: Path) -> None:
    """Raise TrainingDataError where settings would group or hold out a list's photographs in another way."""
    held = sorted(one.key for one in frozen.held_out)
    remedy = f"{path} was frozen before: start in a new folder, or write what it was frozen with"
    if held != sorted(settings.held_out):
        was, now = (", ".join(keys) or "none" for keys in (held, sorted(settings.held_out)))
        raise TrainingDataError(f"held_out is {now}, and was {was}: {remedy}")
    expression = _expression(settings.group)
    for one in frozen.photographs:
        if (group := _group_of(one.key, expression)) != one.group:
            raise TrainingDataError(f"group puts {one.key} into {group!r}, and did into {one.group!r}: {remedy}")


class _Saved(Struct, kw_only=True):
    digest: str
    photographs: tuple[TrainingPhotograph, ...]
    held_out: tuple[TrainingPhotograph, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def freeze(settings: Photographs, largest_crop: int) -> FrozenPhotographs:
    """List all photographs of the sources whose sides hold a crop of `largest_crop` pixels; no pixel is decoded.

    What cannot be listed or read, or is too small, is in `left_out` and told in the log. Keys that several sources
    share are numbered as in a plan (`a~2.jpg`). Raises TrainingDataError where nothing is left to train on.
    """
    expression = _expression(settings.group)
    left_out: list[LeftOut] = []
    found: list[TrainingPhotograph] = []
    for entry, header in probed(_entries(settings.sources, left_out)):
        if isinstance(header, Failure):
            left_out.append(LeftOut(entry.key, header.message))
        elif min(header.width, header.height) < largest_crop:
            size = f"{header.width}x{header.height}"
            left_out.append(LeftOut(entry.key, f"{size} pixels do not hold a crop of {largest_crop}"))
        else:
            found.append(_photograph(entry, header, _group_of(entry.key, expression)))
    held = [one for one in found if one.key in settings.held_out]
    found = [one for one in found if one.key not in settings.held_out]
    _check_held(held, found, settings)
    _check(found, left_out, settings, largest_crop)
    _tell(left_out, found, settings)
    photographs, held_out = (tuple(sorted(some, key=_by_key)) for some in (found, held))
    return FrozenPhotographs(photographs=photographs, held_out=held_out, left_out=tuple(left_out))


def _by_key(photograph: TrainingPhotograph) -> bytes:
    return photograph.key.encode()


def _entries(sources: Sequence[str], left_out: list[LeftOut]) -> Iterator[Entry]:
    """Yield the entries of all sources, with unique keys, and what lies in two of them once."""
    keys, listed = KeySet(), _listed(sources, left_out)
    seen = set[tuple[str, str]]()
    while batch := list(islice(listed, _BATCH)):
        new = {(entry.uri, entry.locator): entry for entry in batch if (entry.uri, entry.locator) not in seen}
        seen.update(new)
        unique = keys.unique([entry.key for entry in new.values()])
        yield from (msgspec.structs.replace(entry, key=key) for entry, key in zip(new.values(), unique, strict=True))


def _listed(sources: Sequence[str], left_out: list[LeftOut]) -> Iterator[Entry]:
    """Yield what each source holds; what could not be listed is left out."""
    for source in sources:
        report = ScanReport()
        try:
            yield from scan(source, report=report)
        except SourceError as error:
            raise TrainingDataError(f"nothing to train on: {error}") from error
        left_out += [LeftOut(uri, reason) for uri, reason in report.problems]


def _photograph(entry: Entry, header: Header, group: str) -> TrainingPhotograph:
    return TrainingPhotograph(
        key=entry.key,
        uri=entry.uri,
        locator=entry.locator,
        size=entry.size,
        width=header.width,
        height=header.height,
        group=group,
    )


def _expression(group: str) -> re.Pattern[str] | None:
    if not group:
        return None
    try:
        expression = re.compile(group)
    except re.error as error:
        raise TrainingDataError(f"group {group!r} is no regular expression ({error}): mend it") from error
    if not expression.groups:
        raise TrainingDataError(
            f"group {group!r} has no group: put the part of a key that names a photograph's group in brackets"
        )
    return expression


def _group_of(key: str, expression: re.Pattern[str] | None) -> str:
    """Return the group of a key; keys that the expression does not match are a group of their own, without a name."""
    match = expression.search(key) if expression else None
    return (match[1] or "") if match else ""


def _check(found: list[TrainingPhotograph], left_out: list[LeftOut], settings: Photographs, crop: int) -> None:
    if not found:
        sources = ", ".join(settings.sources) or "no source"
        reasons = "; ".join(f"{one.name}: {one.reason}" for one in left_out[:_TOLD]) or "no image is there"
        raise TrainingDataError(
            f"nothing to train on in {sources}: {reasons}; {len(left_out)} were left out: "
            f"name larger photographs, or use a crop below {crop}"
        )
    if settings.group and not any(one.group for one in found):
        raise TrainingDataError(f"group {settings.group!r} matches no key, such as {found[0].key!r}: mend it")


def _check_held(held: list[TrainingPhotograph], found: list[TrainingPhotograph], settings: Photographs) -> None:
    if missing := sorted(set(settings.held_out) - {one.key for one in held}):
        raise TrainingDataError(
            f"{missing[0]!r} is to be held out, but no photograph that holds a crop has that key: mend held_out"
        )
    if held and not found:
        raise TrainingDataError(f"all {len(held)} photographs are held out: leave some to train on")


def _tell(left_out: list[LeftOut], found: list[TrainingPhotograph], settings: Photographs) -> None:
    logger = logging.getLogger(__name__)
    if left_out:
        some = "; ".join(f"{one.name}: {one.reason}" for one in left_out[:_TOLD])
        more = "; ..." if len(left_out) > _TOLD else ""
        logger.warning("%d of %d photographs are left out: %s%s", len(left_out), len(left_out) + len(found), some, more)
    outside = [one.key for one in found if not one.group] if settings.group else []
    if outside:
        logger.warning("group %r does not match %d keys, such as %r", settings.group, len(outside), outside[0])
