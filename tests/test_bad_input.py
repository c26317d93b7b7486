"""Everything that people have in their folders: each ends as a row with the right code, or as a refusal that helps."""

import io
import os
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ops.archive.layout import locate
from ops.archive.plan import read_plan
from ops.archive.reading import Archive
from ops.archive.rows import ImageRow
from ops.sources import SourceError
from ops.stores import open_store
from pipelines.archive import archive
from pipelines.events import Event, Planned
from tests import makers
from tests.makers_sources import add_member, make_folder, tar_bytes, zip_bytes
from tests.runs import Run, check_invariants, jpeg, messages, photographs, put_files, request, rows_of

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]

SUFFIXES = {
    "JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tiff", "GIF": "gif", "BMP": "bmp", "AVIF": "avif",
    "JPEG2000": "jp2", "HEIF": "heic", "JXL": "jxl",
}  # fmt: skip


def png_of(width: int, height: int, pixels: bytes) -> bytes:
    """Return a PNG whose header claims a size, whatever its compressed pixels hold."""
    header = makers.png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + makers.png_chunk(b"IDAT", pixels) + makers.png_chunk(b"IEND", b"")


def zeros(num_bytes: int) -> bytes:
    """Return that many zero bytes, compressed a thousand times over."""
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(num_bytes >> 20)), packer.flush()])


def animation() -> bytes:
    frames = [Image.fromarray(makers.photo(40, 30, seed=seed)) for seed in range(3)]
    return makers.encode(frames[0], "GIF", save_all=True, append_images=frames[1:])


