"""The two stages of reconstructing: fetch rows of the archive; regrow them and put the pictures."""

import errno
import time

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


# The code of a picture whose place cannot have it: something else lies there, or nothing can be called so.
NOT_PUT = "not_put"


class Missed(Struct, frozen=True):
    """An image without a picture: a code, and a message that begins with its key."""

    code: str
    message: str


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
    missed: list[Missed]


def fetch_outputs(row: Row, task: RegrowTask) -> Row:
    """Read the archive's rows of those outputs that are not at the destination yet."""
    outputs = msgspec.msgpack.decode(row["outputs"], type=list[Output])
    wanted, missed = [], []
    for output in outputs:
        try:
            if not _lies_there(task, output.name, output.row.key, output.row.sha256):
                wanted.append(output)
        except OSError as error:
            missed.append(_of_one(error, output.row.key))
    num_there = len(outputs) - len(wanted) - len(missed)
    found = read_image_rows(task.location, [output.row for output in wanted], task.version)
    rows, names = [], []
    for output, one in zip(wanted, found, strict=True):
        if isinstance(one, Failure):
            missed.append(_failed(output.row.key, one))
        else:
            rows.append(one)
            names.append(output.name)
    return {"name": row["name"], "fetched": msgspec.msgpack.encode(Fetched(rows, names, num_there, missed))}


class RegrowImages:
    """Regrows images and puts their pictures at the destination."""

    def __init__(self, task: RegrowTask, runtime: Runtime) -> None:
        self._task = task
        runtime = reach(runtime, task.weights)
        self._regrower = Regrower(task.codec.load(runtime), task.style, runtime)

    def __call__(self, row: Row) -> Row:
        started = time.monotonic()
        fetched = msgspec.msgpack.decode(row["fetched"], type=Fetched)
        put, picture_bytes = self._put(fetched)
        missed = [*fetched.missed, *put]
        num_images = len(fetched.rows) + len(fetched.missed) + fetched.num_there
        receipt = Receipt(
            name=row["name"],
            num_images=num_images,
            num_good=num_images - fetched.num_there - len(missed),
            num_skipped=fetched.num_there,
            pixels=sum((one.width or 0) * (one.height or 0) for one in fetched.rows),
            source_bytes=sum(one.source_bytes for one in fetched.rows),
            thumbnail_bytes=sum(len(one.thumbnail or b"") for one in fetched.rows),
            picture_bytes=picture_bytes,
            seconds=time.monotonic() - started,
            failures=[one.code for one in missed],
            messages=[one.message for one in missed],
        )
        return receipt_row(receipt)

    def _put(self, fetched: Fetched) -> tuple[list[Missed], int]:
        """Put the pictures; return those that could not be made or put, and the bytes of the others."""
        store, missed, num_bytes = open_store(self._task.destination), list[Missed](), 0
        pictures = self._regrower.pictures(fetched.rows)
        for one, name, picture in zip(fetched.rows, fetched.names, pictures, strict=True):
            if isinstance(picture, Failure):
                missed.append(_failed(one.key, picture))
                continue
            try:
                if store.put_new(join(self._task.destination, name), picture):
                    num_bytes += len(picture)
                else:  # another run was faster
                    _lies_there(self._task, name, one.key, one.thumbnail_sha256)
            except OSError as error:
                missed.append(_of_one(error, one.key))
        return missed, num_bytes


def _lies_there(task: RegrowTask, name: str, key: str, thumbnail: str | None) -> bool:
    origin = Origin(key=key, thumbnail=thumbnail or "", digest=task.style.codec_digest)
    return lies_there(open_store(task.destination), join(task.destination, name), origin)


def _failed(key: str, failure: Failure) -> Missed:
    return Missed(str(failure.code), f"{key}: {failure.message}")


def _of_one(error: OSError, key: str) -> Missed:
    """Return what is wrong with one picture's place; raises the error again where it is the whole destination's."""
    if error.errno not in _OF_ONE and not isinstance(error, FileExistsError):
        raise error
    return Missed(NOT_PUT, f"{key}: {error.strerror or error}")
