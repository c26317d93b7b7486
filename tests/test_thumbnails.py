"""Thumbnails as files: exact pixels, the same bytes every time, marks that survive and damage that is named."""

import contextlib
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ops import thumbnails
from ops.images import FailureCode, ImageError
from ops.marks import (
    MarkError,
    ReconstructionMark,
    ThumbnailMark,
    check_pixels,
    pixels_digest,
    read_mark,
    write_mark,
    write_reconstruction_mark,
)
from ops.thumbnails import (
    WEBP_SIDE,
    decode_plane,
    decode_thumbnail,
    embedded_xmp,
    encode_lossless,
    encode_plane,
    save_image,
)

NOISE = np.random.default_rng(1).integers(0, 256, (37, 53, 3), np.uint8)
MARK = ThumbnailMark(
    width=848, height=592, scale=16, codec="bicubic-x16", digest="ab" * 32, pixels=pixels_digest(NOISE)
)
R = "{urn:regrow:1#}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
every_type = pytest.mark.parametrize("media_type", ["image/webp", "image/png", "image/jxl"])


@every_type
def test_pixels_come_back_exactly_and_bytes_are_the_same_each_time(media_type):
    encoded, said = encode_lossless(NOISE, media_type, write_mark(MARK))
    assert said == media_type
    assert encode_lossless(NOISE.copy(), media_type, write_mark(MARK))[0] == encoded
    assert np.array_equal(decode_thumbnail(encoded), NOISE)


@every_type
def test_the_mark_comes_back_and_fits_its_pixels(media_type):
    encoded, _ = encode_lossless(NOISE, media_type, write_mark(MARK))
    assert read_mark(encoded) == MARK
    check_pixels(MARK, decode_thumbnail(encoded))


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "AVIF"])
def test_a_mark_copied_into_a_lossy_file_is_read_and_its_loss_noticed(file_format):
    encoded = save_image(Image.fromarray(NOISE), file_format, quality=80, xmp=write_mark(MARK))
    assert read_mark(encoded) == MARK
    with pytest.raises(MarkError, match="resaved with loss"):
        check_pixels(read_mark(encoded), decode_thumbnail(encoded))


def test_pixels_of_another_shape_with_the_same_bytes_are_noticed():
    with pytest.raises(MarkError):
        check_pixels(MARK, NOISE.reshape(53, 37, 3))


def test_auto_is_webp_and_beyond_its_limit_png():
    assert encode_lossless(NOISE, "auto", b"")[1] == "image/webp"
    widest, wider = (np.full((1, width, 3), 9, np.uint8) for width in (WEBP_SIDE, WEBP_SIDE + 1))
    assert encode_lossless(widest, "auto", b"")[1] == "image/webp"
    encoded, said = encode_lossless(wider, "auto", b"")
    assert said == "image/png"
    assert np.array_equal(decode_thumbnail(encoded), wider)
    with pytest.raises(ImageError, match="beyond WebP's 16383") as error:
        encode_lossless(wider, "image/webp", b"")
    assert error.value.failure.code is FailureCode.REFUSED


@pytest.mark.parametrize("plane", [NOISE[:, :, 0], np.zeros((1, 20_000), np.uint8), np.full((3, 1), 255, np.uint8)])
def test_alpha_planes_come_back_exactly(plane):
    assert np.array_equal(decode_plane(encode_plane(plane)), plane)


def test_a_picture_beyond_the_usual_limit_is_decoded_where_its_size_is_known(monkeypatch):
    """An archive that admits larger images than by default must be able to grow them again."""
    monkeypatch.setattr(thumbnails, "PICTURE_PIXELS", 1000)
    pixels = np.zeros((40, 50, 3), np.uint8)
    for encoded in (encode_lossless(pixels, kind, b"")[0] for kind in ("image/png", "image/webp")):
        assert decode_thumbnail(encoded, (50, 40)).shape == (40, 50, 3)
        with pytest.raises(ImageError, match="50x40 is beyond 1000 pixels"):
            decode_thumbnail(encoded)


def test_a_mark_is_short_and_any_xml_reader_reads_it():
    xmp = write_mark(MARK)
    assert len(xmp) < 500
    (description,) = ElementTree.fromstring(xmp).iter(RDF + "Description")
    assert description.get(R + "width") == "848"
    assert description.get(R + "codec") == "bicubic-x16"


