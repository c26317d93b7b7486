"""From a URL to the store that holds it."""

import contextlib
from functools import cache
from pathlib import Path

import fsspec

from ops.stores.base import Store, StoreError
from ops.stores.leased import LeasedStore
from ops.stores.local import LocalStore, path_of
from ops.stores.other import FsspecStore
from ops.stores.s3 import S3Store


class PathError(ValueError):
    """A path that names nothing, or that cannot be written down in an archive."""


def scheme_of(url: str) -> str:
    """Return the scheme of a URL in lower case, or nothing for a local path."""
    scheme, separator, _ = url.partition("://")
    return scheme.lower() if separator and scheme.isascii() and scheme.replace("+", "").isalnum() else ""


def absolute(url: str) -> str:
    """Return a URL that means the same from any working directory: an absolute path, or a URL with its scheme."""
    scheme = scheme_of(url)
    if scheme == "file":
        return str(Path(path_of(url)).absolute())
    if not scheme:
        path = Path(url)
        with contextlib.suppress(RuntimeError):  # no such user: a file may be called so
            path = path.expanduser()
        return str(path.absolute())
    return url.rstrip("/")


def check_named(url: str, what: str) -> None:
    """Raise PathError for an empty path, as of a variable that is not set: it would be the working directory."""
    if not url.strip():
        raise PathError(f"{what} is empty: name a folder, a file or a URL")


def check_path(url: str, what: str) -> None:
    """Raise PathError for an empty path, and for one that no document could hold since it is not UTF-8."""
    check_named(url, what)
    try:
        absolute(url).encode()
    except UnicodeEncodeError as error:
        raise PathError(
            f"{what} {absolute(url)!r} is not UTF-8: rename it, or give it a link with another name"
        ) from error


def open_store(url: str) -> Store:
    """Return the store for a URL or path."""
    return _store(scheme_of(url))


@cache
def open_leased(url: str) -> Store:
    """Return the store for the URL of an archive that a driver's lease guards: one object per process and archive."""
    return LeasedStore.over(open_store(url))


def child_of(url: str, folder: str) -> bool:
    """Say whether a URL lies in a folder (or is it)."""
    if scheme_of(url) or scheme_of(folder):
        return f"{url.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")
    return Path(path_of(url)).resolve().is_relative_to(Path(path_of(folder)).resolve())


@cache
def _store(scheme: str) -> Store:
    if scheme in ("", "file"):
        return LocalStore()
    if scheme in ("s3", "s3a"):
        return S3Store()
    if scheme not in fsspec.available_protocols():
        known = "a local path, s3://, gs://, az:// or another scheme that fsspec knows"
        raise StoreError(f"unknown scheme {scheme}:// ; use {known}")
    try:
        return FsspecStore(scheme)
    except (ImportError, ValueError) as error:
        raise StoreError(f"{scheme}:// needs a package that is not installed: {error}") from error
