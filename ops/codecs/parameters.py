"""How many parameters a codec's networks have: part by part, what sending and receiving need, what was trained."""

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ops.codecs.base import CodecConfig
from ops.codecs.learned import LearnedConfig
from ops.codecs.osirdiff import OsirdiffConfig
from ops.codecs.tadm import TadmConfig

if TYPE_CHECKING:
    from torch import nn

# Adapters of TADM's training, of ranks 48 and 16, merged into what runs; the U-Net's first layer was trained whole.
UNET_ADAPTERS, DECODER_ADAPTERS, UNET_FIRST_LAYER = 48_651_456, 2_050_672, 11_840
TRAINED_PARTS = ("rescaling", "timestep", "scheduler")

# Module, what a table calls it, and whether shrinking and whether growing an image needs it.
PARTS = (
    ("vae.encoder", "autoencoder's encoder", True, False),
    ("vae.quant_conv", "autoencoder's encoder", True, False),
    ("vae.decoder", "autoencoder's decoder", False, True),
    ("vae.post_quant_conv", "autoencoder's decoder", False, True),
    ("rescaling.down_module", "rescaling, down", True, False),
    ("rescaling.latent_module", "rescaling, down", True, False),
    ("rescaling.fusing_module", "rescaling, down", True, False),
    ("rescaling.inv_module", "rescaling, both ways", True, True),
    ("rescaling.final_module", "rescaling, up", False, True),
    ("reversible.transform", "rescaling, both ways", True, True),
    ("reversible.blocks", "rescaling, both ways", True, True),
    ("reversible.detail", "detail prior", False, True),
    ("semantics", "semantics", False, True),
    ("timestep", "time-step prediction", False, True),
    ("unet", "U-Net", False, True),
    ("scheduler", "scheduler", False, True),
)


class Part(Struct, frozen=True, kw_only=True):
    """Parameters of a part, and whether shrinking (`down`) and growing (`up`) an image runs it."""

    name: str
    number: int
    down: bool
    up: bool


class Parameters(Struct, frozen=True, kw_only=True):
    """Parameters of the networks that run, adapters merged; no text encoder is among them.

    `trainable` are those that the codec's authors trained, adapters counted by themselves; None where no paper or
    checkpoint says.
    """

    parts: list[Part]
    trainable: int | None = None

    @property
    def total(self) -> int:
        """Return all of them."""
        return sum(part.number for part in self.parts)

    @property
    def down(self) -> int:
        """Return those that an image goes through on its way to a thumbnail."""
        return sum(part.number for part in self.parts if part.down)

    @property
    def up(self) -> int:
        """Return those that a thumbnail goes through on its way back."""
        return sum(part.number for part in self.parts if part.up)


def count_parameters(config: CodecConfig) -> Parameters | None:
    """Return the parameters of a codec's networks; nothing for a codec without, or where torch or diffusers is missing.

    No memory is taken for them: the networks are built of shapes alone.
    """
    if not isinstance(config, LearnedConfig):
        return None
    try:
        import torch  # noqa: PLC0415  the base install has none

        with torch.device("meta"):
            network = config.network()
    except ModuleNotFoundError:
        return None
    return Parameters(parts=_parts(network), trainable=_trainable(config, network))


def _parts(network: "nn.Module") -> list[Part]:
    found: dict[str, Part] = {}
    for path, name, down, up in PARTS:
        if number := _number(network, path):
            before = found[name].number if name in found else 0
            found[name] = Part(name=name, number=before + number, down=down, up=up)
    counted, there = sum(part.number for part in found.values()), _number(network, "")
    if counted != there:
        raise ValueError(f"{type(network).__name__} has {there:,} parameters, {counted:,} in parts: name them in PARTS")
    return list(found.values())


def _trainable(config: LearnedConfig, network: "nn.Module") -> int | None:
    """Return what TADM's or OSIRDiff's authors trained over both stages, of the networks as they were published.

    Ranks and targets of adapters are those of the published checkpoints. What FaithEIR's authors trained is not known.
    """
    if not isinstance(config, TadmConfig) or config.size != "full":
        return None
    if config.space != "latent" or not config.diffusion:  # ablations of which no checkpoint is known
        return None
    adapters = UNET_ADAPTERS + (0 if isinstance(config, OsirdiffConfig) else DECODER_ADAPTERS)
    return adapters + UNET_FIRST_LAYER + sum(_number(network, name) for name in TRAINED_PARTS)


def _number(network: Any, path: str) -> int:
    module = network
    for name in path.split(".") if path else ():
        module = getattr(module, name, None)
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())
