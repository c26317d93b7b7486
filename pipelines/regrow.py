"""The two stages of reconstructing: fetch rows of the archive; regrow them and put the pictures."""

import errno
import time
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from ops.archive.layout import Location
from ops.archive.reading import CatalogRow, read_image_rows
from ops.archive.rows import ImageRow
from ops.codecs.base import Runtime
from ops.codecs.binding import reach
from ops.codecs.names import AnyCodec
from ops.existing import Origin, lies_there
from ops.images import Failure
from ops.regrowing import PictureStyle, Regrower
from ops.stores import join, open_store
from pipelines.events import Receipt
from pipelines.rows import Row, receipt_row

# A name that is too long, a file where a folder is needed, a folder where the picture should be.
_OF_ONE = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


class Output(Struct, frozen=True):
    """A catalog row and the path, below the destination, of the picture that it becomes."""

    row: CatalogRow
    name: str


class RegrowTask(Struct, frozen=True, kw_only=True):
    """What every worker of one run must know."""

    location: Location
    version: str
    destination: str
    codec: AnyCodec
    style: PictureStyle
    weights: tuple[str, ...] = ()


class Fetched(Struct, frozen=True):
    """What a fetch hands to an actor: rows with thumbnails, their names, and what could not be read or placed."""

    rows: list[ImageRow]
    names: list[str]
    num_there: int
    failures: list[str]


def fetch_outputs(row: Row, task: RegrowTask) -> Row:
    """Read the archive's rows of those outputs that are not at the destination yet."""
    outputs = msgspec.msgpack.decode(row["outputs"], type=list[Output])
    wanted, failures = [], []
    for output in outputs:
        try:
            if not _lies_there(task, output.name, output.row.key, output.row.sha256):
                wanted.append(output)
        except OSError as error:
            failures.append(_of_one(error, output.row.key))
    num_there = len(outputs) - len(wanted) - len(failures)
    found = read_image_rows(task.location, [output.row for output in wanted], task.version)
    rows, names = [], []
    for output, one in zip(wanted, found, strict=True):
        if isinstance(one, Failure):
            failures.append(f"{output.row.key}: {one.message}")
        else:
            rows.append(one)
            names.append(output.name)
    return {"fetched": msgspec.msgpack.encode(Fetched(rows, names, num_there, failures))}


class RegrowImages:
    """Regrows images and puts their pictures at the destination."""

    def __init__(self, task: RegrowTask, runtime: Runtime) -> None:
        self._task = task
        runtime = reach(runtime, task.weights)
        self._regrower = Regrower(task.codec.load(runtime), task.style, runtime)

    def __call__(self, row: Row) -> Row:
        started = time.monotonic()
        fetched = msgspec.msgpack.decode(row["fetched"], type=Fetched)
        failures = [*fetched.failures, *self._put(fetched)]
        num_images = len(fetched.rows) + len(fetched.failures) + fetched.num_there
        receipt = Receipt(
            name=fetched.names[0] if fetched.names else "",
            num_images=num_images,
            num_good=num_images - fetched.num_there - len(failures),
            num_skipped=fetched.num_there,
            pixels=sum((one.width or 0) * (one.height or 0) for one in fetched.rows),
            source_bytes=sum(one.source_bytes for one in fetched.rows),
            thumbnail_bytes=sum(len(one.thumbnail or b"") for one in fetched.rows),
            seconds=time.monotonic() - started,
            failures=failures,
        )
        return receipt_row(receipt)

    def _put(self, fetched: Fetched) -> Iterator[str]:
        store = open_store(self._task.destination)
        pictures = self._regrower.pictures(fetched.rows)
        for one, name, picture in zip(fetched.rows, fetched.names, pictures, strict=True):
            if isinstance(picture, Failure):
                yield f"{one.key}: {picture.message}"
                continue
            try:
                if not store.put_new(join(self._task.destination, name), picture):  # another run was faster
                    _lies_there(self._task, name, one.key, one.thumbnail_sha256)
            except OSError as error:
                yield _of_one(error, one.key)


def _lies_there(task: RegrowTask, name: str, key: str, thumbnail: str | None) -> bool:
    origin = Origin(key=key, thumbnail=thumbnail or "", digest=task.style.codec_digest)
    return lies_there(open_store(task.destination), join(task.destination, name), origin)


def _of_one(error: OSError, key: str) -> str:
    """Return what is wrong with one picture's place; raises the error again where it is the whole destination's."""
    if error.errno not in _OF_ONE and not isinstance(error, FileExistsError):
        raise error
    return f"{key}: {error.strerror or error}"
