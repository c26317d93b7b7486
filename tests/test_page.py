"""The page as a browser would take it apart: real pictures, hostile keys, honest words."""

import base64
import io
import math
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from jobs.page import (
    PageImage,
    PageThumbnail,
    PageTotals,
    contact_sheet,
    data_uri,
    picture_url,
    render_page,
    size_words,
)

HOSTILE = [
    "<script>alert(1)</script>.jpg",
    '"><img src=x onerror=alert(1)>.jpg',
    "' onload='alert(1)",
    "</title></style><b>.jpg",
    "a&amp;b&lt;.jpg",
    "\u202egpj.jpg",
    "شعاب/سمكة 🐠.jpg",
]
TOTALS = PageTotals(images=3, failures=0, original_pixels=6_000_000, source_bytes=3_000_000, thumbnail_bytes=30_000)


class Reader(HTMLParser):
    """Collects tags with attributes, and the text of headings."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        for tag in set(self._open):
            self.text.setdefault(tag, []).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def png(width=8, height=6, colour=(20, 90, 160)):
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def page_image(key="reef/turtle.jpg", **changes):
    thumbnail = png()
    fields = {
        "key": key,
        "width": 128,
        "height": 96,
        "original_url": data_uri(png(128, 96), "image/png"),
        "thumbnail": thumbnail,
        "thumbnail_media_type": "image/png",
        "thumbnail_width": 8,
        "thumbnail_height": 6,
        "reconstruction_url": "regrown/turtle.png",
        "source_bytes": 12_345,
        "psnr": 27.256,
        "ssim": 0.81249,
    }
    return PageImage(**(fields | changes))


def page(*images, generative=True, totals=TOTALS, **more):
    return render_page("Six photographs", "nano-x16", generative, images, totals, **more)


@pytest.mark.parametrize("key", HOSTILE)
def test_any_key_is_shown_as_it_is_and_adds_no_tag(key):
    hostile, tame = Reader(page(page_image(key), facts={key: key})), Reader(page(page_image(), facts={"a": "b"}))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in tame.tags]
    assert "".join(hostile.text["h2"]) == key
    assert key in hostile.text["td"]
    assert any(image["alt"] == f"original of {key}" for image in hostile.all("img"))
    assert not any(name.startswith("on") for _, attributes in hostile.tags for name in attributes)


def test_a_hostile_title_and_codec_stay_text():
    reader = Reader(render_page("</title><script>x", "<b>", True, [], TOTALS))
    assert "".join(reader.text["title"]) == "</title><script>x"
    assert len(reader.all("script")) == 1
    assert not reader.all("b")


def test_control_characters_of_keys_are_made_visible():
    assert "".join(Reader(page(page_image("a\x00b\nc.jpg"))).text["h2"]) == "a\u2400b\u240ac.jpg"


def test_each_image_shows_original_thumbnail_twice_and_reconstruction():
    reader = Reader(page(page_image()))
    images = reader.all("img")
    assert [image["alt"] for image in images] == [
        "original of reef/turtle.jpg",
        "thumbnail of reef/turtle.jpg",
        "reconstruction of reef/turtle.jpg",
        "",
    ]
    assert images[1]["class"] == "enlarged"
    assert (images[3]["width"], images[3]["height"]) == ("8", "6")
    for image in images[0], images[1], images[3]:
        Image.open(io.BytesIO(base64.b64decode(str(image["src"]).partition(",")[2]))).verify()
    assert images[2]["src"] == "regrown/turtle.png"


def test_the_facts_of_an_image_stand_beside_it():
    facts = "".join(Reader(page(page_image(thumbnail=png() + b"\0" * (1536 - len(png()))))).text["li"])
    for words in "128 x 96 pixels", "source 12.3 kB", "thumbnail 1.54 kB", "PSNR 27.26 dB", "SSIM 0.812":
        assert words in facts
    assert "1.0000 bits per pixel" in facts  # 1536 bytes on 128 x 96 pixels


def test_unknown_scores_are_left_out_and_an_exact_one_is_called_infinite():
    unknown = "".join(Reader(page(page_image(psnr=None, ssim=None))).text["li"])
    assert "PSNR" not in unknown
    assert "SSIM" not in unknown
    assert "PSNR infinite" in "".join(Reader(page(page_image(psnr=math.inf))).text["li"])


def test_the_honest_words_follow_the_codec():
    invented, interpolated = page(page_image()), page(page_image(), generative=False)
    assert "Lossy and generative: fine detail is invented" in invented
    assert "Reconstruction, fine detail invented" in invented
    assert "Lossy: interpolated, nothing invented" in interpolated
    assert "detail invented" not in interpolated
    assert "detail is invented" not in interpolated


def test_an_original_that_is_gone_is_said_to_be_and_cannot_be_compared():
    reader = Reader(page(page_image(original_url=None)))
    assert "not available" in reader.text["div"]
    assert not reader.all("input")


def test_totals_are_of_the_archive_and_say_how_many_are_shown():
    totals = PageTotals(
        images=50, failures=2, original_pixels=10**9, source_bytes=10**9, thumbnail_bytes=10**7, escrow_bytes=16_600_000
    )
    reader = Reader(page(page_image(), totals=totals))
    rows = dict(zip(reader.text["th"], reader.text["td"], strict=True))
    assert rows["Images"] == "50"
    assert rows["Failures"] == "2"
    assert rows["Smaller by"] == "100.0 times"
    assert rows["Bits per pixel"] == "0.0800"  # escrow is not counted
    assert rows["Escrow (decoder, kept once)"] == "16.6 MB"
    assert "1 of 50 images are shown" in "".join(reader.text["footer"])


def test_an_empty_archive_has_a_page():
    totals = PageTotals(images=0, failures=0, original_pixels=0, source_bytes=0, thumbnail_bytes=0)
    assert Reader(page(totals=totals)).all("article") == []


def test_the_page_asks_nothing_of_the_network():
    document = page(page_image())
    for outside in "http://", "https://", "//fonts", "@import", "<link":
        assert outside not in document


def test_small_pictures_are_inlined_and_large_ones_linked(tmp_path: Path):
    picture = tmp_path / "regrown" / "a #1%?é.png"
    picture.parent.mkdir()
    picture.write_bytes(png())
    page_file = tmp_path / "index.html"
    assert picture_url(picture, page_file, "image/png") == data_uri(png(), "image/png")
    link = picture_url(picture, page_file, "image/png", inline_below=10)
    assert link == "regrown/a%20%231%25%3F%C3%A9.png"
    assert f'<a href="{link}">' in page(page_image(reconstruction_url=link))


def test_a_large_picture_outside_the_folder_of_the_page_is_refused(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(ValueError, match=r"a\.png lies outside .*site, .* copy it there"):
        picture_url(tmp_path / "a.png", tmp_path / "site" / "index.html", "image/png", inline_below=10)


@pytest.mark.parametrize(
    ("num_bytes", "words"),
    [(0, "0 B"), (999, "999 B"), (1_750_602, "1.75 MB"), (999_499, "999 kB"), (999_999, "1 MB"), (10**16, "10 PB")],
)
def test_sizes_read_well(num_bytes, words):
    assert size_words(num_bytes) == words


@pytest.mark.parametrize("key", HOSTILE)
def test_a_contact_sheet_shows_thumbnails_and_how_many_more(key):
    fields = ("width", "height", "thumbnail", "thumbnail_media_type", "thumbnail_width", "thumbnail_height")
    whole = page_image(key)
    reader = Reader(contact_sheet([PageThumbnail(key=key, **{f: getattr(whole, f) for f in fields})], more=1234))
    assert [image["alt"] for image in reader.all("img")] == [key]
    assert {tag for tag, _ in reader.tags} == {"div", "figure", "img", "figcaption", "bdi", "span"}
    assert "".join(reader.text["bdi"]) == key
    assert "and 1,234 more" in reader.text["div"]
    assert "more" not in contact_sheet([whole], more=0)
