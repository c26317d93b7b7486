"""The row that an archive keeps of each image, and its columns in Parquet."""

import json
from collections.abc import Sequence

import msgspec
import pyarrow as pa
from msgspec import Struct

OK = "ok"

# Footers stay small with statistics on the one column that is searched.
STATISTICS = ["key"]
ROW_GROUP_ROWS = 64
ROW_GROUP_THUMBNAIL_BYTES = 512 * 1024


class ImageRow(Struct, kw_only=True):
    """One image as archived, or the reason why not.

    `width` and `height` are those of the decoded image in pixels (after orientation), `source_bytes` those of the
    encoded source image. Blobs are as they stood in the source, as far as the archive's policy keeps them.
    """

    key: str
    generation: int
    status: str = OK
    message: str | None = None
    attempts: int = 1
    thumbnail: bytes | None = None
    media_type: str | None = None
    thumbnail_sha256: str | None = None
    width: int | None = None
    height: int | None = None
    extras: dict[str, bytes] = {}
    alpha: bytes | None = None
    uri: str
    locator: str
    etag: str
    source_bytes: int
    source_sha256: str | None = None
    format: str | None = None
    mode: str | None = None
    bit_depth: int | None = None
    frames: int | None = None
    orientation: int | None = None
    choices: list[str] = []
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None


# The feature description by which the Hugging Face libraries and viewers show the column as pictures.
_HUGGINGFACE = json.dumps({"info": {"features": {"thumbnail": {"_type": "Image"}}}})

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("generation", pa.int32(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("message", pa.string()),
        pa.field("attempts", pa.int16()),
        pa.field("thumbnail", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        pa.field("media_type", pa.string()),
        pa.field("thumbnail_sha256", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("extras", pa.map_(pa.string(), pa.binary())),
        pa.field("alpha", pa.binary()),
        pa.field("uri", pa.string()),
        pa.field("locator", pa.string()),
        pa.field("etag", pa.string()),
        pa.field("source_bytes", pa.int64()),
        pa.field("source_sha256", pa.string()),
        pa.field("format", pa.string()),
        pa.field("mode", pa.string()),
        pa.field("bit_depth", pa.int16()),
        pa.field("frames", pa.int32()),
        pa.field("orientation", pa.int8()),
        pa.field("choices", pa.list_(pa.string())),
        pa.field("exif", pa.binary()),
        pa.field("icc", pa.binary()),
        pa.field("xmp", pa.binary()),
    ],
    metadata={"huggingface": _HUGGINGFACE},
)

SUFFIXES = {
    "image/webp": "webp", "image/png": "png", "image/jxl": "jxl", "image/jpeg": "jpg", "image/avif": "avif",
}  # fmt: skip


def to_table(rows: Sequence[ImageRow]) -> pa.Table:
    """Return rows as a table of the archive's schema."""
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    columns["thumbnail"] = [_picture(row) for row in rows]
    columns["extras"] = [list(row.extras.items()) for row in rows]
    arrays = [pa.array(columns[field.name], type=field.type) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def from_table(table: pa.Table) -> list[ImageRow]:
    """Return a table's rows; columns that were not read keep their defaults."""
    return [_row(found) for found in table.to_pylist()]


def _picture(row: ImageRow) -> dict[str, bytes | str] | None:
    if row.thumbnail is None or row.media_type is None:
        return None
    name = row.key.rsplit("/", 1)[-1]
    return {"bytes": row.thumbnail, "path": f"{name}.{SUFFIXES[row.media_type]}"}


def _row(found: dict[str, object]) -> ImageRow:
    picture = found.get("thumbnail")
    found["thumbnail"] = picture["bytes"] if isinstance(picture, dict) else None
    extras = found.get("extras")
    found["extras"] = dict(extras) if isinstance(extras, list) else {}
    found["choices"] = found.get("choices") or []
    return msgspec.convert(found, ImageRow)