def test_a_mark_that_other_software_rewrote_as_elements_is_read():
    fields = "".join(f"<q:{n}>{getattr(MARK, n)}</q:{n}>\n" for n in MARK.__struct_fields__)
    xmp = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:q="urn:regrow:1#">{fields}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()
    assert read_mark(encode_lossless(NOISE, "image/webp", xmp)[0]) == MARK


@pytest.mark.parametrize(
    ("xmp", "said"),
    [
        (b"", "carries no mark.*from its archive"),
        (b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>", "carries no mark"),
        (b"<broken", "damaged.*from its archive"),
        (write_mark(MARK).replace(b'"848"', b'"many"'), "damaged.*many"),
        (write_mark(MARK).replace(b'"848"', b'"-1"'), "damaged.*-1"),
        (write_mark(MARK).replace(b"r:codec", b"r:other"), "damaged.*codec"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "DOCTYPE"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'.encode("utf-16"), "DOCTYPE"),
    ],
)
def test_a_missing_or_damaged_mark_is_named(xmp, said):
    encoded = save_image(Image.fromarray(NOISE), "WEBP", xmp=xmp)
    with pytest.raises(MarkError, match=said):
        read_mark(encoded)


@pytest.mark.parametrize(
    "encoded", [b"", b"no picture at all", b"\xff\xd8\xff", b"RIFF\x00\x00\x00\x00WEBP", b"\xff\x0a"]
)
def test_what_is_no_picture_is_named(encoded):
    with pytest.raises(MarkError):
        read_mark(encoded)
    with pytest.raises(ImageError):
        decode_thumbnail(encoded)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["image/webp", "image/png", "image/jxl"]), st.data())
def test_damage_raises_only_named_errors(media_type, data):
    encoded = bytearray(encode_lossless(NOISE, media_type, write_mark(MARK))[0])
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(encoded[: data.draw(st.integers(0, len(encoded)))])
    for use, error in ((decode_thumbnail, ImageError), (read_mark, MarkError), (embedded_xmp, ImageError)):
        with contextlib.suppress(error):
            use(damaged)


def reconstruction_mark(**changes) -> ReconstructionMark:
    facts = {
        "archive": "s3://b/a", "key": "a.jpg", "thumbnail": "1e" * 32, "codec": "nano-x16", "digest": "0f" * 32,
        "generative": True,
    }  # fmt: skip
    return ReconstructionMark(**{**facts, **changes})


@pytest.mark.parametrize(
    ("generative", "said"), [(True, "compositeWithTrainedAlgorithmicMedia"), (False, "algorithmicallyEnhanced")]
)
def test_a_reconstruction_says_what_kind_of_source_it_is(generative, said):
    xmp = write_reconstruction_mark(reconstruction_mark(generative=generative))
    with Image.open(io.BytesIO(save_image(Image.fromarray(NOISE), "JPEG", xmp=xmp))) as image:
        tree = ElementTree.fromstring(image.info["xmp"])
    (description,) = tree.iter(RDF + "Description")
    assert (
        description.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
        == f"http://cv.iptc.org/newscodes/digitalsourcetype/{said}"
    )
    derived = description.find("{http://ns.adobe.com/xap/1.0/mm/}DerivedFrom")
    assert derived is not None
    assert derived.findtext("{http://ns.adobe.com/xap/1.0/sType/ResourceRef#}filePath") == "a.jpg"


@settings(max_examples=50, deadline=None)
@given(st.text(), st.dictionaries(st.text(), st.text(), max_size=3))
def test_keys_in_any_script_and_facts_of_any_kind_stay_well_formed(key, facts):
    facts = {"Make": "A&B <\x00>", **facts}
    tree = ElementTree.fromstring(write_reconstruction_mark(reconstruction_mark(key=key, derived_from=facts)))
    names = [element.text or "" for element in tree.iter(R + "name")]
    assert len(names) == len(facts)
    (make,) = [entry.findtext(R + "value") for entry in tree.iter() if entry.findtext(R + "name") == "Make"]
    assert facts["Make"].replace("\x00", "\ufffd") == make


def test_a_key_comes_back_as_it_is():
    key = "写真/été \"'&<>.jpg"
    tree = ElementTree.fromstring(write_reconstruction_mark(reconstruction_mark(key=key)))
    (description,) = tree.iter(RDF + "Description")
    assert description.get(R + "key") == key
