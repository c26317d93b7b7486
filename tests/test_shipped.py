"""The weights that come with regrow: trained, small, described, found without a word, and good at what they are for."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regrow as rg
from ops.codecs.binding import bind
from ops.codecs.names import DEFAULT_CODEC, codec_from
from ops.training.judging import scores_of
from ops.weights.codec_files import SHIPPED, shipped

SAMPLES = Path(__file__).parent.parent / "photos" / "samples"
FOUND = {f"{one.settings['name']}-x{one.settings['scale']}": one for one in shipped()}


@pytest.fixture(scope="module")
def photographs():
    """The middles, 384 pixels square, of two sample photographs at half size; none of them was trained on."""
    middles = []
    for name in ("krank-level-06.jpg", "krank-level-14.jpg"):
        with Image.open(SAMPLES / name) as opened:
            half = opened.convert("RGB").reduce(2)
        left, top = (half.width - 384) // 2, (half.height - 384) // 2
        middles.append(np.asarray(half.crop((left, top, left + 384, top + 384))))
    return middles


def test_the_default_codec_has_weights_that_come_with_regrow():
    assert DEFAULT_CODEC in FOUND
    assert bind(codec_from(DEFAULT_CODEC)).weights_digest() == FOUND[DEFAULT_CODEC].digest


@pytest.mark.parametrize("spelling", FOUND)
def test_they_are_trained_may_travel_with_an_archive_and_fit_into_16_mebibytes(spelling):
    found = FOUND[spelling]
    assert found.trained
    assert found.redistribution
    assert found.licence == "Apache-2.0"
    assert found.size_bytes == Path(found.url).stat().st_size <= 16 * 2**20


@pytest.mark.parametrize("spelling", FOUND)
def test_a_card_beside_them_says_what_they_are_and_names_no_photograph_that_is_for_measuring(spelling):
    card = (SHIPPED / f"{spelling}.md").read_text("utf-8")
    assert f"`{FOUND[spelling].digest}`" in card
    assert "fine detail is invented" in card
    photographs = re.findall(r"^\| (\S+\.\w+) \|", card, re.MULTILINE)
    assert len(photographs) > 70
    assert {name.partition("-")[0] for name in photographs} == {"krank", "lomiri", "lxqt", "mate", "plasma"}
    assert not {path.name for path in SAMPLES.glob("*.jpg")} & set(photographs)


@pytest.mark.parametrize("spelling", FOUND)
def test_they_regrow_photographs_better_than_interpolation_does(spelling, photographs):
    codec, bicubic = rg.load_codec(spelling), rg.load_codec(spelling.replace("nano", "bicubic"))
    payloads, plain = codec.encode(photographs), bicubic.encode(photographs)
    found = scores_of(list(zip(photographs, codec.decode(payloads), strict=True)), "cpu")
    interpolated = scores_of(list(zip(photographs, bicubic.decode(plain), strict=True)), "cpu")
    assert np.mean(found["psnr"]) > np.mean(interpolated["psnr"]) + 0.5
    for column in ("lpips_alex", "lpips_vgg", "dists"):  # less is better
        assert np.mean(found[column]) < 0.85 * np.mean(interpolated[column])
    for payload, small in zip(payloads, plain, strict=True):
        thumbnails = [np.asarray(Image.open(BytesIO(one.thumbnail)).convert("RGB")) for one in (payload, small)]
        assert rg.psnr(*thumbnails) > 30
