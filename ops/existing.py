"""What lies where a picture is to be put: that very picture, made before, or something else."""

from msgspec import Struct

from ops.marks import MarkError, properties
from ops.stores import Store

# Our XMP stands uncompressed near the beginning (PNG, TIFF, JPEG behind its EXIF) or at the end (WebP).
_NEAR, _FAR = 16 << 10, 256 << 10
_BEGIN, _END = b"<x:xmpmeta", b"</x:xmpmeta>"


class Origin(Struct, frozen=True, kw_only=True):
    """What a reconstruction is made of: whatever has the same key, thumbnail and codec is the same picture."""

    key: str
    thumbnail: str
    digest: str


def lies_there(store: Store, url: str, origin: Origin) -> bool:
    """Say whether a picture lies at a URL already: False where nothing does.

    One ranged request for most. Raises FileExistsError where something else lies there.
    """
    try:
        found = _mark_at(store, url)
    except (FileNotFoundError, NotADirectoryError):
        return False
    names = origin.__struct_fields__
    if [found.get(name) for name in names] == [getattr(origin, name) for name in names]:
        return True
    what = (
        f"a picture of {found['key']!r} as another archive, or this one before, has it" if found else "something else"
    )
    raise FileExistsError(f"{url} is {what}: move it away, or name another folder")


def _mark_at(store: Store, url: str) -> dict[str, str]:
    for read in (
        lambda: store.read(url, 0, _NEAR),
        lambda: store.read_end(url, _FAR)[0],
        lambda: store.read(url, 0, _FAR),
    ):
        content = read()
        begin = content.find(_BEGIN)
        end = content.find(_END, begin)
        if begin >= 0 and end >= 0:
            try:
                return properties(content[begin : end + len(_END)])
            except MarkError:
                return {}
    return {}
