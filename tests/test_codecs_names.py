"""How codecs are spelled, what is said to a wrong spelling, and digests that must never move."""

import pytest
from msgspec import ValidationError

from ops.codecs.base import CodecConfig
from ops.codecs.bicubic import BicubicConfig
from ops.codecs.conventional import AvifConfig, JpegConfig, JxlConfig, WebpConfig
from ops.codecs.names import CodecError, codec_from, known_spellings, parse_codec

# An archive stands on these. A field added later must default to the old behaviour, which leaves them as they are.
GOLDEN = {
    "bicubic-x2": "75e4b586f9d2952e37a5ca7f0105e8f19f87758641798218098e384145da96a4",
    "bicubic-x16": "04a28711aa62f644183a2c23ae9f82d39b7eaf3797f27b14b291fde155033c68",
    "jpeg-q50": "448513ee77334334bc48b09e4e9dadad4b987c8a005ae8c2133b7d5a6c33a38c",
    "jpeg-q50-x4": "1d98abee2e6fe05a05e5e5ebdb8cf6009544d9566b9c63c55a8c94a9ccbaf834",
    "webp-q50": "39ed53159c88fecbcbd42317346d7fa2a1451376d816e1763f44c4ffc980f76b",
    "avif-q50": "b91ce1b323df93503132f40e4148a43b9cdc9aa859c63fdfc26583530e0d4a61",
    "jxl-q50": "f90361d0b36bdf6f90a5b3970acf11d5b84106ed4518dcda5e6c8ef27ec137c5",
}


@pytest.mark.parametrize(("spelling", "digest"), GOLDEN.items())
def test_the_digest_of_each_codec_is_what_it_always_was(spelling, digest):
    assert parse_codec(spelling).digest() == digest


def test_a_field_added_later_with_a_default_leaves_the_digest_alone():
    class Later(JpegConfig, tag="jpeg", frozen=True, kw_only=True):
        restart_interval: int = 0

    assert Later(quality=50).digest() == JpegConfig(quality=50).digest()
    assert Later(quality=50, restart_interval=8).digest() != JpegConfig(quality=50).digest()


def test_every_field_that_changes_bytes_changes_the_digest():
    configs: list[CodecConfig] = [
        JpegConfig(quality=50), JpegConfig(quality=51), JpegConfig(quality=50, scale=2),
        JpegConfig(quality=50, subsampling="4:4:4"), JpegConfig(quality=50, progressive=False),
        WebpConfig(quality=50), WebpConfig(quality=50, method=6), AvifConfig(quality=50),
        AvifConfig(quality=50, speed=4), JxlConfig(quality=50), BicubicConfig(scale=4),
        BicubicConfig(scale=4, thumbnail="image/png"),
    ]  # fmt: skip
    assert len({config.digest() for config in configs}) == len(configs)


@pytest.mark.parametrize("spelling", [*GOLDEN, "bicubic-x64", "jxl-q100-x64", "avif-q1-x8"])
def test_a_spelling_comes_back(spelling):
    assert parse_codec(spelling).spelling() == spelling


def test_spellings_forgive_case_spaces_and_a_scale_of_one():
    assert parse_codec(" Bicubic-X16 ") == BicubicConfig(scale=16)
    assert parse_codec("jpeg-q50-x1").spelling() == "jpeg-q50"


@pytest.mark.parametrize(
    ("spelling", "said"),
    [
        ("bicubc-x16", ["'bicubc-x16'", "did you mean bicubic?", "jpeg-qN[-xN]"]),
        ("zzz", ["no codec 'zzz'", "bicubic-xN (scale 2 to 64)"]),
        ("", ["no codec ''"]),
        ("bicubic-x65", ["scale 65", "2 to 64"]),
        ("bicubic-x1", ["scale 1", "2 to 64"]),
        ("jpeg-q0", ["quality 0", "1 to 100"]),
        ("bicubic", ["lacks its scale", "bicubic-xN"]),
        ("jpeg-x4", ["lacks its quality", "jpeg-qN[-xN]"]),
        ("bicubic-q4", ["'q4'", "bicubic-xN"]),
        ("bicubic-x4-x8", ["'x8'"]),
        ("bicubic-x", ["'x'"]),
        ("bicubic-x\u0664", ["not understood"]),
    ],
)
def test_a_wrong_spelling_is_told_what_would_be_right(spelling, said):
    with pytest.raises(CodecError) as error:
        parse_codec(spelling)
    assert all(words in str(error.value) for words in said), str(error.value)
    assert "\n" not in str(error.value)


def test_a_job_file_may_give_a_spelling_or_fields():
    assert codec_from("bicubic-x16") == codec_from({"name": "bicubic", "scale": 16}) == BicubicConfig(scale=16)
    assert codec_from({"name": "avif", "quality": 30, "speed": 9}) == AvifConfig(quality=30, speed=9)
    assert codec_from(BicubicConfig(scale=16)) == BicubicConfig(scale=16)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"name": "bicubic", "scale": 1}, "scale"),
        ({"name": "bicubic", "scale": 4, "sharp": True}, "sharp"),
        ({"name": "bicubi", "scale": 4}, "did you mean bicubic?"),
        ({"scale": 4}, "has no name"),
        (7, "has no name"),
    ],
)
def test_wrong_fields_are_named(value, said):
    with pytest.raises(CodecError, match=said.replace("?", r"\?")) as error:
        codec_from(value)
    assert not isinstance(error.value, ValidationError)


def test_known_spellings_are_one_per_codec():
    names = [spelling.split("-")[0].split("[")[0] for spelling in known_spellings()]
    assert names == ["bicubic", "jpeg", "webp", "avif", "jxl", "nano", "tadm", "osirdiff", "faitheir", "vae"]
