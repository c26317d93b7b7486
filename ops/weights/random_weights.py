"""Untrained weights: a codec's networks as torch initialises them, so that everything can be run and timed."""

from typing import TYPE_CHECKING, Literal, TypeAlias

from ops.metrics.base import Unavailable
from ops.weights import codec_files
from ops.weights.codec_files import CodecWeights

if TYPE_CHECKING:
    from torch import Tensor

    from ops.codecs.learned import LearnedConfig

Dtype: TypeAlias = Literal["float32", "bfloat16", "float16"]
# The networks that run in a chosen precision; all others always run in float32.
IN_PRECISION = ("unet.", "vae.")


def make_random(config: "LearnedConfig", seed: int = 0, dtype: Dtype = "float32", url: str = "") -> CodecWeights:
    """Write weights drawn from a seed, marked untrained, and return what the file says of itself.

    The same seed gives the same tensors with the same torch. Without a URL the file goes into the folder of weights.
    Raises WeightsError where another file is there, and Unavailable where torch is missing.
    """
    try:
        import torch  # noqa: PLC0415  the base install has none

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            tensors = config.network().state_dict()
    except ModuleNotFoundError as error:
        raise Unavailable(f"random weights need {error.name}: pip install 'regrow[codecs]'") from error
    return codec_files.write(
        url,
        in_dtype(tensors, dtype),
        settings=config.network_settings(),
        trained=False,
        licence="none: random numbers",
        redistribution=True,
        origins={"all": f"random, torch {torch.__version__}, seed {seed}"},
    )


def in_dtype(tensors: "dict[str, Tensor]", dtype: str) -> "dict[str, Tensor]":
    """Return tensors with those of U-Net and autoencoder in a dtype, or as they are for `keep`; others in float32."""
    import torch  # noqa: PLC0415  the base install has none

    wanted = {name: dtype if name.startswith(IN_PRECISION) else "float32" for name in tensors}
    return {
        name: tensor if wanted[name] == "keep" else tensor.to(getattr(torch, wanted[name]))
        for name, tensor in tensors.items()
    }
