"""Archives outlive us: a reader without a line of regrow finds, checks and extracts everything."""

# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false, reportArgumentType=false
# What is missing fails the test where it is used.

import ast
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ops.archive.reading import Archive
from tests import makers
from tests.archives import (
    READER,
    check_with_standalone_reader,
    copy_here,
    failed,
    grow_archive,
    make_archive,
    run_standalone_reader,
    small_images,
)


def test_it_imports_nothing_of_ours():
    tree = ast.parse(READER.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == {"pyarrow", "PIL"}


@pytest.mark.parametrize("codec", ["bicubic-x4", "jpeg-q50", "webp-q40-x2", "avif-q40", "jxl-q40"])
def test_it_finds_an_archive_of_any_codec_as_written(tmp_path, codec):
    make_archive(tmp_path / "a", codec=codec)
    assert check_with_standalone_reader(tmp_path / "a") == "sealed: 6 keys, 6 thumbnails, all as written\n"


def test_it_finds_generations_failures_and_empty_archives_as_written(tmp_path):
    location = make_archive(tmp_path / "a", {**small_images(), "bad": failed()})
    grow_archive(location, {"new": makers.encode(makers.photo(), "PNG"), "bad": b"text"})
    assert check_with_standalone_reader(tmp_path / "a") == "sealed: 8 keys, 7 thumbnails, all as written\n"
    make_archive(tmp_path / "none", {})
    assert check_with_standalone_reader(tmp_path / "none") == "sealed: 0 keys, 0 thumbnails, all as written\n"
    there = make_archive("memory://standalone/a.regrow")
    check_with_standalone_reader(copy_here(there, tmp_path / "copied"))


def test_it_reads_the_parts_of_an_archive_that_was_never_sealed(tmp_path):
    make_archive(tmp_path / "a", sealed=False, chunk_images=2)
    assert check_with_standalone_reader(tmp_path / "a") == "not sealed: 6 keys, 6 thumbnails, all as written\n"
    run_standalone_reader(tmp_path / "a", "extract", "png/002.png", tmp_path / "x.webp")
    assert Image.open(tmp_path / "x.webp").format == "WEBP"


def test_it_lists_keys_with_sizes_and_status(tmp_path):
    make_archive(tmp_path / "a", {"é/a.png": makers.encode(makers.photo(50, 40), "PNG"), "bad": b"text"})
    assert run_standalone_reader(tmp_path / "a", "list").stdout == "bad\t0x0\tnot_an_image\né/a.png\t50x40\tok\n"


def test_it_extracts_the_same_bytes_as_we_do(tmp_path):
    archive = Archive.open(make_archive(tmp_path / "a").url)
    done = run_standalone_reader(f"file://{tmp_path / 'a'}", "extract", "jpg/003é.jpg", tmp_path / "x")
    assert done.returncode == 0, done.stderr
    row = archive.find("jpg/003é.jpg")
    assert (tmp_path / "x").read_bytes() == archive.thumbnail(row)
    assert Image.open(io.BytesIO((tmp_path / "x").read_bytes())).size == (12, 9)


def test_it_overwrites_nothing(tmp_path):
    make_archive(tmp_path / "a")
    (tmp_path / "mine.webp").write_bytes(b"mine")
    done = run_standalone_reader(tmp_path / "a", "extract", "png/002.png", tmp_path / "mine.webp")
    assert (done.returncode, (tmp_path / "mine.webp").read_bytes()) == (1, b"mine")
    assert done.stderr == f"{tmp_path / 'mine.webp'} is there already and is never overwritten: name another file\n"


@pytest.mark.parametrize("number", [2, 1000])  # so few that Python holds them back, and more than a pipe holds
def test_into_head_it_ends_quietly(tmp_path, number):
    make_archive(tmp_path / "a", {f"{'k' * 200}{index}.jpg": failed() for index in range(number)})
    program = f"{sys.executable} {READER} {tmp_path / 'a'} list | true"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("folder", ["packs", "catalog"])
def test_it_notices_one_changed_bit(tmp_path, folder):
    make_archive(tmp_path / "a")
    [path] = (tmp_path / "a" / folder).rglob("*.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    done = run_standalone_reader(tmp_path / "a", "check")
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_it_says_in_one_line_what_it_cannot_do(tmp_path):
    make_archive(tmp_path / "a", {"bad": b"text"})
    assert "no key 'x'" in run_standalone_reader(tmp_path / "a", "extract", "x", tmp_path / "x").stderr
    assert (
        "no thumbnail: not_an_image" in run_standalone_reader(tmp_path / "a", "extract", "bad", tmp_path / "x").stderr
    )
    assert "archive.json" in run_standalone_reader(tmp_path / "nothing", "list").stderr
    assert "python read_archive.py ARCHIVE list" in run_standalone_reader("--help").stderr
    document = json.loads((tmp_path / "a" / "archive.json").read_text())
    Path(tmp_path / "a" / "archive.json").write_text(json.dumps({**document, "format": 2}))
    assert "format 2" in run_standalone_reader(tmp_path / "a", "list").stderr


@pytest.mark.s3
def test_it_reads_from_s3(s3, s3_server):
    make_archive(f"{s3}/a.regrow")
    endpoint = s3_server.environment["AWS_ENDPOINT_URL"]
    scheme, host = endpoint.split("://")
    done = run_standalone_reader(f"{s3}/a.regrow?scheme={scheme}&endpoint_override={host}", "check")
    assert done.stdout == "sealed: 6 keys, 6 thumbnails, all as written\n", done.stderr
