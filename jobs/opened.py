"""An opened archive as Python and notebooks see it: by key, images that are fetched when they are looked at."""

import io
from collections.abc import Collection, Iterator
from html import escape

import pyarrow as pa
from PIL import Image as Pictures

from jobs.page import PageThumbnail, contact_sheet, size_words
from ops.archive import reading
from ops.archive.escrow import codec_of
from ops.archive.escrowed_weights import archived_weights, places_of
from ops.archive.rows import OK, ImageRow
from ops.codecs.base import Codec, Runtime
from ops.codecs.binding import reach
from ops.looking import browser_picture, nearest_keys, regrow_image
from ops.thumbnails import decode_thumbnail

SHEET_IMAGES = 24
_GOOD = f"status == '{OK}'"


class NoSuchKey(KeyError):
    """An archive does not hold a key; the message names the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would show the message quoted


class ArchivedImage:
    """One image of an archive. Its thumbnail and facts are fetched when they are asked for, and not kept."""

    def __init__(self, archive: "Archive", row: reading.CatalogRow) -> None:
        self._archive, self._row = archive, row
        self.key, self.status, self.media_type = row.key, row.status, row.media_type
        self.width, self.height, self.source_bytes = row.width, row.height, row.source_bytes

    def __repr__(self) -> str:
        size = f"{self.width}x{self.height}" if self._row.good else f"failed: {self.status}"
        return f"<ArchivedImage {self.key!r} {size}>"

    @property
    def facts(self) -> ImageRow:
        """Everything that is kept of the image, without its thumbnail; a failure's message among it."""
        return self._archive.reader.facts(self._row)

    @property
    def thumbnail_bytes(self) -> bytes:
        """The thumbnail's file, exactly as it was written. Raises ArchiveError for a failure, or a damaged one."""
        return self._archive.reader.thumbnail(self._row)

    @property
    def thumbnail(self) -> Pictures.Image:
        """The thumbnail as a PIL image."""
        return Pictures.fromarray(decode_thumbnail(self.thumbnail_bytes))

    def reconstruct(self, region: tuple[int, int, int, int] | None = None) -> Pictures.Image:
        """Regrow the image, or the region (left, top, right, bottom) of it, in pixels of the original.

        Returns RGB, or RGBA where the original was not opaque. Raises ArchiveError for a failure, ValueError for a
        region that is not inside the image.
        """
        return regrow_image(self._archive.reader, self._row, self._archive.codec, region)

    def _repr_png_(self) -> bytes | None:
        if not self._row.good:
            return None
        written = io.BytesIO()
        self.thumbnail.save(written, "PNG")
        return written.getvalue()

    def _repr_html_(self) -> str:
        return _sheet([self], 0)


class Selection:
    """Images of an archive for which conditions hold, sorted by key. Looked up anew each time it is iterated."""

    def __init__(self, archive: "Archive", keys: Collection[str] | None, match: str | None, where: str | None) -> None:
        self._archive, self._conditions = archive, {"keys": keys, "match": match, "where": where}

    def __iter__(self) -> Iterator[ArchivedImage]:
        for table in self._tables():
            for batch in table.to_batches(max_chunksize=1024):
                yield from (ArchivedImage(self._archive, row) for row in reading.catalog_rows(batch))

    def __len__(self) -> int:
        return sum(table.num_rows for table in self._tables())

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r:.60}" for name, value in self._conditions.items() if value is not None)
        return f"<Selection of {self._archive.url}: {said or 'everything'}>"

    def to_arrow(self) -> pa.Table:
        """Return the catalog's rows of the images as one table."""
        return pa.concat_tables(self._tables())

    def _tables(self) -> Iterator[pa.Table]:
        return self._archive.reader.select(**self._conditions)

    def _repr_html_(self) -> str:
        table = self.to_arrow()
        first = reading.catalog_rows(table.slice(0, SHEET_IMAGES))
        return _sheet([ArchivedImage(self._archive, row) for row in first], table.num_rows - len(first))


