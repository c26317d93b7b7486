"""From .deb files to the folder of photographs, each step checked against the list."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from jobs.errors import InputError
from jobs.photographs.debs import files_in
from jobs.photographs.finding import found
from jobs.photographs.halving import check_pixels, encode, halve
from jobs.photographs.listing import Listing, Package, Photograph
from jobs.photographs.naming import credits_of
from ops.stores.local import LocalStore

CREDITS = "CREDITS.md"


class Rebuilt(Struct, frozen=True, kw_only=True):
    """One photograph. `new`: it was not there yet; `exact`: the file is bit for bit the one that was trained on."""

    package: Package
    photograph: Photograph
    new: bool
    exact: bool


def rebuild(listing: Listing, folder: Path, debs: Path | None = None) -> Iterator[Rebuilt]:
    """Write the photographs of a list into a folder, and CREDITS.md, and yield each one when it is there.

    `debs` is the folder of the packages; without it, apt downloads them. What is there with the same content is kept.
    Raises InputError where a package, an original or its pixels differ from the list, or a file has other content.
    """
    with found(listing, debs) as deb_of:
        write_new(folder / CREDITS, credits_of(listing).encode())
        for package in listing.packages:
            yield from _rebuild(package, deb_of[package.package], folder)


def write_new(path: Path, content: bytes) -> bool:
    """Write a file, whole or not at all; say whether it is new. Raises InputError where another content is there."""
    if LocalStore().put_new(str(path), content):
        return True
    if path.read_bytes() != content:
        raise InputError(
            f"{path} is there with other content and is not overwritten; move it away or name another folder"
        )
    return False


def _rebuild(package: Package, deb: Path, folder: Path) -> Iterator[Rebuilt]:
    missing = {photograph.path: photograph for photograph in package.photographs}
    for path, original in files_in(deb, frozenset(missing)):
        photograph = missing.pop(path)
        encoded = _made(package, photograph, original)
        new = write_new(folder / photograph.name, encoded)
        exact = hashlib.sha256(encoded).hexdigest() == photograph.jpeg
        yield Rebuilt(package=package, photograph=photograph, new=new, exact=exact)
    if missing:
        raise InputError(f"{deb} does not hold {', '.join(sorted(missing))}, which the list names")


def _made(package: Package, photograph: Photograph, original: bytes) -> bytes:
    if (digest := hashlib.sha256(original).hexdigest()) != photograph.sha256:
        raise InputError(f"{photograph.path} of {package} has sha256 {digest}, not {photograph.sha256} as listed")
    halved = halve(original)
    check_pixels(photograph, halved)
    return encode(photograph, halved)
