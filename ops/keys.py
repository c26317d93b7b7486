"""Names of source images: from raw names to keys, unique keys, and safe names of outputs."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import count, islice
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

SEGMENT_BYTES = 255
"""The longest name of a file or folder, in bytes of UTF-8, on the file systems in use."""

# Merging stops at runs of 64 MiB: 50 million keys are six runs, and a merge holds two runs, not two copies of all.
_LARGEST_RUN = 2**23
_TAG = re.compile(r"~[0-9a-f]{8}$", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")


def key_of(raw: bytes | str) -> str:
    """Return a raw name as a key: valid UTF-8 as it is, other bytes as %XX, `%` as %25.

    Different names give different keys. A string may hold undecodable bytes as Python's file functions return them
    (surrogateescape).
    """
    text = _bytes_of(raw).replace(b"%", b"%25").decode("utf-8", "surrogateescape")
    return text if text.isascii() else re.sub("[\udc80-\udcff]", lambda found: f"%{ord(found[0]) - 0xDC00:02X}", text)


def _bytes_of(raw: bytes | str) -> bytes:
    if isinstance(raw, bytes):
        return raw
    try:
        return raw.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair, from a broken UTF-16 source
        return raw.encode("utf-8", "surrogatepass")


def numbered(key: str, number: int) -> str:
    """Return the key with `~number` before its last suffix: `a/b.jpg` becomes `a/b~2.jpg`."""
    suffix = PurePosixPath(key).suffix
    # A path's suffix ignores what keys keep, such as a slash at the end.
    stem, suffix = (key.removesuffix(suffix), suffix) if suffix and key.endswith(suffix) else (key, "")
    return f"{stem}~{number}{suffix}"


class HashSet:
    """A set of strings kept as hashes of 8 bytes (or 16): sorted runs that are merged as they grow.

    Two strings with one hash count as the same. Of 50 million strings that happens to any two with a probability of
    7e-5 at 8 bytes and 4e-24 at 16.
    """

    def __init__(self, num_bytes: int = 8) -> None:
        self._num_bytes = num_bytes
        self._kind = np.dtype("<u8" if num_bytes == 8 else f"S{num_bytes}")
        self._runs: list[NDArray[np.generic]] = []

    def hashes(self, texts: Iterable[str]) -> NDArray[np.generic]:
        """Return the hash of each text; they depend on nothing but the text."""
        size = self._num_bytes
        digests = (hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size) for text in texts)
        return np.frombuffer(b"".join(digest.digest() for digest in digests), self._kind)

    def holds(self, hashes: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Say of each hash whether it was added."""
        # In ascending order neighbours take the same way through a run: a third of the time at 8 million.
        order = np.argsort(hashes)
        ascending = hashes[order]
        found = np.zeros(len(hashes), np.bool_)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, ascending), len(run) - 1)
            found[order] |= run[places] == ascending
        return found

    def add(self, hashes: NDArray[np.generic]) -> None:
        """Add hashes, as one new run."""
        if len(hashes):
            self._runs.append(np.sort(hashes))
        while len(self._runs) > 1 and self._may_merge(*self._runs[-2:]):
            last, previous = self._runs.pop(), self._runs.pop()
            # A stable sort finds the two sorted runs and merges them in one pass.
            self._runs.append(np.sort(np.concatenate([previous, last]), kind="stable"))

    @staticmethod
    def _may_merge(previous: NDArray[np.generic], last: NDArray[np.generic]) -> bool:
        return len(previous) <= 2 * len(last) and len(previous) + len(last) <= _LARGEST_RUN


