"""Putting a large file into a store from where it lies, so that it need not fit into memory."""

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import fsspec

from ops.stores.base import is_there
from ops.stores.local import ASIDE, NO_LINKS, path_of
from ops.stores.routing import open_store, scheme_of

# Of an upload in parts, the bytes in memory at a time are these twice.
PART_BYTES = 64 << 20


def put_file(url: str, path: str) -> bool:
    """Store a local file, whole or not at all, unless something is there: True when stored, False when it was there.

    Not atomic on stores of objects, where what comes second replaces what came first: for names that say what is in
    them, such as a digest.
    """
    if not scheme_of(url) or scheme_of(url) == "file":
        return _copied(Path(path_of(url)), path)
    if is_there(open_store(url), url):
        return False
    scheme = scheme_of(url)
    parts: dict[str, Any] = {"chunksize": PART_BYTES, "max_concurrency": 2} if scheme in ("s3", "s3a") else {}
    fsspec.filesystem("s3" if parts else scheme, use_listings_cache=False).put_file(path, url, **parts)
    return True


def _copied(to: Path, path: str) -> bool:
    if to.exists():
        return False
    to.parent.mkdir(parents=True, exist_ok=True)
    aside = to.with_name(f".{secrets.token_hex(8)}{ASIDE}")
    try:
        shutil.copyfile(path, aside)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        _link(aside, to)
    except FileExistsError:
        return False
    finally:
        aside.unlink(missing_ok=True)
    return True


def _link(aside: Path, to: Path) -> None:
    try:
        os.link(aside, to)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        aside.replace(to)
