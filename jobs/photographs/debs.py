"""What is in a .deb: an ar archive of control.tar.* and data.tar.* (deb(5), ar(5)). Needs no dpkg."""

import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

from jobs.errors import InputError

_MAGIC = b"!<arch>\n"
_HEADER_BYTES, _HEADER_END = 60, b"`\n"
# What tarfile raises where the compressed bytes are damaged or end too early.
_DAMAGED = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError)


class NotADeb(InputError):
    """A file that is no Debian package, or only the beginning of one."""


def named_in(deb: Path) -> str:
    """Return package and version as the .deb itself says, such as `krank 0.7+dfsg2-4`. Raises NotADeb."""
    content = next((content for _, content in _files(deb, "control.tar", ["control"])), b"")
    lines = (line.partition(":") for line in content.decode("utf-8", "replace").splitlines())
    fields = {name: value.strip() for name, _, value in lines}
    if not fields.get("Package") or not fields.get("Version"):
        raise NotADeb("its control file names no package and version")
    return f"{fields['Package']} {fields['Version']}"


def files_in(deb: Path, paths: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the regular files among `paths`, as they come; links are not followed.

    Nothing is written to the disk. Raises NotADeb.
    """
    return _files(deb, "data.tar", paths)


def _files(deb: Path, part: str, paths: Collection[str]) -> Iterator[tuple[str, bytes]]:
    content = io.BytesIO(_part(deb, part))
    try:
        with tarfile.open(fileobj=content, mode="r:*") as tar:
            for member in tar:
                path = member.name.removeprefix("./")
                if path in paths and member.isreg() and (file := tar.extractfile(member)) is not None:
                    yield path, file.read()
    except _DAMAGED as error:
        raise NotADeb(f"{part} in {deb} cannot be read: {error}") from error


def _part(deb: Path, stem: str) -> bytes:
    """Return the member whose name begins so."""
    with deb.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise NotADeb("it does not begin as a Debian package does")
        while len(header := file.read(_HEADER_BYTES)) == _HEADER_BYTES:
            name, length = _name_and_length(header)
            if name.startswith(stem):
                content = file.read(length)
                if len(content) < length:
                    raise NotADeb(f"{name} ends after {len(content):,} of {length:,} bytes")
                return content
            file.seek(length + length % 2, os.SEEK_CUR)  # members begin at even offsets
    raise NotADeb(f"it holds no {stem}")


def _name_and_length(header: bytes) -> tuple[str, int]:
    name, length = header[:16].decode("ascii", "replace").rstrip(" /"), header[48:58].strip()
    if header[-2:] != _HEADER_END or not length.isdigit():
        raise NotADeb("one of its ar headers is damaged")
    return name, int(length)