def files() -> dict[str, bytes]:
    whole = {f"whole.{suffix}": makers.encode(makers.photo(80, 60), name) for name, suffix in SUFFIXES.items()}
    cut = {name.replace("whole", "cut"): content[: len(content) * 6 // 10] for name, content in whole.items()}
    return {
        **whole,
        **cut,
        "empty.jpg": b"",
        "misnamed.png": jpeg(1),
        "text.jpg": b"not an image, dear reader, but words",
        "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
        "claims.png": png_of(60_000, 60_000, zlib.compress(b"")),
        "bomb.png": png_of(20_001, 20_000, zeros(401 << 20)),
        "overfull.png": png_of(10, 10, zeros(300 << 20)),
        "moving.gif": animation(),
        "folder.jpg/inside.jpg": jpeg(2),
        "zeros.jpg": bytes(5000),
        "noughts-after-head.jpg": jpeg(3)[:400] + bytes(2000),
        "shard.tar": tar_bytes({"a.jpg": jpeg(4), "b.jpg": jpeg(5), "b.jpg~": b"", "c.jpg": jpeg(6)})[:4000],
    }


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    """One archive of a folder with all of it; some files go or change between plan and work."""
    root = tmp_path_factory.mktemp("bad")
    source = make_folder(root / "photos", {**files(), "gone.jpg": jpeg(7), "other.jpg": jpeg(8), "grown.jpg": jpeg(9)})
    (source / "empty-folder.jpg").mkdir()
    (source / "dangling.jpg").symlink_to(source / "nowhere.jpg")
    (source / "circle.jpg").symlink_to(source / "circle.jpg")
    (source / "linked-folder.jpg").symlink_to(source / "folder.jpg")
    os.mkfifo(source / "pipe.jpg")

    def meddle(event: Event) -> None:
        if isinstance(event, Planned):
            (source / "gone.jpg").unlink()
            (source / "other.jpg").write_bytes(jpeg(80, 90, 90))
            with (source / "grown.jpg").open("ab") as file:
                file.write(b"more")

    archive(request(source, root / "a"), meddle)
    return root / "a"


@pytest.fixture(scope="module")
def failures(everything: Path) -> dict[str, tuple[str, str]]:
    return messages(everything)


@pytest.mark.parametrize("suffix", SUFFIXES.values())
def test_whole_images_of_every_format_are_archived(everything: Path, suffix: str) -> None:
    row = rows_of(everything)[f"whole.{suffix}"]
    assert (row.status, row.width, row.height) == ("ok", 80, 60)


EXPECTED = {
    **{f"cut.{suffix}": ("truncated", "") for suffix in SUFFIXES.values()},
    "cut.jxl": ("corrupt", "fetch it again"),  # a bare codestream does not say how long it is
    "empty.jpg": ("empty", "no bytes at all"),
    "text.jpg": ("not_an_image", ""),
    "page.jpg": ("not_an_image", ""),
    "zeros.jpg": ("not_an_image", ""),
    "noughts-after-head.jpg": ("truncated", ""),
    "claims.png": ("too_large", "60000x60000"),
    "bomb.png": ("too_large", "20001x20000 is 400,020,000 pixels, the limit is 400,000,000"),
    "dangling.jpg": ("vanished", "no longer there"),
    "circle.jpg": ("unreadable", "symbolic links"),
    "gone.jpg": ("vanished", "gone.jpg is no longer there"),
    "other.jpg": ("changed", "other.jpg"),
    "grown.jpg": ("changed", "grown.jpg"),
}


@pytest.mark.parametrize("key", EXPECTED)
def test_what_cannot_be_read_is_a_row_that_says_why(failures: dict[str, tuple[str, str]], key: str) -> None:
    code, said = EXPECTED[key]
    assert failures[key][0] == code, failures[key]
    assert said in failures[key][1]
    assert len(failures[key][1]) > 10


def test_nothing_else_failed(everything: Path, failures: dict[str, tuple[str, str]]) -> None:
    assert set(failures) == set(EXPECTED)
    check_invariants(everything)


def test_what_is_odd_but_an_image_is_archived(everything: Path) -> None:
    rows = rows_of(everything)
    facts: dict[str, ImageRow] = {key: Archive.open(str(everything)).facts(rows[key]) for key in rows if rows[key].good}
    assert facts["misnamed.png"].format == "JPEG"
    assert facts["moving.gif"].frames == 3
    assert "first of 3 pictures taken" in facts["moving.gif"].choices
    assert (facts["overfull.png"].width, facts["overfull.png"].height) == (10, 10)
    assert "folder.jpg/inside.jpg" in facts


def test_what_was_not_planned_is_said(everything: Path) -> None:
    plan = read_plan(locate(str(everything)), 0)
    assert plan is not None
    said = "\n".join(plan.notes)
    assert "pipe.jpg: neither a file nor a folder" in said
    assert "linked-folder.jpg: a symbolic link to a folder is not followed" in said
    assert "shard.tar: not all images of this shard are planned" in said
    assert "shard.tar/a.jpg" in rows_of(everything)


def test_a_list_that_names_what_is_no_file_does_not_hang(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a.jpg": jpeg(1), "b.jpg": jpeg(2), "folder/x.jpg": jpeg(3)})
    os.mkfifo(tmp_path / "pipe.jpg")
    lines = ["a.jpg", "pipe.jpg", "folder", "missing.jpg", "", "# words", "a.jpg", str(tmp_path / "b.jpg"), "s3://"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    run = Run(request(tmp_path / "list.txt", tmp_path / "archive"))
    found = messages(tmp_path / "archive")
    assert {key: code for key, (code, _) in found.items() if key} == {
        "pipe.jpg": "unreadable",
        "folder": "unreadable",
        "missing.jpg": "vanished",
    }
    assert "no regular file" in found["pipe.jpg"][1]
    assert "is a folder" in found["folder"][1]
    assert "listed twice and planned once" in run.notes
    assert sum(row.good for row in rows_of(tmp_path / "archive").values()) == 2
    check_invariants(tmp_path / "archive")


def test_keys_of_a_list_may_be_anything(tmp_path: Path) -> None:
    make_folder(tmp_path, {f"{number}.jpg": jpeg(number) for number in range(5)})
    keys = ["../../up.jpg", "same.jpg", "same.jpg", "/absolute.jpg", "猫/кот.jpg"]
    rows = "\n".join(f"{number}.jpg,{key}" for number, key in enumerate(keys))
    (tmp_path / "list.csv").write_text(f"uri,key\n{rows}\n", "utf-8")
    run = Run(request(tmp_path / "list.csv", tmp_path / "archive"))
    assert {*rows_of(tmp_path / "archive")} == {"../../up.jpg", "same.jpg", "same~2.jpg", "/absolute.jpg", "猫/кот.jpg"}
    assert "keys that stood twice in the source and got ~2, ~3 and so on: 1" in run.notes


def test_members_of_one_name_are_both_archived(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        add_member(tar, "a.jpg", jpeg(1))
        add_member(tar, "a.jpg", jpeg(2, 60, 60))
    source = make_folder(tmp_path / "photos", {"s.tar": buffer.getvalue()})
    Run(request(source, tmp_path / "a"))
    rows = rows_of(tmp_path / "a")
    assert {key: row.width for key, row in rows.items()} == {"s.tar/a.jpg": 48, "s.tar/a~2.jpg": 60}


def damaged_shards() -> Iterator[tuple[str, bytes]]:
    # PNG: a hole in a JPEG is not always noticed by its decoder, and a plain tar has no checksums.
    members = {f"{number}.png": makers.encode(makers.noise(150, 150, seed=number)) for number in range(6)}
    for name, whole in (
        ("s.tar", tar_bytes(members)),
        ("s.tar.gz", tar_bytes(members, "w:gz")),
        ("s.zip", zip_bytes(members)),
    ):
        middle = len(whole) // 2
        yield f"cut-{name}", whole[:middle]
        yield f"hole-{name}", whole[:middle] + bytes(600) + whole[middle + 600 :]


def test_shards_that_are_broken_in_the_middle_lose_only_what_is_broken(tmp_path: Path) -> None:
    shards = dict(damaged_shards())
    source = make_folder(tmp_path / "photos", {**shards, "fine.jpg": jpeg(1)})
    run = Run(request(source, tmp_path / "a"))
    rows = rows_of(tmp_path / "a")
    assert rows["fine.jpg"].good
    failed = messages(tmp_path / "a")
    for name in shards:
        good = [key for key, row in rows.items() if key.startswith(f"{name}/") and row.good]
        assert name in run.notes or any(key.startswith(f"{name}/") for key in failed), f"{name}: damage went unsaid"
        assert len(good) < 6
        # Compressed tars end where they break; a zip without its end has no list of members.
        assert good or name == "cut-s.zip", name
    check_invariants(tmp_path / "a")


def test_a_shard_that_changes_after_the_plan_fails_its_images(tmp_path: Path) -> None:
    source = make_folder(
        tmp_path / "photos", {"s.tar": tar_bytes({"a.jpg": jpeg(1), "b.jpg": jpeg(2)}), "c.jpg": jpeg(3)}
    )

    def meddle(event: Event) -> None:
        if isinstance(event, Planned):
            (source / "s.tar").write_bytes(tar_bytes({"a.jpg": jpeg(5), "b.jpg": jpeg(6)}))

    archive(request(source, tmp_path / "a"), meddle)
    assert {key: code for key, (code, _) in messages(tmp_path / "a").items()} == {
        "s.tar/a.jpg": "changed",
        "s.tar/b.jpg": "changed",
    }


@pytest.mark.s3
def test_objects_that_go_or_change_after_the_plan_fail_on_s3_as_well(s3: str, tmp_path: Path) -> None:
    source, store = put_files(f"{s3}/photos", photographs(4)), open_store(s3)

    def meddle(event: Event) -> None:
        if isinstance(event, Planned):
            store.remove([f"{source}/001.jpg"])
            store.put(f"{source}/002.jpg", jpeg(99, 70, 70))

    archive(request(source, f"{s3}/a"), meddle)
    assert {key: code for key, (code, _) in messages(f"{s3}/a").items()} == {
        "001.jpg": "vanished",
        "002.jpg": "changed",
    }


@pytest.mark.parametrize("kind", ["fifo", "empty", "texts", "nowhere", "shard"])
def test_a_source_without_images_is_refused_before_any_work(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source"
    if kind == "fifo":
        os.mkfifo(source)
    elif kind == "shard":
        source = tmp_path / "s.tar"
        source.write_bytes(np.random.default_rng(1).bytes(2000))
    elif kind != "nowhere":
        make_folder(source, {} if kind == "empty" else {"a.txt": b"x"})
        source.mkdir(exist_ok=True)
    with pytest.raises(SourceError, match=str(source)):
        Run(request(source, tmp_path / "a"))
    assert not (tmp_path / "a").exists()
