"""Tars: WebDataset's plain ones, read by ranges, and compressed ones, read from their beginning."""

import lzma
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from posixpath import dirname, join, normpath
from typing import Any, BinaryIO

from ops.images import Failure, FailureCode, SourceImage
from ops.keys import key_of
from ops.readers.base import Entry
from ops.readers.broken import BrokenShard, in_short

RUN_BYTES = 8 * 2**20
"""The longest stretch of neighbouring members that one request brings."""

GAP_BYTES = 64 * 2**10
_MOST_LINKS = 8  # a chain of links that is longer is taken for a circle
_MAGICS = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError)


def index(file: BinaryIO, uri: str) -> Iterator[Entry]:
    """Yield an entry per file, whatever its name, then those that are links.

    Locators are `offset:length`, or the ordinal in a compressed tar. Raises BrokenShard, after all that can be listed,
    where headers are damaged, the end is missing, or members have forms that cannot be read.
    """
    plain = not _compression(file)
    links: dict[str, str] = {}
    sparse: list[str] = []
    end = _End()
    for ordinal, member, _ in _members(file, end):
        if member.issparse():
            sparse.append(member.name)
        elif member.isreg():
            yield _entry(member, uri, plain, ordinal, member.name)
        elif member.islnk() or member.issym():
            links[_plain_name(member.name)] = _target(member)
    if links:
        yield from _linked(file, uri, plain, links)
    _complain(end, sparse, links)


def read(file: BinaryIO, entries: Sequence[Entry]) -> Iterator[SourceImage | Failure]:
    """Yield the members at these places; neighbours in a plain tar come in one range of up to 8 MiB."""
    if any(":" not in entry.locator for entry in entries):
        return _read_in_order(file, entries)
    return _read_ranges(file, entries)


class _End:
    """How the headers of a tar came to an end: empty where they ended as they should."""

    complaint = ""


def _compression(file: BinaryIO) -> str:
    """Return tarfile's word for how a tar is compressed, by its first bytes: names lie."""
    file.seek(0)
    start = file.read(6)
    return next((word for magic, word in _MAGICS.items() if start.startswith(magic)), "")


def _members(file: BinaryIO, end: _End) -> Iterator[tuple[int, tarfile.TarInfo, tarfile.TarFile]]:
    """Yield each member with its ordinal. TarFile's own iteration keeps them all, and takes damage for the end."""
    mode: Any = f"r:{_compression(file)}"
    file.seek(0)
    offset = 0
    try:
        with tarfile.open(None, mode, file, encoding="utf-8", errors="surrogateescape") as tar:
            member, ordinal = tar.next(), 0
            while member is not None:
                yield ordinal, member, tar
                offset = tar.offset
                member, ordinal = _next(tar, end), ordinal + 1
            if not end.complaint:
                _look_behind(tar, end)
    except (*_DAMAGE, OSError) as error:
        # Errors of the store are OSError too; those of gzip and bz2 have no number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        end.complaint = f"cannot be read from byte {offset} on: {error}"


def _next(tar: tarfile.TarFile, end: _End) -> tarfile.TarInfo | None:
    """Return the next member, or None at the end, and what is wrong with that end."""
    assert tar.fileobj is not None  # noqa: S101  (it was opened with one)
    offset = tar.offset
    tar.fileobj.seek(offset)
    try:
        return tar.tarinfo.fromtarfile(tar)
    except tarfile.HeaderError as error:
        kind = type(error).__name__
        if kind == "EmptyHeaderError":
            end.complaint = f"ends at byte {offset} without an end mark: it may have been cut off there"
        elif kind != "EOFHeaderError":
            end.complaint = f"damaged at byte {offset} ({error}): members behind it are not listed"
        return None


def _look_behind(tar: tarfile.TarFile, end: _End) -> None:
    """Look for tars appended behind the end mark (padding is zeros, most often to 10 KiB)."""
    assert tar.fileobj is not None  # noqa: S101
    rest = tar.fileobj.read(2 * tarfile.RECORDSIZE)
    if rest.strip(b"\0"):
        end.complaint = f"goes on behind its end mark at byte {tar.offset}: members there are not listed"