class KeySet:
    """Makes keys unique in the order they come: the second `a.jpg` becomes `a~2.jpg`, the third `a~3.jpg`.

    It holds 8 bytes per key. Should two different keys share a hash, the later one is renamed without need; no two keys
    ever come out equal.
    """

    def __init__(self) -> None:
        self.num_renamed = 0
        self._seen = HashSet()
        self._numbers: dict[str, int] = {}

    def unique(self, keys: Sequence[str]) -> list[str]:
        """Return the keys, renamed where they were seen before. Large batches (10,000) are cheap per key."""
        hashes = self._seen.hashes(keys)
        known = self._seen.holds(hashes)
        given: set[str] = set()
        chosen = []
        for key, is_known in zip(keys, known.tolist(), strict=True):
            chosen.append(self._rename(key, given) if is_known or key in given else key)
            given.add(chosen[-1])
        self._seen.add(self._seen.hashes(chosen) if chosen != keys else hashes)
        return chosen

    def _rename(self, key: str, given: set[str]) -> str:
        self.num_renamed += 1
        if len(self._numbers) > 2**20:  # only a memory of where to go on; without it the search begins at 2 again
            self._numbers.clear()
        for number in count(self._numbers.get(key, 2)):
            name = numbered(key, number)
            if name not in given and not self._seen.holds(self._seen.hashes([name]))[0]:
                self._numbers[key] = number + 1
                return name
        raise AssertionError(key)  # count() never ends


def output_name(key: str, suffix: str, *, tagged: bool = False) -> str:
    """Return `<key>.<suffix>` as a relative path that is safe to create below any folder.

    Backslashes, control characters and the segments `.`, `..` and "" are written as %XX (an empty one as `%`), which
    no key holds otherwise. A segment over 255 bytes is cut and gets a tag: `~` and 8 hex of the sha256 of
    the key up to there. The last one gets it also when `tagged`, or when it ends like a tag. Different keys give
    different names, as far as 8 hex can tell names apart that were cut after the same 240 bytes.
    """
    *folders, last = key.split("/")
    suffix = f".{suffix.removeprefix('.')}"
    path = ""
    names = []
    for folder in folders:
        path += folder
        safe = _safe_segment(folder)
        long = _length(safe) > SEGMENT_BYTES or (_length(safe) > SEGMENT_BYTES - 16 and _TAG.search(safe))
        names.append(_tag(safe, path, "") if long else safe)
        path += "/"
    safe = _safe_segment(last)
    tagged = tagged or _length(safe + suffix) > SEGMENT_BYTES or _TAG.search(safe) is not None
    return "/".join([*names, _tag(safe, key, suffix) if tagged else safe + suffix])


class OutputNames:
    """The names of all outputs of one selection, told apart also where `A` and `a` are the same file.

    Keys whose names fall together without regard to case or to how accents are composed, or whose name is a folder of
    another one's, get the tag of `output_name`: all of them, whatever the order. Building holds 8 bytes per key; only
    the hashes of what collides are kept.
    """

    def __init__(self, keys: Iterable[str], suffix: str) -> None:
        self._suffix = suffix
        self._set = HashSet()
        names, folders = [], HashSet()
        remaining = iter(keys)
        while batch := [_fold(output_name(key, suffix)) for key in islice(remaining, 10_000)]:
            names.append(self._set.hashes(batch))
            folders.add(np.unique(folders.hashes(_folders_of(batch))))
        hashes = np.sort(np.concatenate(names)) if names else np.zeros(0, np.uint64)
        twice = hashes[1:][hashes[1:] == hashes[:-1]]
        self._set.add(np.unique(np.concatenate([twice, hashes[folders.holds(hashes)]])))

    def name_of(self, key: str) -> str:
        """Return the relative path of a key's output."""
        name = output_name(key, self._suffix)
        collides = bool(self._set.holds(self._set.hashes([_fold(name)]))[0])
        return output_name(key, self._suffix, tagged=True) if collides else name


def _safe_segment(segment: str) -> str:
    if segment in ("", ".", ".."):
        return segment.replace(".", "%2E") or "%"
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", segment)


def _length(segment: str) -> int:
    return len(segment.encode())


def _tag(segment: str, path: str, suffix: str) -> str:
    """Append the tag of a path, and cut the segment so that all fits."""
    ending = f"~{hashlib.sha256(path.encode()).hexdigest()[:8]}{suffix}"
    return segment.encode()[: SEGMENT_BYTES - _length(ending)].decode("utf-8", "ignore") + ending


def _fold(name: str) -> str:
    """Return what file systems that ignore case and composition take a name for (Unicode 3.13, D145)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def _folders_of(names: Iterable[str]) -> set[str]:
    """Return every folder above these names."""
    folders = {name.rpartition("/")[0] for name in names}
    return {
        "/".join(parts[:depth]) for parts in (path.split("/") for path in folders) for depth in range(1, len(parts) + 1)
    }
