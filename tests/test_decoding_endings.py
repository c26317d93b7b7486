"""Files that are whole although bytes follow them or end in zeros, and those that are not."""

import struct

import numpy as np
import pytest
from PIL import Image

from ops.decoding import decode
from ops.images import FailureCode, ImageError
from tests import makers
from tests.makers import encode, noise, photo

BEHIND = {
    "newline": b"\n",
    "text": b"trailing text of another program",
    "zeros": bytes(4096),
    "many zeros": bytes(100_000),
}
FREE = struct.pack(">I", 8192) + b"free" + bytes(8184)


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("name", ["AVIF", "HEIF", "WEBP", "JPEG2000", "JPEG", "PNG"])
def test_bytes_behind_a_whole_file_do_not_cost_its_pixels(name, behind):
    whole = encode(noise(), name)
    assert np.array_equal(decode(whole + BEHIND[behind]).pixels, decode(whole).pixels)


@pytest.mark.parametrize("name", ["AVIF", "HEIF"])
def test_a_free_box_of_zeros_at_the_end_is_legal(name):
    whole = encode(photo(), name)
    assert np.array_equal(decode(whole + FREE).pixels, decode(whole).pixels)


@pytest.mark.parametrize("name", ["WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("metadata", [{"exif": makers.exif(1) + bytes(5000)}, {"xmp": b"<x/>" + bytes(5000)}])
def test_metadata_that_is_padded_with_zeros_does_not_cost_the_pixels(name, metadata):
    assert np.array_equal(decode(encode(photo(), name, **metadata)).pixels, decode(encode(photo(), name)).pixels)


@pytest.mark.parametrize("name", ["AVIF", "HEIF", "WEBP"])
@pytest.mark.parametrize("metadata", [{}, {"exif": makers.exif(6), "xmp": b"<x/>"}])
def test_a_file_that_was_cut_is_found_wherever_that_was(name, metadata):
    whole = encode(noise(), name, **metadata)
    for stop in range(20, len(whole), max(1, len(whole) // 300)):
        assert failure_of(whole[:stop]) == FailureCode.TRUNCATED, stop


@pytest.mark.parametrize("name", ["AVIF", "HEIF", "WEBP"])
def test_a_file_whose_end_was_never_written_is_found(name):
    whole = encode(noise(200, 150), name, **({} if name == "WEBP" else {"quality": 95}))
    assert len(whole) > 12_000
    for stop in range(20, len(whole) - 4200, max(1, len(whole) // 100)):
        assert failure_of(whole[:stop] + bytes(len(whole) - stop)) == FailureCode.TRUNCATED, stop


@pytest.mark.parametrize("name", ["AVIF", "WEBP"])
def test_the_first_picture_of_a_sequence_is_decoded_with_bytes_behind_it(name):
    first, second = Image.fromarray(photo()), Image.fromarray(photo(seed=1))
    whole = encode(first, name, save_all=True, append_images=[second])
    assert decode(whole + b"\n").frames == 2
    assert failure_of(whole[: len(whole) // 2]) == FailureCode.TRUNCATED


def failure_of(encoded: bytes) -> FailureCode:
    with pytest.raises(ImageError) as caught:
        decode(encoded)
    return caught.value.failure.code
