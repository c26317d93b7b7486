"""Escrow: what regrows an archive travels with it. Settings, weights, and a golden tile as this machine regrew it."""

import io
from base64 import b64encode
from collections.abc import Iterator

import msgspec
import numpy as np
from PIL import Image

from ops.archive.escrowed_weights import put_weights
from ops.archive.layout import ArchiveDocument, ArchiveError, Location
from ops.archive.rows import SUFFIXES
from ops.codecs.base import Codec
from ops.codecs.names import AnyCodec, codec_from
from ops.here import device_words, stack_words
from ops.images import Failure, Pixels
from ops.weights.codec_files import CodecWeights

TILE = 256
CONFIG = "config.json"
GOLDEN = "golden/0"
LAST_OF_ESCROW = f"{GOLDEN}.reconstruction.png"


def codec_of(document: ArchiveDocument, url: str) -> AnyCodec:
    """Return the codec that an archive was made with. Raises ArchiveError where this regrow's is another one."""
    codec = codec_from(document.codec)
    if codec.digest() != document.codec_digest:
        raise ArchiveError(
            f"{url} was made with {document.codec_name} of digest {document.codec_digest[:12]}; this regrow's is "
            f"{codec.digest()[:12]}: use the version that made it ({document.made_by})"
        )
    return codec


def write_escrow(
    location: Location,
    document: ArchiveDocument,
    codec: Codec,
    weights: CodecWeights | None = None,
    device: str = "cpu",
) -> None:
    """Put the codec's settings and weights, and the golden tile before, inside and after it; what is there stays.

    `device` is the one that the codec runs on here.
    """
    if weights is not None:
        put_weights(location, document, weights)
    for name, content in _escrow(document, codec, device):
        location.store.put_new(location.at("codec", name), content)


def golden_tile() -> Pixels:
    """Return a made-up picture of (256, 256, 3) with ramps, edges, a fine grating and noise: the same everywhere.

    It is computed in whole numbers, since the last bit of a sine differs between machines.
    """
    y, x = np.mgrid[0:TILE, 0:TILE].astype(np.int64)
    ramp = np.stack([x, y, 255 - (x + y) // 2], axis=-1)
    disc = ((x - 90) ** 2 + (y - 100) ** 2 < 60**2)[..., np.newaxis]
    grating = (((x * x + y * y) // 97) % 2 * 80 + 80)[..., np.newaxis]
    noise = ((x * 7919 + y * 104729 + (x * y) % 8191 * 31) % 64)[..., np.newaxis]
    picture = np.where(disc, 255 - ramp, ramp)
    picture = np.where((x > 150)[..., np.newaxis] & (y > 150)[..., np.newaxis], grating, picture)
    return np.clip(picture + np.where((y < 60)[..., np.newaxis], noise - 32, 0), 0, 255).astype(np.uint8)


def _escrow(document: ArchiveDocument, codec: Codec, device: str) -> Iterator[tuple[str, bytes]]:
    ran = {"device": device_words(device), "stack": stack_words(codec_from(document.codec))}
    settings = {"codec": document.codec, "digest": document.codec_digest, **ran}
    yield CONFIG, msgspec.json.format(msgspec.json.encode(settings), indent=2)
    tile = golden_tile()
    payload = codec.encode([tile])[0]
    if isinstance(payload, Failure):
        raise ArchiveError(f"{document.codec_name} cannot encode a picture of {TILE} pixels a side: {payload.message}")
    yield f"{GOLDEN}.source.png", _png(tile)
    yield f"{GOLDEN}.thumbnail.{SUFFIXES[payload.media_type]}", payload.thumbnail
    if payload.extras:
        kept = {name: b64encode(content).decode() for name, content in payload.extras.items()}
        yield f"{GOLDEN}.extras.json", msgspec.json.encode(kept)
    yield LAST_OF_ESCROW, _png(codec.decode([payload])[0])


def _png(pixels: Pixels) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()
