"""Small codecs with random weights, made once: the classes of the real ones, with some hundred thousand numbers."""

import tempfile
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from ops.codecs.base import Runtime
from ops.codecs.latent import LatentCodec, LatentConfig
from ops.codecs.names import codec_from
from ops.weights.random_weights import make_random

_FOLDER = tempfile.TemporaryDirectory(prefix="regrow-weights-")


@cache
def small_weights(spelling: str, seed: int = 0, **networks: object) -> tuple[LatentConfig, str]:
    """Return a small codec's config, bound to random weights of a seed, and the file that they lie in.

    `nano` is small enough as it is.
    """
    name = spelling.partition("-")[0]
    size = {} if name == "nano" else {"size": "small"}
    config = codec_from({"name": name, "scale": _scale(spelling), **size, **networks})
    assert isinstance(config, LatentConfig)
    called = "-".join([spelling, str(seed), *(f"{name}={value}" for name, value in networks.items())])
    made = make_random(config, seed, url=str(Path(_FOLDER.name) / f"{called}.safetensors"))
    bound = config.bound(made.digest, made.settings)
    assert isinstance(bound, LatentConfig)
    return bound, made.url


def small_codec(
    spelling: str, seed: int = 0, networks: dict[str, object] | None = None, **passes: object
) -> LatentCodec:
    """Return a small codec; `networks` are settings that decide its tensors, `passes` those that do not."""
    config, url = small_weights(spelling, seed, **(networks or {}))
    return replace(config, precision="float32", **passes).load(Runtime(weights=(url,)))


def _scale(spelling: str) -> int:
    return int(spelling.rpartition("-x")[2])
