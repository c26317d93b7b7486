"""Reads archives of format 1 with the standard library, pyarrow and Pillow alone; written from docs/format.md.

python read_archive.py ARCHIVE list              each key with its size and status
python read_archive.py ARCHIVE extract KEY FILE  the thumbnail of a key, as it was written, into a new file
python read_archive.py ARCHIVE check             every sha256, every thumbnail, every key

ARCHIVE is a folder, or a URL that pyarrow knows: s3://bucket/a.regrow, gs://..., hdfs://...
"""

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pyarrow import fs

MEDIA_TYPES = {"WEBP": "image/webp", "PNG": "image/png", "JPEG": "image/jpeg", "AVIF": "image/avif", "JXL": "image/jxl"}


def table_of(content: bytes, columns: list[str] | None = None) -> pa.Table:
    """Return the rows of a Parquet file, read without threads, which may outlive a short process and abort it."""
    return pq.ParquetFile(io.BytesIO(content), pre_buffer=False).read(columns, use_threads=False)


class Archive:
    """An archive at a folder or URL: its highest seal or, without one, its parts."""

    def __init__(self, url: str) -> None:
        if "://" in url:
            self.store, self.root = fs.FileSystem.from_uri(url)
        else:
            self.store, self.root = fs.LocalFileSystem(), str(Path(url).absolute())
        document = json.loads(self.read("archive.json"))
        if document["format"] != 1:
            raise SystemExit(f"{url} is of format {document['format']}; this reads format 1")
        seals = sorted(name for name in self.names("seals") if name.endswith(".json"))
        self.seal = json.loads(self.read(f"seals/{max(seals, key=seal_number)}")) if seals else None

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return a file of the archive, or a range of it."""
        with self.store.open_input_file(f"{self.root}/{name}") as file:
            return file.read() if length is None else file.read_at(length, offset)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder of the archive."""
        found = self.store.get_file_info(fs.FileSelector(f"{self.root}/{folder}", allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == fs.FileType.File)

    def sealed(self, entry: dict[str, Any]) -> bytes:
        """Return a file that the seal names, if it is as it was sealed."""
        content = self.read(entry["name"])
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise SystemExit(f"{entry['name']} is damaged: its sha256 is not the sealed one")
        return content

    # Without threads: pyarrow's may abort a process that ends just after they began.
    def rows(self, key: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the catalog's rows, sorted by key (or those near one key); without a seal, those of the parts."""
        for entry in self.seal["catalog"] if self.seal else []:
            if key is None or entry["first_key"] <= key <= entry["last_key"]:
                yield from table_of(self.sealed(entry)).to_pylist()
        for name in [] if self.seal else self.names("parts"):
            for row in table_of(self.read(f"parts/{name}")).to_pylist():
                yield {**row, "sha256": row["thumbnail_sha256"]}

    def find(self, key: str) -> dict[str, Any]:
        """Return the row of a key."""
        for row in self.rows(key):
            if row["key"] == key:
                return row
        raise SystemExit(f"no key {key!r}: `list` lists the keys")

    def thumbnail(self, row: dict[str, Any]) -> bytes:
        """Return a row's thumbnail, one range of its pack, if it is as it was written and a picture."""
        if row["status"] != "ok":
            raise SystemExit(f"{row['key']!r} has no thumbnail: {row['status']}")
        content = (
            row["thumbnail"]["bytes"] if "thumbnail" in row else self.read(row["pack"], row["offset"], row["length"])
        )
        if hashlib.sha256(content).hexdigest() != row["sha256"]:
            raise SystemExit(f"the thumbnail of {row['key']!r} is damaged: its sha256 is not the recorded one")
        if row["media_type"] != "image/jxl":  # needs a plug-in of Pillow
            with Image.open(io.BytesIO(content)) as picture:
                picture.load()
                if MEDIA_TYPES.get(picture.format or "") != row["media_type"]:
                    raise SystemExit(f"the thumbnail of {row['key']!r} is {picture.format}, not {row['media_type']}")
        return content


def seal_number(name: str) -> int:
    """Return the number of a seal from its name."""
    return int(name.removesuffix(".json"))


def check(archive: Archive) -> str:
    """Hold everything against its sha256, and the catalog against the packs; return what was found."""
    last, counted, good = b"", 0, 0
    for entry in archive.seal["packs"] if archive.seal else []:
        table = table_of(archive.sealed(entry), ["key"])
        if table.num_rows != entry["num_rows"]:
            raise SystemExit(f"{entry['name']} has {table.num_rows} rows, the seal says {entry['num_rows']}")
    if archive.seal and archive.seal["number"]:
        before = archive.read(f"seals/{archive.seal['number'] - 1:05d}.json")
        if hashlib.sha256(before).hexdigest() != archive.seal["parent"]:
            raise SystemExit("the seal before the last was changed after it was written")
    for row in archive.rows():
        if archive.seal and counted and row["key"].encode() <= last:
            raise SystemExit(f"the catalog is not sorted at {row['key']!r}")
        last, counted = row["key"].encode(), counted + 1
        if row["status"] == "ok":
            good += 1
            archive.thumbnail(row)
    totals = archive.seal["totals"] if archive.seal else {"num_images": counted, "num_good": good}
    if (counted, good) != (totals["num_images"], totals["num_good"]):
        raise SystemExit(f"{counted} keys and {good} thumbnails, the seal says {totals}")
    return f"{'sealed' if archive.seal else 'not sealed'}: {counted} keys, {good} thumbnails, all as written"


def write_new(file: Path, content: bytes) -> None:
    """Write a file that is not there yet."""
    try:
        with file.open("xb") as opened:
            opened.write(content)
    except FileExistsError as error:
        raise SystemExit(f"{file} is there already and is never overwritten: name another file") from error


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    match arguments:
        case [url, "list"]:
            for row in Archive(url).rows():
                sys.stdout.write(f"{row['key']}\t{row['width'] or 0}x{row['height'] or 0}\t{row['status']}\n")
        case [url, "extract", key, file]:
            archive = Archive(url)
            write_new(Path(file), archive.thumbnail(archive.find(key)))
        case [url, "check"]:
            sys.stdout.write(check(Archive(url)) + "\n")
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError as error:  # nobody reads on, as with `| head`: what is still held back would fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from error
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise SystemExit(f"cannot be read: {error!r}") from error
