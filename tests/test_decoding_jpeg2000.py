"""JPEG 2000 of other depths than 8 bits, its boxes, and colours that Pillow does not read."""

import base64
import struct

import numpy as np
import pytest
from PIL import Image

from ops.decoding import decode
from ops.images import FailureCode, ImageError
from tests import makers
from tests.makers import encode, photo


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def with_header(encoded: bytes, *, colr: bytes | None = None, without: bytes = b"", more: bytes = b"") -> bytes:
    """Return a JP2 file with another colour box, without a box, or with more boxes in its header."""
    start = encoded.index(b"jp2h") - 4
    stop = start + int.from_bytes(encoded[start : start + 4], "big")
    kept, at = b"", start + 8
    while at < stop:
        size, kind = int.from_bytes(encoded[at : at + 4], "big"), encoded[at + 4 : at + 8]
        if kind != without:
            kept += box(b"colr", colr) if kind == b"colr" and colr is not None else encoded[at : at + size]
        at += size
    return encoded[:start] + box(b"jp2h", kept + more) + encoded[stop:]


def of_depth(stored: np.ndarray, depth: int, held: int = 8) -> bytes:
    """Return a lossless file that holds these numbers of `depth` bits: Pillow only writes `held` bits, 8 or 16."""
    moved = stored.astype(int) + (1 << (held - 1)) - (1 << (depth - 1))
    kind = np.uint16 if held == 16 else np.uint8
    return with_depth(encode(Image.fromarray(moved.astype(kind)), "JPEG2000", irreversible=False, mct=0), depth)


def with_depth(whole: bytes, depth: int) -> bytes:
    """Return a file that claims this many bits for each of its channels."""
    encoded = bytearray(whole)
    codestream, header = encoded.index(b"\xff\x4f\xff\x51"), encoded.index(b"ihdr")
    channels = int.from_bytes(encoded[codestream + 40 : codestream + 42], "big")
    encoded[codestream + 42 : codestream + 42 + 3 * channels : 3] = bytes([depth - 1] * channels)
    encoded[header + 14] = depth - 1
    return bytes(encoded)


