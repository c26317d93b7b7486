"""Reconstructing end to end: files, formats, alpha, what pictures say of themselves, damage, and refusals."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ops.archive.layout import ArchiveError
from ops.archive.reading import Archive
from ops.stores import join, open_store
from pipelines.reconstruct import Reconstructed, reconstruct
from pipelines.requests import ReconstructRequest
from tests import makers
from tests.makers_sources import tar_bytes
from tests.runs import Run, jpeg, photographs, put_files, request, rows_of

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


def regrow(archive: object, destination: object, **more: object) -> Reconstructed:
    return reconstruct(ReconstructRequest(archive=str(archive), destination=str(destination), **more))  # type: ignore[arg-type]


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def archived(tmp_path: Path) -> Path:
    """An archive of two photographs, a picture with alpha, and a failure."""
    files = {
        "a.jpg": jpeg(1),
        "b/c.jpg": jpeg(2, 64, 48),
        "alpha.png": makers.encode(makers.photo(channels=4)),
        "bad.jpg": b"?",
    }
    Run(request(put_files(str(tmp_path / "photos"), files), tmp_path / "a"))
    return tmp_path / "a"


def test_every_good_image_becomes_a_file_of_its_size(archived: Path, tmp_path: Path) -> None:
    result = regrow(archived, tmp_path / "out")
    assert (result.num_regrown, result.num_failed_before, result.failures) == (3, 1, [])
    assert files_below(tmp_path / "out") == {"a.jpg.png", "b/c.jpg.png", "alpha.png.png"}
    with Image.open(tmp_path / "out" / "b" / "c.jpg.png") as picture:
        assert picture.size == (64, 48)
        original = np.asarray(Image.open(io.BytesIO(jpeg(2, 64, 48))), np.float64)
        assert np.abs(np.asarray(picture, np.float64) - original).mean() < 8


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_pictures_say_what_they_are(archived: Path, tmp_path: Path, suffix: str) -> None:
    regrow(archived, tmp_path / "out", format=suffix)
    for name in ("a.jpg", "alpha.png"):
        with Image.open(tmp_path / "out" / f"{name}.{suffix}") as picture:
            picture.load()
            xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or picture.getexif()[700]
        text = xmp if isinstance(xmp, str) else xmp.decode()
        for said in ("http://cv.iptc.org/newscodes/digitalsourcetype/", "bicubic-x4", name, str(archived)):
            assert said in text
        assert "DerivedFrom" in text


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_alpha_comes_back(archived: Path, tmp_path: Path, suffix: str) -> None:
    regrow(archived, tmp_path / "out", format=suffix, keys=["alpha.png"])
    with Image.open(tmp_path / "out" / f"alpha.png.{suffix}") as picture:
        assert picture.mode == "RGBA"
        assert np.array_equal(np.asarray(picture)[..., 3], makers.photo(channels=4)[..., 3])


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_what_is_there_is_left_and_only_the_rest_is_regrown(archived: Path, tmp_path: Path, suffix: str) -> None:
    assert regrow(archived, tmp_path / "out", format=suffix, keys=["a.jpg"], metadata=True).num_regrown == 1
    made = (tmp_path / "out" / f"a.jpg.{suffix}").read_bytes()
    result = regrow(archived, tmp_path / "out", format=suffix)
    assert (result.num_regrown, result.num_there, result.failures) == (2, 1, [])
    assert (tmp_path / "out" / f"a.jpg.{suffix}").read_bytes() == made
    assert regrow(archived, tmp_path / "out", format=suffix).num_there == 3


def test_what_is_no_picture_of_this_archive_is_told_and_left(archived: Path, tmp_path: Path) -> None:
    Run(request(put_files(str(tmp_path / "others"), {"b/c.jpg": jpeg(9, 64, 48)}), tmp_path / "other"))
    assert regrow(tmp_path / "other", tmp_path / "out").num_regrown == 1
    put_files(str(tmp_path / "out"), {"a.jpg.png": b"mine", "alpha.png.png/x": b"a folder"})
    before = {name: (tmp_path / "out" / name).read_bytes() for name in files_below(tmp_path / "out")}
    result = regrow(archived, tmp_path / "out")
    assert (result.num_regrown, result.num_there, len(result.failures)) == (0, 0, 3)
    said = " ".join(result.failures)
    assert "a.jpg.png is something else: move it away, or name another folder" in said
    assert "c.jpg.png is a picture of 'b/c.jpg' as another archive, or this one before, has it" in said
    assert "alpha.png: " in said
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files_below(tmp_path / "out")} == before


def test_a_destination_that_is_a_file_is_refused_before_any_work(archived: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(ArchiveError, match="is a file: name a folder for the pictures"):
        regrow(archived, tmp_path / "file")


def test_a_selection_is_regrown_and_an_empty_one_refused(archived: Path, tmp_path: Path) -> None:
    assert regrow(archived, tmp_path / "wide", where="width == 64").num_regrown == 1
    assert files_below(tmp_path / "wide") == {"b/c.jpg.png"}
    assert regrow(archived, tmp_path / "matched", match="b/*").num_regrown == 1
    with pytest.raises(ArchiveError, match="no image with a thumbnail that meets the request"):
        regrow(archived, tmp_path / "none", keys=["bad.jpg"])
    with pytest.raises(ArchiveError, match=r"has no key 'z\.jpg'.*regrow ls"):
        regrow(archived, tmp_path / "none", keys=["z.jpg"])


def test_pictures_never_lie_among_originals_or_in_the_archive(archived: Path, tmp_path: Path) -> None:
    for place in (tmp_path / "photos", tmp_path / "photos" / "out", archived, archived / "out"):
        with pytest.raises(ArchiveError, match="name another folder"):
            regrow(archived, place)
    assert len(files_below(tmp_path / "photos")) == 4


def test_a_destination_above_the_source_writes_nothing_into_it(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "all" / "photos"), {"x.jpg": jpeg(1)})
    climbing = put_files(str(tmp_path / "tars"), {"s.tar": tar_bytes({"photos/y.jpg": jpeg(2)})})
    Run(request(source, tmp_path / "a"))
    Run(request(climbing, tmp_path / "a"))
    result = regrow(tmp_path / "a", tmp_path / "all")
    assert result.num_regrown == 2
    assert files_below(tmp_path / "all" / "photos") == {"x.jpg"}


def test_keys_cannot_climb_out_of_the_destination(tmp_path: Path) -> None:
    names = ["../up.jpg", "/etc/root.jpg", "a/../../b.jpg", "Same.jpg", "same.jpg", "é" * 130 + ".jpg", "x\\y.jpg"]
    source = put_files(
        str(tmp_path / "photos"), {"s.tar": tar_bytes({name: jpeg(seed) for seed, name in enumerate(names)})}
    )
    Run(request(source, tmp_path / "a"))
    before = files_below(tmp_path)
    result = regrow(tmp_path / "a", tmp_path / "out" / "deep")
    assert (result.num_regrown, result.failures) == (len(names), [])
    made = files_below(tmp_path) - before
    assert all(name.startswith("out/deep/s.tar/") and ".." not in name.split("/") for name in made)
    assert len({name.casefold() for name in made}) == len(names)


def test_a_damaged_thumbnail_is_named_and_its_neighbours_are_regrown(tmp_path: Path) -> None:
    Run(request(put_files(str(tmp_path / "photos"), photographs(5)), tmp_path / "a"))
    row = rows_of(tmp_path / "a")["002.jpg"]
    assert row.offset is not None
    assert row.length is not None
    pack = tmp_path / "a" / row.pack
    content = bytearray(pack.read_bytes())
    content[row.offset + row.length // 2] ^= 0xFF
    pack.write_bytes(content)
    result = regrow(tmp_path / "a", tmp_path / "out")
    assert result.num_regrown == 4
    assert len(result.failures) == 1
    assert result.failures[0].startswith("002.jpg: ")
    assert "is damaged: restore the pack from a copy" in result.failures[0]
    assert files_below(tmp_path / "out") == {f"00{number}.jpg.png" for number in (0, 1, 3, 4)}
    with pytest.raises(ArchiveError, match="damaged"):
        Archive.open(str(tmp_path / "a")).thumbnail(row)


def test_a_pack_that_is_gone_fails_its_images_not_the_run(tmp_path: Path) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(2))
    Run(request(source, tmp_path / "a"))
    put_files(source, photographs(1, first=2))
    Run(request(source, tmp_path / "a"))
    (tmp_path / "a" / rows_of(tmp_path / "a")["002.jpg"].pack).unlink()
    result = regrow(tmp_path / "a", tmp_path / "out")
    assert result.num_regrown == 2
    assert [failure.split(":")[0] for failure in result.failures] == ["002.jpg"]


def test_camera_facts_come_back_only_on_request(tmp_path: Path) -> None:
    exif = makers.exif(6, gps=True, make="Acme").removeprefix(b"Exif\0\0")  # Pillow has put one in already
    source = put_files(str(tmp_path / "photos"), {"a.jpg": makers.encode(makers.photo(60, 40), "JPEG", exif=exif)})
    Run(request(source, tmp_path / "a"))
    regrow(tmp_path / "a", tmp_path / "plain", format="jpg")
    regrow(tmp_path / "a", tmp_path / "full", format="jpg", metadata=True)
    with Image.open(tmp_path / "plain" / "a.jpg.jpg") as plain, Image.open(tmp_path / "full" / "a.jpg.jpg") as full:
        assert plain.size == full.size == (40, 60)
        assert not plain.getexif()
        assert full.getexif()[0x010F] == "Acme"
        assert full.getexif().get(0x0112, 1) == 1
        assert full.getexif().get_ifd(0x8825)


@pytest.mark.s3
def test_s3_gives_the_pictures_that_a_folder_gives(tmp_path: Path, s3: str) -> None:
    files = {**photographs(3), "é/🦊.png": makers.encode(makers.photo(channels=4))}
    Run(request(put_files(f"{s3}/photos", files), f"{s3}/a"))
    regrow(f"{s3}/a", f"{s3}/out")
    again = regrow(f"{s3}/a", f"{s3}/out")
    regrow(f"{s3}/a", tmp_path / "out")
    assert (again.num_regrown, again.num_there) == (0, 4)
    names = files_below(tmp_path / "out")
    assert names == {f"{name}.png" for name in files}
    for name in names:
        assert open_store(s3).read(join(s3, "out", name)) == (tmp_path / "out" / name).read_bytes()
    with pytest.raises(ArchiveError, match="name another folder"):
        regrow(f"{s3}/a", f"{s3}/photos/out")
