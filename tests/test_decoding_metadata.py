"""Which metadata is kept, and that no place survives where none may."""

import io

import pytest
from PIL import Image

from ops.decoding import decode, probe
from ops.decoding import exif as exif_block
from tests import makers
from tests.makers import encode, photo

PLACE = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf exif:GPSLatitude="52,31N"/></x:xmpmeta>'
NO_PLACE = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf xmp:Rating="5"/></x:xmpmeta>'


def tags_of(exif: bytes) -> Image.Exif:
    block = Image.Exif()
    block.load(exif)
    return block


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_and_profile_are_kept_by_default(name):
    exif = makers.exif(6, gps=True, make="Maker")
    decoded = decode(encode(photo(), name, exif=exif, icc_profile=makers.ADOBE_RGB))
    assert decoded.exif is not None
    assert tags_of(decoded.exif)[0x010F] == "Maker"
    assert tags_of(decoded.exif).get_ifd(0x8825)[2] == (52.0, 31.0, 12.0)
    assert decoded.icc == makers.ADOBE_RGB


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_no_location_keeps_the_camera_and_loses_the_place(name):
    encoded = encode(photo(), name, exif=makers.exif(6, gps=True, make="Maker"))
    decoded = decode(encoded, metadata="no-location")
    assert decoded.exif is not None
    tags = tags_of(decoded.exif)
    assert tags[0x010F] == "Maker"
    assert 0x8825 not in tags
    assert (52).to_bytes(4, "little") + (1).to_bytes(4, "little") not in decoded.exif
    assert (52).to_bytes(4, "big") + (1).to_bytes(4, "big") not in decoded.exif
    assert any("GPS" in choice for choice in decoded.choices)
    assert decoded.orientation == 6


def test_exif_without_a_place_is_left_as_it_is():
    encoded = encode(photo(), "JPEG", exif=makers.exif(3, make="Maker"))
    assert decode(encoded, metadata="no-location").exif == decode(encoded).exif


def test_broken_exif_is_dropped_where_it_could_hide_a_place():
    broken = b"Exif\0\0" + exif_block.block(makers.exif(6, gps=True, make="Maker"))[:-20]
    decoded = decode(makers.jpeg_with(0xE1, broken), metadata="no-location")
    assert decoded.exif is None
    assert any("could hide a location" in choice for choice in decoded.choices)


@pytest.mark.parametrize("xmp", [PLACE, PLACE.decode().encode("utf-16")])
def test_xmp_that_names_a_place_is_dropped_whole(xmp):
    encoded = encode(photo(), "WEBP", xmp=xmp)
    assert decode(encoded).xmp == xmp
    decoded = decode(encoded, metadata="no-location")
    assert decoded.xmp is None
    assert "XMP dropped: it names a place" in decoded.choices


def test_xmp_without_a_place_is_kept():
    assert decode(encode(photo(), "JPEG", xmp=NO_PLACE), metadata="no-location").xmp == NO_PLACE


def test_none_keeps_nothing_but_still_uses_orientation_and_profile():
    encoded = encode(photo(), "JPEG", exif=makers.exif(6, gps=True), icc_profile=makers.ADOBE_RGB, xmp=PLACE)
    bare, full = decode(encoded, metadata="none"), decode(encoded)
    assert (bare.exif, bare.icc, bare.xmp) == (None, None, None)
    assert bare.pixels.shape == (96, 64, 3)
    assert bare.pixels.tobytes() == full.pixels.tobytes()


def test_an_orientation_that_does_not_exist_is_ignored_and_said():
    decoded = decode(encode(photo(), "JPEG", exif=makers.exif(9)))
    assert (decoded.orientation, decoded.pixels.shape) == (1, (64, 96, 3))
    assert any("orientation 9" in choice for choice in decoded.choices)


def test_probe_reads_a_header_whose_pixels_are_missing():
    encoded = encode(photo(), "JPEG", exif=makers.exif(6))
    header = probe(encoded[: encoded.index(b"\xff\xda") + 20])
    assert (header.width, header.height, header.mode) == (64, 96, "RGB")


def test_a_jpeg_with_a_second_picture_is_its_first():
    file = io.BytesIO()
    Image.fromarray(photo()).save(file, "MPO", save_all=True, append_images=[Image.fromarray(photo(seed=1))])
    decoded = decode(file.getvalue())
    assert (decoded.format, decoded.frames) == ("JPEG", 2)
    assert decoded.pixels.tobytes() == decode(encode(photo(), "JPEG")).pixels.tobytes()
