"""Keys that were asked for: text in UTF-8 with a key a line, in one file or in all files of a folder or prefix."""

import errno
from pathlib import Path
from typing import NamedTuple

from ops.sources.folders import is_local
from ops.stores import Store, Stored, absolute, open_store
from ops.stores.local import path_of

# Some million keys. Whatever is larger was not meant as a list.
MOST_BYTES = 256 << 20
_BOM = "\ufeff"


class KeyLists(NamedTuple):
    """What was asked for: each key with the file that names it first, in the order of the files; and what is wrong."""

    keys: dict[str, str]
    num_files: int
    problems: list[str]


def read_key_lists(url: str) -> KeyLists:
    """Return the keys that a file names, or all files below a folder or prefix; nothing is changed there.

    What ends with / is a folder, and may be missing: nothing was asked for. Files whose names begin with a dot are
    passed over. A file that is no list of keys is a problem, and hides no other one. Raises FileNotFoundError where
    there is no such file, other OSErrors where the store cannot be read.
    """
    store, keys, num_files, problems = open_store(url), dict[str, str](), 0, list[str]()
    for stored in _files(store, url):
        num_files += 1
        try:
            found = _read(store, stored)
        except FileNotFoundError:  # taken back since it was listed
            continue
        except ValueError as error:
            problems.append(f"{stored.url} {error}: write one key a line, as `regrow ls` does")
            continue
        for key in found:
            keys.setdefault(key, stored.url)
    return KeyLists(keys, num_files, problems)


def keys_in(content: bytes) -> list[str]:
    r"""Return the keys of a text, each once. Raises ValueError, without the file's name, where it is not UTF-8.

    Blank lines and those that begin with # are passed over; a key that begins with # is written \#.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not text in UTF-8 ({error.reason} at byte {error.start})") from error
    lines = (line.removesuffix("\r") for line in text.removeprefix(_BOM).split("\n"))
    wanted = (line for line in lines if line.strip() and not line.startswith("#"))
    return list(dict.fromkeys(line[1:] if line.startswith("\\#") else line for line in wanted))


def _read(store: Store, stored: Stored) -> list[str]:
    if stored.size > MOST_BYTES:
        raise ValueError(f"has {stored.size:,} bytes, and a list of keys at most {MOST_BYTES:,}")
    return keys_in(store.read(stored.url))


def _files(store: Store, url: str) -> list[Stored]:
    whole = absolute(url)
    if url.endswith("/") or (is_local(whole) and Path(path_of(whole)).is_dir()):
        return _below(store, whole)
    try:
        return [store.stat(whole)]
    except FileNotFoundError as error:
        # To an object store a prefix is nothing by itself.
        if found := _below(store, whole):
            return found
        hint = "No such file or directory; end it with / where it is a folder that may be missing"
        raise FileNotFoundError(errno.ENOENT, hint, whole) from error
    except IsADirectoryError:
        return _below(store, whole)


def _below(store: Store, whole: str) -> list[Stored]:
    return [stored for stored in store.walk(whole) if not stored.url.rpartition("/")[2].startswith(".")]
