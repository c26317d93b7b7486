"""EXIF blocks, read and rewritten in place: only what decoding needs, and nothing that a broken block can upset."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

ORIENTATION = 0x0112
# Directories inside the first one: Exif and interoperability.
NESTED = {0x8769, 0xA005}
# GPS directory, XMP, IPTC, Photoshop resources, and maker notes (Nikon and Panasonic keep place names there).
PLACES = {0x8825, 0x02BC, 0x83BB, 0x8649, 0x927C}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


class Field(NamedTuple):
    """An entry of a directory: where it stands, and where its value does."""

    tag: int
    at: int
    value: int
    size: int


def block(exif: bytes) -> bytes:
    """Return the TIFF structure without the prefix that JPEG puts before it."""
    while exif.startswith(b"Exif\0"):
        exif = exif[6:]
    return exif


def orientation(exif: bytes) -> int:
    """Return 1 to 8; 1 where nothing or 0 is said. Raises `ValueError` where the block or the value is broken."""
    tiff = block(exif)
    order = _order(tiff)
    for field in _stated_fields(tiff, order, _number(tiff, order, 4, 4)):
        if field.tag == ORIENTATION:
            kind = _number(tiff, order, field.at + 2, 2)
            found = _number(tiff, order, field.value, {1: 1, 4: 4}.get(kind, 2))  # a SHORT, but some write BYTE or LONG
            if found == 0:  # what some programs write for "nothing said"
                return 1
            if not 1 <= found <= 8:
                raise ValueError(f"orientation {found} is not one of 1 to 8")
            return found
    return 1


def without_places(exif: bytes) -> bytes:
    """Return the block with GPS, XMP, IPTC and maker notes overwritten by zeros; raises `ValueError` where broken."""
    prefix = exif[: len(exif) - len(block(exif))]
    tiff = bytearray(block(exif))
    order = _order(tiff)
    for directory in list(_directories(tiff, order)):
        _blank(tiff, order, directory)
    return prefix + bytes(tiff)


def fields(tiff: bytes | bytearray, order: Literal["little", "big"], directory: int) -> list[Field]:
    """Return the entries of the directory at this offset; raises `ValueError` where it or a value is cut off."""
    entries = list(_stated_fields(tiff, order, directory))
    for field in entries:
        if field.value + field.size > len(tiff):
            raise ValueError(f"tag {field.tag:#06x} points beyond the end of the block")
    return entries


def _stated_fields(tiff: bytes | bytearray, order: Literal["little", "big"], directory: int) -> Iterator[Field]:
    for at in range(directory + 2, directory + 2 + 12 * _number(tiff, order, directory, 2), 12):
        tag, kind = _number(tiff, order, at, 2), _number(tiff, order, at + 2, 2)
        size = SIZES.get(kind, 1) * _number(tiff, order, at + 4, 4)
        yield Field(tag, at, at + 8 if size <= 4 else _number(tiff, order, at + 8, 4), size)


def _blank(tiff: bytearray, order: Literal["little", "big"], directory: int) -> None:
    entries = fields(tiff, order, directory)
    for field in entries:
        if field.tag == 0x8825:
            _blank_directory(tiff, order, _number(tiff, order, field.value, 4))
        if field.tag in PLACES:
            tiff[field.value : field.value + field.size] = bytes(field.size)
    kept = b"".join(bytes(tiff[field.at : field.at + 12]) for field in entries if field.tag not in PLACES)
    after = bytes(tiff[directory + 2 + 12 * len(entries) :][:4])
    start, stop = directory + 2, directory + 6 + 12 * len(entries)
    tiff[directory:start] = (len(kept) // 12).to_bytes(2, order)
    tiff[start:stop] = (kept + after).ljust(min(stop, len(tiff)) - start, b"\0")


def _blank_directory(tiff: bytearray, order: Literal["little", "big"], directory: int) -> None:
    entries = fields(tiff, order, directory)
    for field in entries:
        tiff[field.value : field.value + field.size] = bytes(field.size)
    tiff[directory : directory + 2 + 12 * len(entries)] = bytes(2 + 12 * len(entries))


def _directories(tiff: bytes | bytearray, order: Literal["little", "big"]) -> Iterator[int]:
    waiting, seen = [_number(tiff, order, 4, 4)], set[int]()
    while waiting:
        directory = waiting.pop()
        if directory == 0 or directory in seen:
            continue
        seen.add(directory)
        yield directory
        entries = fields(tiff, order, directory)
        waiting += [_number(tiff, order, field.value, 4) for field in entries if field.tag in NESTED]
        after = directory + 2 + 12 * len(entries)
        if after + 4 <= len(tiff):
            waiting.append(_number(tiff, order, after, 4))


def _order(tiff: bytes | bytearray) -> Literal["little", "big"]:
    if tiff[:4] == b"II*\0":
        return "little"
    if tiff[:4] == b"MM\0*":
        return "big"
    raise ValueError(f"begins with {bytes(tiff[:4])!r}, not with a TIFF header")


def _number(tiff: bytes | bytearray, order: Literal["little", "big"], at: int, size: int) -> int:
    if at + size > len(tiff):
        raise ValueError(f"ends at byte {len(tiff)}, a number was expected at {at}")
    return int.from_bytes(tiff[at : at + size], order)
