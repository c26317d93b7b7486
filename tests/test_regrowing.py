"""From rows to files of reconstructions: what is damaged fails alone."""

import numpy as np
import pytest

from ops.archive.rows import ImageRow
from ops.codecs.base import Payload, Runtime
from ops.codecs.names import codec_from
from ops.images import Failure, FailureCode
from ops.regrowing import PictureStyle, Regrower
from ops.thumbnails import encode_plane
from tests import makers

CODEC = codec_from("bicubic-x2").load(Runtime())
PIXELS = makers.noise(64, 48)
STYLE = PictureStyle(
    suffix="png", quality=None, metadata=False, archive="a", codec="bicubic-x2", codec_digest="d", generative=False,
    background="#ffffff",
)  # fmt: skip


def row(key: str, alpha: bytes | None) -> ImageRow:
    payload = CODEC.encode([PIXELS])[0]
    assert isinstance(payload, Payload)
    return ImageRow(
        key=key, generation=0, attempts=1, uri="file:///x", locator="", etag="", source_bytes=1, source_sha256="",
        thumbnail=payload.thumbnail, media_type=payload.media_type, width=64, height=48, alpha=alpha, status="ok",
    )  # fmt: skip


def damaged(plane: bytes) -> bytes:
    middle = len(plane) // 2
    return plane[:middle] + bytes([plane[middle] ^ 0xFF]) + plane[middle + 1 :]


@pytest.mark.parametrize(
    ("alpha", "said"),
    [
        (damaged(encode_plane(PIXELS[..., 0])), "the alpha plane cannot be decoded"),
        (encode_plane(PIXELS[:9, :7, 0]), "alpha (9, 7) and pixels (48, 64) of 'b' differ"),
        (b"no picture", "the alpha plane cannot be decoded"),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_damaged_alpha_plane_fails_its_own_image_alone(alpha, said, threads):
    runtime = Runtime(threads=threads)
    rows = [row("a", None), row("b", alpha), row("c", encode_plane(np.full((48, 64), 9, np.uint8)))]
    first, second, third = Regrower(CODEC, STYLE, runtime).pictures(rows)
    assert isinstance(first, bytes)
    assert isinstance(third, bytes)
    assert isinstance(second, Failure)
    assert second.code is FailureCode.CORRUPT
    assert said in second.message
