"""Low-rank adapters (LoRA, Hu et al., ICLR 2022) in training: beside their layers, merged when a stage ends."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ops.networks.compact_unet import CompactUnet
from ops.networks.compact_vae import CompactVae
from ops.rescalers.system import System
from ops.training.draws import normal
from ops.training.errors import TrainingError
from ops.training.settings import Stage
from ops.weights.checkpoints import UNET_ADAPTER, VAE_ADAPTER, Adapter
from ops.weights.lora import inject

# The modules that TADM's released checkpoints adapt. What FaithEIR adapts is not said: those of S3Diff, likewise.
_IN_BOTH = r"conv|conv1|conv2|conv_shortcut|conv_out|to_[kqv]|to_out\.0"
UNET_MODULES = rf"(.*\.)?({_IN_BOTH}|proj_in|proj_out|ff\.net\.0\.proj|ff\.net\.2)"
VAE_MODULES = rf"\.(.*\.)?({_IN_BOTH}|conv_in)"
# Of the U-Net this layer learns in full, as in the released checkpoints.
WHOLE = "unet.conv_in."


class Part(NamedTuple):
    """A part of a system that gets adapters: its prefix, its network, and which of its modules in which rank."""

    prefix: str
    network: nn.Module
    adapter: str
    modules: str
    rank: int

    @property
    def names(self) -> list[str]:
        """The names of the modules that are adapted, in the network."""
        return [name for name, _ in self.network.named_modules() if re.fullmatch(self.modules, name)]

    @property
    def words(self) -> str:
        """What is trained of it, for people."""
        whole = f", {WHOLE.rstrip('.').removeprefix(self.prefix)} in full" if WHOLE.startswith(self.prefix) else ""
        return f"{self.prefix.rstrip('.')} (LoRA of rank {self.rank} in {len(self.names)} modules{whole})"


class Adapters:
    """The adapters of a stage, put beside the layers of a system's networks in place; none where it has no `lora`.

    `trained` are the prefixes of what the stage trains: the adapted networks' own weights are no longer among them.
    The matrices A begin as normal numbers of deviation 1 / rank (as TADM's code has them), drawn by seed, stage and
    name alone, B as zeros. Raises TrainingError where there is nothing that adapters fit.
    """

    def __init__(self, system: System, stage: Stage, trained: Sequence[str], at: int, seed: int) -> None:
        parts = adapted_parts(system, stage, trained)
        self._layers = [layer for part in parts for layer in _put_beside(part, at, seed)]
        self.trained = tuple(trained)
        if stage.lora is not None:
            learning = [name for name, _ in system.named_parameters() if ".lora_" in name]
            self.trained = (*(one for one in trained if not one.startswith(("unet.", "vae."))), WHOLE, *learning)

    @torch.no_grad()
    def merge(self) -> None:
        """Add the adapters to the weights of their layers, which stand in their places again; nothing else is left."""
        for layer in self._layers:
            layer.weight.add_(layer.adapted.get_delta_weight(layer.adapter))
            setattr(layer.parent, layer.name, layer.adapted.get_base_layer())

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Have the adapters merged within the block, and behind it as they were, to the bit.

        Whatever reads weights itself, as strips of an autoencoder do, knows no adapters. Takes the memory of the
        adapted weights once more.
        """
        own = [layer.weight.detach().clone() for layer in self._layers]
        self.merge()
        try:
            yield
        finally:
            with torch.no_grad():
                for layer, weight in zip(self._layers, own, strict=True):
                    layer.weight.copy_(weight)
                    setattr(layer.parent, layer.name, layer.adapted)


class _Layer(NamedTuple):
    """A layer with its adapter, as peft has them, and where it stands."""

    parent: nn.Module
    name: str
    adapted: Any
    adapter: str

    @property
    def weight(self) -> Tensor:
        """The layer's own weight."""
        return self.adapted.get_base_layer().weight


def adapted_parts(system: System, stage: Stage, trained: Sequence[str]) -> list[Part]:
    """Return the parts of a system that get adapters in a stage: none where it has no `lora`.

    Raises TrainingError where it trains nothing that adapters fit.
    """
    if stage.lora is None:
        return []
    unet, vae = (dict(system.named_children()).get(name) for name in ("unet", "vae"))
    found = [] if unet is None else [Part("unet.", unet, UNET_ADAPTER, UNET_MODULES, stage.lora.unet)]
    if vae is not None and stage.lora.vae is not None:
        halves = {f"vae.{half}.": half + VAE_MODULES for half in ("encoder", "decoder")}
        found += [Part(half, vae, VAE_ADAPTER, names, stage.lora.vae) for half, names in halves.items()]
    found = [part for part in found if part.prefix in trained]
    if not found:
        raise TrainingError(
            f"stage {stage.objective} has lora, but trains neither a U-Net nor half of an autoencoder: leave lora out"
        )
    for part in found:
        if isinstance(part.network, CompactUnet | CompactVae):
            raise TrainingError(
                f"stage {stage.objective} has lora, but adapters fit the networks of Stable Diffusion alone, and "
                f"{type(part.network).__name__} is none: leave lora out, and all of it is trained"
            )
    return found


def trained_words(system: System, stage: Stage, trained: Sequence[str]) -> tuple[str, ...]:
    """Return what a stage trains, for people: parts, and adapters with their ranks and numbers of modules."""
    if not (parts := adapted_parts(system, stage, trained)):
        return tuple(prefix.rstrip(".") for prefix in trained)
    others = (prefix.rstrip(".") for prefix in trained if not prefix.startswith(("unet.", "vae.")))
    return (*(part.words for part in parts), *others)


def _put_beside(part: Part, at: int, seed: int) -> list[_Layer]:
    """Put adapters beside the layers of a part, and return them."""
    names = part.names
    inject(part.network, Adapter(part.adapter, part.rank, part.modules, {}))
    # peft's mark, by which it would take the next stage's adapters for second ones.
    del part.network.peft_config
    layers = []
    for name in names:
        above, _, own = name.rpartition(".")
        layer = _Layer(part.network.get_submodule(above), own, part.network.get_submodule(name), part.adapter)
        _begin(layer, part.rank, at, seed, f"adapter {part.prefix.partition('.')[0]}.{name}")
        layers.append(layer)
    return layers


def _begin(layer: _Layer, rank: int, at: int, seed: int, purpose: str) -> None:
    """Give the matrices of an adapter, which have shapes alone, their first values."""
    a, b = (getattr(layer.adapted, half)[layer.adapter] for half in ("lora_A", "lora_B"))
    drawn = torch.from_numpy(normal(tuple(a.weight.shape), seed, at, purpose=purpose) / rank)
    device = layer.weight.device
    a.weight = nn.Parameter(drawn.to(device))
    b.weight = nn.Parameter(torch.zeros(b.weight.shape, device=device))
