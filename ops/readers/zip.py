"""Zips: stored, deflated or bzip2, also beyond 4 GiB; each member is read by its own range."""

import bz2
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from ops.images import Failure, FailureCode, ImageError, SourceImage
from ops.keys import key_of
from ops.readers.base import Entry
from ops.readers.broken import BrokenShard, in_short

_HEADER_BYTES = 30
_ENCRYPTED = 0x1
_UTF8 = 0x800
# A local header ends with the name and extra fields; this much is fetched with it: most members are one request.
_USUAL_NAME_BYTES = 512


def index(file: BinaryIO, uri: str) -> Iterator[Entry]:
    """Yield an entry per file, whatever its name, in the order of the central directory.

    Locators are `header offset:compressed bytes:method:crc`, all that a read needs besides the local header. Raises
    BrokenShard where the central directory cannot be read, and after the others where members are links.
    """
    links = []
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise BrokenShard(f"its central directory cannot be read ({error}); the file may be cut off") from error
    for member in members:
        if stat.S_ISLNK(member.external_attr >> 16):
            links.append(member.filename)
        elif not member.filename.endswith("/"):  # ZipInfo.is_dir() raises for an empty name
            yield _entry(member, uri)
    if links:
        raise BrokenShard(f"links are not followed: {in_short(links)}")


def read(file: BinaryIO, entries: Sequence[Entry]) -> Iterator[SourceImage | Failure]:
    """Yield the members at these places, decompressed and checked against their crc."""
    for entry in entries:
        try:
            yield SourceImage(entry.key, entry.uri, _content(file, entry))
        except ImageError as error:
            yield error.failure


def _entry(member: zipfile.ZipInfo, uri: str) -> Entry:
    locator = f"{member.header_offset}:{member.compress_size}:{member.compress_type}:{member.CRC:08x}"
    return Entry(key=key_of(_name(member)), uri=uri, locator=locator, size=member.file_size)


def _name(member: zipfile.ZipInfo) -> bytes | str:
    """Return the name: UTF-8 where it is valid, although many writers do not say so, else the old cp437."""
    if member.flag_bits & _UTF8:
        return member.orig_filename
    raw = member.orig_filename.encode("cp437")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return member.orig_filename


def _content(file: BinaryIO, entry: Entry) -> bytes:
    offset, length, method = (int(part) for part in entry.locator.split(":")[:3])
    file.seek(offset)
    stretch = file.read(_HEADER_BYTES + _USUAL_NAME_BYTES + length)
    start = _data_start(stretch, entry)
    if len(stretch) < start + length:
        stretch += file.read(start + length - len(stretch))
    packed = stretch[start : start + length]
    if len(packed) < length:
        raise _error(FailureCode.TRUNCATED, entry, f"{len(packed)} of {length} packed bytes are there")
    encoded = _unpack(packed, method, entry)
    if f"{zlib.crc32(encoded):08x}" != entry.locator.rpartition(":")[2]:
        raise _error(FailureCode.CORRUPT, entry, "its checksum (crc) differs")
    return encoded


def _data_start(header: bytes, entry: Entry) -> int:
    """Return where the data begin behind a local header (APPNOTE 4.3.7)."""
    if len(header) < _HEADER_BYTES or not header.startswith(b"PK\x03\x04"):
        raise _error(FailureCode.CORRUPT, entry, "no header of a member is there")
    if int.from_bytes(header[6:8], "little") & _ENCRYPTED:
        raise _error(FailureCode.UNREADABLE, entry, "encrypted; unpack the zip with its password first")
    return _HEADER_BYTES + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")


def _unpack(packed: bytes, method: int, entry: Entry) -> bytes:
    """Decompress at most one byte more than the directory claims: a bomb goes no further."""
    try:
        if method == zipfile.ZIP_STORED:
            return packed
        if method == zipfile.ZIP_DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, entry.size + 1)
        if method == zipfile.ZIP_BZIP2:
            return bz2.BZ2Decompressor().decompress(packed, entry.size + 1)
    except (zlib.error, OSError, EOFError) as error:
        raise _error(FailureCode.CORRUPT, entry, f"cannot be decompressed: {error}") from error
    raise _error(FailureCode.UNREADABLE, entry, f"compression method {method} is not known here; repack the zip")


def _error(code: FailureCode, entry: Entry, what: str) -> ImageError:
    return ImageError(code, f"{entry.uri} member {entry.key}: {what}")
