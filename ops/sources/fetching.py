"""Fetching what was planned: the encoded bytes of entries, or why not."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

from ops.decoding.limits import Limits
from ops.images import Failure, FailureCode, SourceImage
from ops.ranged import open_source
from ops.readers import has_ranges, reader_of
from ops.readers.base import Entry
from ops.stores import Changed

Fetched: TypeAlias = bytes | Failure

_NO_LIMITS = Limits()
# Neighbours of a tar come in one request; shorter runs would only be more of them.
_STRETCH = 8


def fetch(entries: Sequence[Entry], threads: int = 8, limits: Limits = _NO_LIMITS) -> list[Fetched]:
    """Return the encoded bytes of each entry, in order, or a Failure. Nothing that is wrong with a source raises.

    Objects are fetched in parallel, and so are stretches of a shard whose images have ranges of their own.
    """
    fetched: dict[int, Fetched] = {}
    groups: dict[str, list[int]] = {}
    for place, entry in enumerate(entries):
        if entry.size > limits.encoded_bytes:
            fetched[place] = _too_large(entry, entry.size, limits)
        else:
            groups.setdefault(entry.uri, []).append(place)
    stretches = [
        stretch for places in groups.values() for stretch in _stretches(places, entries, threads // len(groups))
    ]
    wanted = [[entries[place] for place in stretch] for stretch in stretches]
    with ThreadPoolExecutor(max(1, min(threads, len(stretches)))) as pool:
        for stretch, results in zip(stretches, pool.map(partial(_fetch_stretch, limits=limits), wanted), strict=True):
            fetched.update(zip(stretch, results, strict=True))
    return [fetched[place] for place in range(len(entries))]


def _stretches(places: Sequence[int], entries: Sequence[Entry], threads: int) -> list[Sequence[int]]:
    """Cut the entries of one object into runs for several threads, where no run has to read what another one reads."""
    if not has_ranges(entries[places[0]]):
        return [places]
    length = max(_STRETCH, -(-len(places) // max(threads, 1)))
    return [places[start : start + length] for start in range(0, len(places), length)]


def _fetch_stretch(entries: Sequence[Entry], limits: Limits) -> list[Fetched]:
    """Fetch entries of one object. An error ends it: those that came before stay, unless the object changed."""
    fetched: list[Fetched] = []
    first = entries[0]
    try:
        with open_source(first.uri, first.etag, limits.encoded_bytes + 1) as file:
            images = reader_of(first).read(file, entries)
            for entry, image in zip(entries, images, strict=True):  # not in one step: an error must leave what came
                fetched.append(_checked(entry, image, limits))
    except Changed as error:
        return [_failure(entry, error) for entry in entries]
    except Exception as error:  # noqa: BLE001  (of any library below stores and readers; rows keep the reason)
        fetched += [_failure(entry, error) for entry in entries[len(fetched) :]]
    return fetched


def _checked(entry: Entry, image: SourceImage | Failure, limits: Limits) -> Fetched:
    if isinstance(image, Failure):
        return image
    if not image.encoded:
        return Failure(FailureCode.EMPTY, f"{entry.uri}: {entry.key} has no bytes at all")
    if len(image.encoded) > limits.encoded_bytes:
        return _too_large(entry, len(image.encoded), limits)
    return image.encoded


def _too_large(entry: Entry, num_bytes: int, limits: Limits) -> Failure:
    reason = f"{num_bytes:,} bytes encoded, the limit is {limits.encoded_bytes:,}; raise max_encoded_bytes"
    return Failure(FailureCode.TOO_LARGE, f"{entry.uri}: {reason}")


def _failure(entry: Entry, error: Exception) -> Failure:
    reason = f"{entry.uri}: {getattr(error, 'strerror', None) or error or type(error).__name__}"
    if isinstance(error, Changed):
        return Failure(FailureCode.CHANGED, reason)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Failure(FailureCode.VANISHED, f"{entry.uri} is no longer there")
    named = reason if isinstance(error, OSError) else f"{reason} ({type(error).__name__})"
    return Failure(FailureCode.UNREADABLE, named)