@pytest.mark.parametrize("depth", [10, 12, 15, 16])
def test_gray_of_more_than_eight_bits_keeps_its_brightness(depth):
    white = (1 << depth) - 1
    stored = np.round(np.linspace(0, white, 96 * 64)).astype(int).reshape(64, 96)
    decoded = decode(of_depth(stored, depth, held=16))
    assert decoded.bit_depth == depth
    assert np.array_equal(decoded.pixels[..., 0], (stored * 255 + white // 2) // white)


@pytest.mark.parametrize("depth", [1, 2, 4, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_fewer_than_eight_bits_reach_white(depth, channels):
    white = (1 << depth) - 1
    stored = np.random.default_rng(0).integers(0, white + 1, (64, 96, channels))
    decoded = decode(of_depth(stored.squeeze(), depth))
    assert np.array_equal(decoded.pixels, np.broadcast_to((stored * 255 + white // 2) // white, (64, 96, 3)))


def test_alpha_of_four_bits_can_be_opaque():
    stored = np.random.default_rng(0).integers(0, 16, (64, 96, 4))
    stored[..., 3] = 15
    assert decode(of_depth(stored, 4)).alpha is None


# Half white, half (300, 30000, 65400) of 16 bit RGB, 8x4 pixels, with cyan at the upper right; lossless and lossy.
# Written by OpenJPEG 2.5.4, since Pillow writes no more than 8 bit.
DEEP = [
    "/0//UQAvAAAAAAAIAAAABAAAAAAAAAAAAAAACAAAAAQAAAAAAAAAAAADDwEBDwEBDwEB/1IADAAAAAEAAAQEAAH/XAAEQID/ZAAlAAFDcmVhdGVkIG"
    "J5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAACkAAH/k9/4kfgmbAXCZM4ncs4SASIwYeGVJ7nzaRc+bSLnzO4sWMlNUbuHVJ7nzO4sWMlN"
    "UbuHTu1ixkpqjdw6d2sWMlnedT/P/DC0E4xKa/5NHMnTHSvO85t3rqj6mK5t3rVU/IoQTEpOc5znOc5znOc5znOc5znPz/wweBQAW8R9mSIM7zm3fU"
    "Idd6N95t3rUpOc5znOc5znOf/Z",
    "/0//UQAvAAAAAAAIAAAABAAAAAAAAAAAAAAACAAAAAQAAAAAAAAAAAADDwEBDwEBDwEB/1IADQECAAEAAAQEAACI/1wABUKAAP9kACUAAUNyZWF0ZW"
    "QgYnkgT3BlbkpQRUcgdmVyc2lvbiAyLjUuNP+QAAoAAAAAAGsAAf+T38FYJmwFwmTOJ3LOEgEiMGHhlSe582kXPm0i58zuLFjJTVG7h1Se58zuLFjJ"
    "Tc/gaBOMSmv+TRzJ0x0rzvObd66o+piubd61VPyKz+weFABbxH2ZIgzvObd9Qh13/9k=",
]


@pytest.mark.parametrize("encoded", DEEP, ids=["lossless", "lossy"])
def test_white_above_eight_bits_stays_white_and_black_stays_black(encoded):
    pixels = decode(base64.b64decode(encoded)).pixels.astype(int)
    assert np.abs(pixels[:2, :4] - 255).max() <= 1
    assert np.abs(pixels[:2, 4:] - (0, 255, 255)).max() <= 1
    assert np.abs(pixels[2:] - (1, 117, 254)).max() <= 1


@pytest.mark.parametrize("lossy", [False, True])
def test_white_of_nine_bit_gray_stays_white(lossy):
    stored = np.round(np.linspace(0, 511, 96 * 64)).astype(int).reshape(64, 96)
    encoded = of_depth(stored, 9, held=16)
    if lossy:
        # Steps are said in relation to the depth: 16 bit that are called 9 become 128 times smaller.
        encoded = with_depth(
            encode(Image.fromarray((stored * 128).astype(np.uint16)), "JPEG2000", irreversible=True), 9
        )
    pixels = decode(encoded).pixels[..., 0].astype(int)
    assert np.abs(pixels - stored * 255 / 511).max() <= 2


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("wrong", [0, 1, 5, 200])
def test_a_wrong_length_of_the_codestream_box_does_not_cost_the_pixels(place, wrong):
    encoded = bytearray(encode(photo(), "JPEG2000"))
    encoded[encoded.index(b"jp2c") - 4 + place] = wrong
    assert np.array_equal(decode(bytes(encoded)).pixels, photo())


@pytest.mark.parametrize("method", [2, 3])
def test_a_profile_is_used_whether_restricted_or_any(method):
    head = bytes([method, 0, 0])
    profiled = with_header(encode(photo(), "JPEG2000"), colr=head + makers.ADOBE_RGB)
    decoded = decode(profiled)
    assert decoded.icc == makers.ADOBE_RGB
    assert np.array_equal(decoded.pixels, decode(encode(photo(), icc_profile=makers.ADOBE_RGB)).pixels)


def test_four_inks_are_not_taken_for_rgb_with_alpha():
    profile = bytearray(makers.ADOBE_RGB)
    profile[16:20] = b"CMYK"
    inks = with_header(encode(photo(channels=4), "JPEG2000"), colr=b"\2\0\0" + bytes(profile), without=b"cdef")
    with pytest.raises(ImageError, match=r"four inks \(CMYK\).*save it as TIFF") as caught:
        decode(inks)
    assert caught.value.failure.code == FailureCode.UNSUPPORTED


@pytest.mark.parametrize(
    "change",
    [
        {"more": box(b"res ", box(b"resc", b"\0\1"))},
        {"more": box(b"res ", b"\0\0\0\xffresc")},
        {"colr": b"\2\0\0ab"},
        {"colr": b"\1"},
    ],
)
def test_broken_boxes_about_the_picture_do_not_cost_its_pixels(change):
    decoded = decode(with_header(encode(photo(), "JPEG2000"), **change))
    assert np.array_equal(decoded.pixels, photo())
    assert any(choice.startswith("broken metadata ignored: resolution") for choice in decoded.choices)
