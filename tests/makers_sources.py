"""Makers of sources: folders, tars, zips and Parquet files with contents that tests can tell apart."""

import io
import os
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ops.images import Failure
from ops.sources import ScanReport, fetch, scan

HARD_NAMES = [
    "صورة.jpg",
    "🦊🏽.png",
    "e\u0301.jpg",
    "-rf.jpg",
    "new\nline.jpg",
    "a%20b.jpg",
    "a#b.jpg",
    "a?b=1.jpg",
    "a b\\c.jpg",
    "ÄÖ~2.JPG",
]


def make_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def tar_bytes(files: Mapping[str, bytes], mode: str = "w", layout: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=layout, errors="surrogateescape") as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            add_member(tar, name, content)
    return buffer.getvalue()


def add_member(
    tar: tarfile.TarFile, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, to: str = ""
) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(content), kind, to
    tar.addfile(member, io.BytesIO(content))


def zip_bytes(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def parquet_bytes(table: pa.Table, rows_per_group: int = 4) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=rows_per_group)
    return buffer.getvalue()


def images_of(source: object, *, all_files: bool = False) -> tuple[dict[str, bytes | Failure], ScanReport]:
    """Return what archiving a source would see: each key with its bytes or failure, and the report."""
    report = ScanReport()
    entries = list(
        scan(os.fspath(source) if isinstance(source, Path) else str(source), all_files=all_files, report=report)
    )
    return dict(zip([entry.key for entry in entries], fetch(entries), strict=True)), report
