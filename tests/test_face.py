"""`import regrow as rg`: what a user sees who opens, looks at, selects and regrows."""

# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false, reportArgumentType=false
# What is missing fails the test where it is used.

import doctest
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regrow as rg
from ops.codecs.names import codec_from
from ops.stores import open_store
from tests import makers
from tests.archives import failed, make_archive, small_images

IMAGES = {**small_images(), "bad.jpg": b"nothing", "gone.jpg": failed(message="gone <b>away</b>")}
OPAQUE, CLEAR = "jpg/000é.jpg", "png/002.png"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("face") / "a.regrow", IMAGES, chunk_images=3).url


@pytest.fixture
def archive(url):
    return rg.open(url)


def test_an_archive_holds_images_by_their_keys(archive):
    assert len(archive) == 8
    assert list(archive) == sorted(IMAGES, key=str.encode)
    assert OPAQUE in archive
    assert "no.jpg" not in archive
    assert 3 not in archive
    assert [archive[key].key for key in archive] == list(archive)


def test_one_line_says_what_it_is(archive, url):
    said = repr(archive)
    assert said.startswith(f"<Archive {url}: 8 images (2 failed), bicubic-x4, ")
    assert "\n" not in said
    assert repr(archive[OPAQUE]) == "<ArchivedImage 'jpg/000é.jpg' 48x32>"
    assert repr(archive["bad.jpg"]) == "<ArchivedImage 'bad.jpg' failed: not_an_image>"
    assert repr(archive.select(match="jpg/*")) == f"<Selection of {url}: match='jpg/*'>"


def test_an_image_has_its_thumbnail_and_facts(archive):
    image = archive[OPAQUE]
    assert (image.width, image.height, image.media_type) == (48, 32, "image/webp")
    assert image.thumbnail.size == (12, 8)
    assert Image.open(io.BytesIO(image.thumbnail_bytes)).format == "WEBP"
    assert image.facts.format == "JPEG"
    assert image.facts.source_bytes == image.source_bytes == len(IMAGES[OPAQUE])
    assert Image.open(io.BytesIO(image._repr_png_())).size == (12, 8)


def test_a_reconstruction_is_what_the_codec_makes_and_a_region_is_its_crop(archive):
    whole = archive[OPAQUE].reconstruct()
    codec = rg.load_codec("bicubic-x4")
    [payload] = codec.encode([rg.decode(IMAGES[OPAQUE])])
    assert np.array_equal(np.asarray(whole), codec.decode([payload])[0])
    box = (5, 7, 40, 30)
    assert archive[OPAQUE].reconstruct(region=box).tobytes() == whole.crop(box).tobytes()
    with pytest.raises(ValueError, match=r"region \(0, 0, 50, 50\) is not inside 48x32"):
        archive[OPAQUE].reconstruct(region=(0, 0, 50, 50))


def test_transparency_comes_back_as_it_was(archive):
    original = Image.open(io.BytesIO(IMAGES[CLEAR]))
    whole = archive[CLEAR].reconstruct()
    assert whole.mode == "RGBA"
    assert whole.getchannel("A").tobytes() == original.getchannel("A").tobytes()
    box = (3, 4, 20, 21)
    assert archive[CLEAR].reconstruct(box).tobytes() == whole.crop(box).tobytes()


def test_a_wrong_key_is_told_with_those_that_were_meant(archive):
    with pytest.raises(KeyError) as missing:
        archive["000é.jpg"]
    assert str(missing.value) == f"{archive.url} has no key '000é.jpg': did you mean 'jpg/000é.jpg'?"
    with pytest.raises(KeyError, match="iterate over the archive"):
        archive["quite something else"]


def test_selections_hold_every_condition_and_are_looked_up_when_used(archive):
    assert [image.key for image in archive.select(where="height > 34", match="jpg/*")] == [
        "jpg/003é.jpg", "jpg/004é.jpg"
    ]  # fmt: skip
    chosen = archive.select(keys=[CLEAR, OPAQUE])
    assert [image.key for image in chosen] == [OPAQUE, CLEAR]
    assert len(chosen) == 2
    assert chosen.to_arrow().column("width").to_pylist() == [48, 42]
    assert archive.to_arrow().num_rows == 8
    lazy = archive.select(where="nonsense >")
    with pytest.raises(rg.ArchiveError, match="--where 'nonsense >'"):
        list(lazy)


def test_failures_say_why(archive):
    told = {image.key: (image.status, image.facts.message) for image in archive.failures()}
    assert told["gone.jpg"] == ("unreadable", "gone <b>away</b>")
    assert set(told) == {"bad.jpg", "gone.jpg"}
    with pytest.raises(rg.ArchiveError, match=r"'bad\.jpg' has no thumbnail"):
        archive["bad.jpg"].reconstruct()
    with pytest.raises(rg.ArchiveError, match=r"'bad\.jpg' has no thumbnail"):
        _ = archive["bad.jpg"].thumbnail
    assert archive["bad.jpg"]._repr_png_() is None
    assert "gone &lt;b&gt;away&lt;/b&gt;" in archive.failures()._repr_html_()