class Archive:
    """A sealed archive. Iterating yields keys, `archive[key]` is an `ArchivedImage`. Opening reads three small objects.

    It is no Mapping, whose items() would look every key up on its own: `select()` yields all images in a few requests.

    >>> a = open("photos.regrow")                                        # doctest: +SKIP
    >>> a["x.jpg"].reconstruct(region=(0, 0, 512, 512))                  # doctest: +SKIP
    """

    def __init__(self, reader: reading.Archive, runtime: Runtime) -> None:
        self.reader, self.url, self._runtime = reader, reader.location.url, runtime
        self._codec: Codec | None = None

    def __len__(self) -> int:
        return len(self.reader)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.reader.find(key) is not None

    def __iter__(self) -> Iterator[str]:
        for table in self.reader.select():
            for batch in table["key"].chunks:
                yield from batch.to_pylist()

    def __getitem__(self, key: str) -> ArchivedImage:
        row = self.reader.find(key)
        if row is None:
            near = nearest_keys(self.reader, key)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "iterate over the archive for its keys"
            raise NoSuchKey(f"{self.url} has no key {key!r}: {hint}")
        return ArchivedImage(self, row)

    def __repr__(self) -> str:
        totals = self.reader.seal.totals
        failed = f" ({totals.num_images - totals.num_good} failed)" if totals.num_good < totals.num_images else ""
        sizes = f"{size_words(totals.source_bytes)} kept in {size_words(totals.thumbnail_bytes)}"
        return f"<Archive {self.url}: {totals.num_images:,} images{failed}, {self.reader.document.codec_name}, {sizes}>"

    @property
    def codec(self) -> Codec:
        """The codec that the archive was made with, loaded once. Raises ArchiveError where this regrow's is another."""
        if self._codec is None:
            location = self.reader.location
            config = codec_of(self.reader.document, location.url)
            archived_weights(config, location, self._runtime.weights)
            self._codec = config.load(reach(self._runtime, places_of(location, self._runtime.weights)))
        return self._codec

    def select(
        self, *, where: str | None = None, match: str | None = None, keys: Collection[str] | None = None
    ) -> Selection:
        """Return the images for which every given condition holds, such as `where="width > 4000"`, `match="2024/*"`."""
        return Selection(self, keys, match, where)

    def failures(self) -> Selection:
        """Return the images that have no thumbnail; `facts.message` says why."""
        return self.select(where=f"status != '{OK}'")

    def to_arrow(self) -> pa.Table:
        """Return the whole catalog as one table: a row per key, sorted, some 200 bytes each."""
        return self.select().to_arrow()

    def _repr_html_(self) -> str:
        first: list[ArchivedImage] = []
        for image in self.select(where=_GOOD):
            first.append(image)
            if len(first) == SHEET_IMAGES:
                break
        notes = escape(self.reader.document.notes)
        more = self.reader.seal.totals.num_good - len(first)
        return f"<div>{escape(repr(self)[1:-1])}<br><small>{notes}</small></div>{_sheet(first, more)}"


def _sheet(images: list[ArchivedImage], more: int) -> str:
    """Return a contact sheet of thumbnails, and a list of those that have none."""
    shown, failed = [], []
    for image in images:
        if image.status != OK:
            failed.append(f"<li>{escape(image.key)}: {escape(image.facts.message or image.status)}</li>")
            continue
        picture = browser_picture(image.thumbnail_bytes, image.media_type or "")
        shown.append(
            PageThumbnail(
                key=image.key, width=image.width or 1, height=image.height or 1, thumbnail=picture.encoded,
                thumbnail_media_type=picture.media_type, thumbnail_width=picture.width, thumbnail_height=picture.height,
            )
        )  # fmt: skip
    return contact_sheet(shown, more) + (f"<ul>{''.join(failed)}</ul>" if failed else "")