def _entry(member: tarfile.TarInfo, uri: str, plain: bool, ordinal: int, name: str) -> Entry:
    locator = f"{member.offset_data}:{member.size}" if plain else str(ordinal)
    return Entry(key=key_of(_plain_name(name)), uri=uri, locator=locator, size=member.size)


def _plain_name(name: str) -> str:
    """Return a name without the `./` that `tar c .` puts before each."""
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def _target(member: tarfile.TarInfo) -> str:
    """Return the name that a link points to: a hard link by name in the tar, a symbolic one from its own folder."""
    return normpath(join("" if member.islnk() else dirname(member.name), member.linkname))


def _linked(file: BinaryIO, uri: str, plain: bool, links: dict[str, str]) -> Iterator[Entry]:
    """Read the headers once more, for what links point to; yield an entry per link, and take it from `links`."""
    finals = {name: _follow(name, links) for name in links}
    wanted = set(finals.values())
    found = {
        normpath(member.name): (ordinal, member)
        for ordinal, member, _ in _members(file, _End())
        if member.isreg() and not member.issparse() and normpath(member.name) in wanted
    }
    for name, final in finals.items():
        if final in found:
            ordinal, member = found[final]
            del links[name]
            yield _entry(member, uri, plain, ordinal, name)


def _follow(name: str, links: dict[str, str]) -> str:
    for _ in range(_MOST_LINKS):
        if name not in links:
            break
        name = links[name]
    return name


def _complain(end: _End, sparse: Sequence[str], links: dict[str, str]) -> None:
    complaints = [end.complaint] if end.complaint else []
    if sparse:
        complaints.append(f"sparse members are not read: {in_short([key_of(name) for name in sparse])}")
    if links:
        arrows = [f"{key_of(name)} -> {key_of(target)}" for name, target in links.items()]
        complaints.append(f"links to nothing in the tar: {in_short(arrows)}")
    if complaints:
        raise BrokenShard("; ".join(complaints))


def _place(entry: Entry) -> tuple[int, int]:
    offset, _, length = entry.locator.partition(":")
    return int(offset), int(length)


def _read_ranges(file: BinaryIO, entries: Sequence[Entry]) -> Iterator[SourceImage | Failure]:
    places = [_place(entry) for entry in entries]
    first = 0
    while first < len(entries):
        last = _last_of_run(places, first)
        start = places[first][0]
        file.seek(start)
        run = memoryview(file.read(sum(places[last]) - start))
        for entry, (offset, length) in zip(entries[first : last + 1], places[first : last + 1], strict=True):
            yield _image(entry, bytes(run[offset - start : offset - start + length]))
        first = last + 1


def _last_of_run(places: Sequence[tuple[int, int]], first: int) -> int:
    """Return the last of the members that lie so near behind each other that one range should bring them."""
    last = first
    for offset, length in places[first + 1 :]:
        end = sum(places[last])
        if not end <= offset <= end + GAP_BYTES or offset + length - places[first][0] > RUN_BYTES:
            break
        last += 1
    return last


def _read_in_order(file: BinaryIO, entries: Sequence[Entry]) -> Iterator[SourceImage | Failure]:
    """Read a compressed tar up to the last ordinal that is wanted."""
    wanted = {int(entry.locator) for entry in entries}
    contents: dict[int, bytes] = {}
    end = _End()
    for ordinal, member, tar in _members(file, end):
        if ordinal in wanted and (content := tar.extractfile(member)) is not None:
            contents[ordinal] = content.read()
        if len(contents) == len(wanted):
            break
    for entry in entries:
        content = contents.get(int(entry.locator))
        missing = Failure(FailureCode.UNREADABLE, f"{entry.uri} member {entry.locator}: {end.complaint or 'not there'}")
        yield missing if content is None else _image(entry, content)


def _image(entry: Entry, encoded: bytes) -> SourceImage | Failure:
    if len(encoded) == entry.size:
        return SourceImage(entry.key, entry.uri, encoded)
    return Failure(
        FailureCode.TRUNCATED, f"{entry.uri} at {entry.locator}: {len(encoded)} of {entry.size} bytes are there"
    )