def test_a_notebook_shows_a_contact_sheet(archive, tmp_path):
    html = archive._repr_html_()
    assert html.count("<img") == 6
    assert OPAQUE in html
    assert "8 images (2 failed)" in html
    assert "Lossy" in html
    many = {f"{at:02d}": makers.encode(makers.photo(seed=at), "JPEG") for at in range(30)}
    sheet = rg.open(make_archive(tmp_path / "many", many).url)
    for shown in (sheet._repr_html_(), sheet.select()._repr_html_()):
        assert shown.count("<img") == 24
        assert "and 6 more" in shown


def test_where_there_is_no_archive_the_message_helps(tmp_path):
    with pytest.raises(rg.ArchiveError, match=r"no archive \(it has no archive.json\)"):
        rg.open(tmp_path / "nothing")
    with pytest.raises(rg.ArchiveError, match="not sealed yet"):
        rg.open(make_archive(tmp_path / "a", sealed=False).url)


def test_an_archive_that_was_deleted_and_made_again_opens_as_it_is_now(tmp_path):
    make_archive(tmp_path / "a", {f"{at}": makers.encode(makers.photo(seed=at), "JPEG") for at in range(9)})
    assert rg.open(tmp_path / "a")["3"].facts.generation == 0
    shutil.rmtree(tmp_path / "a")
    make_archive(tmp_path / "a", {"other": makers.encode(makers.photo(seed=77), "PNG")})
    again = rg.open(tmp_path / "a")
    assert list(again) == ["other"]
    assert again["other"].facts.format == "PNG"


def test_an_archive_that_was_made_again_with_another_codec_opens_as_it_is_now(tmp_path):
    image = {"a": makers.encode(makers.photo(), "PNG")}
    for codec, media_type in (("bicubic-x4", "image/webp"), ("jpeg-q50", "image/jpeg")):
        make_archive(tmp_path / "a", image, codec=codec)
        opened = rg.open(tmp_path / "a")
        assert opened["a"].facts.media_type == media_type
        assert opened["a"].reconstruct().size == makers.photo().shape[1::-1]
        shutil.rmtree(tmp_path / "a")


def test_an_archive_of_another_codec_version_is_refused(tmp_path, monkeypatch):
    location = make_archive(tmp_path / "a")
    digest = codec_from("bicubic-x4").digest()
    content = location.store.read(location.at("archive.json")).replace(digest.encode(), b"0" * 64)
    location.store.put(location.at("archive.json"), content)
    opened = rg.open(tmp_path / "a")
    assert opened[OPAQUE].thumbnail.size == (12, 8)
    with pytest.raises(rg.ArchiveError, match="was made with bicubic-x4 of digest 000000000000"):
        opened[OPAQUE].reconstruct()


def test_images_are_decoded_from_paths_urls_and_bytes(tmp_path):
    content = makers.encode(makers.photo(), "PNG")
    (tmp_path / "a.png").write_bytes(content)
    open_store("memory://face").put("memory://face/a.png", content)
    for given in (content, tmp_path / "a.png", str(tmp_path / "a.png"), "memory://face/a.png"):
        assert np.array_equal(rg.decode(given), makers.photo())
    with pytest.raises(rg.ImageError, match="not_an_image"):
        rg.decode(b"nothing")
    with pytest.raises(FileNotFoundError):
        rg.decode(tmp_path / "missing.png")


def test_scores_take_arrays_and_pictures(archive):
    reference = rg.decode(IMAGES[OPAQUE])
    grown = archive[OPAQUE].reconstruct()
    assert rg.psnr(reference, grown) == rg.psnr(reference, np.asarray(grown)) > 20
    assert 0.5 < rg.ssim(Image.fromarray(reference), grown) < 1
    clear = rg.decode(IMAGES[CLEAR])
    assert rg.psnr(clear, Image.open(io.BytesIO(IMAGES[CLEAR]))) > 45


def test_the_examples_in_the_documentation_run():
    found = doctest.testmod(rg, raise_on_error=True)
    assert found.attempted >= 6


def test_a_wrong_codec_or_setting_is_named():
    with pytest.raises(ValueError, match="did you mean bicubic"):
        rg.load_codec("bicubik-x16")
    with pytest.raises(TypeError, match="thread"):
        rg.load_codec("bicubic-x16", thread=3)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_archiving_and_reconstructing_a_folder(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    for at in range(3):
        (tmp_path / "photos" / f"{at}.jpg").write_bytes(makers.encode(makers.photo(seed=at), "JPEG"))
    made = rg.archive(tmp_path / "photos", tmp_path / "a.regrow", "bicubic-x4", background="#000000")
    assert list(made) == ["0.jpg", "1.jpg", "2.jpg"]
    assert len(rg.archive(tmp_path / "photos", tmp_path / "a.regrow")) == 3
    (tmp_path / "photos" / "broken.tar").write_bytes(b"no tar at all" * 100)
    for _ in range(2):  # nothing new, each time
        with pytest.warns(UserWarning, match=r"1 problem while listing .*images may be missing: .*broken\.tar"):
            rg.archive(tmp_path / "photos", tmp_path / "a.regrow")
    with pytest.warns(UserWarning, match=r"1 problem while listing"):
        rg.archive(tmp_path / "photos", tmp_path / "b.regrow", "bicubic-x4")
    done = rg.reconstruct(tmp_path / "a.regrow", tmp_path / "out", match="[01].jpg")
    assert done.num_regrown == 2
    written = np.asarray(Image.open(tmp_path / "out" / "1.jpg.png"))
    assert np.array_equal(written, np.asarray(made["1.jpg"].reconstruct()))
