"""Settings of codecs that run on weights: what all of them share, and how a file of weights is tied to them."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import msgspec

from ops.codecs.base import CodecConfig, Pace

if TYPE_CHECKING:
    from torch import nn

Size: TypeAlias = Literal["full", "small", "nano"]


# How many times what was measured a pace is, so that nobody is taken for stuck who is slow.
PATIENCE = 4.0
# Of full networks at a batch of one.
PACES: dict[Size, Pace] = {
    "full": Pace(down=240.0, up=1000.0),
    "small": Pace(down=20.0, up=20.0),
    "nano": Pace(down=20.0, up=20.0),
}


class MisfitWeights(ValueError):
    """A file of weights that was made for other settings; the message names the setting and both values."""


class LearnedConfig(CodecConfig, frozen=True, kw_only=True):
    """Settings of a codec that runs on weights.

    `weights` is the digest of the tensors that run (`ops.weights.cache.tensors_digest`), empty until the config is
    bound to a file of them. `size` names the widths of the networks: `full` as published, `nano` for a laptop,
    `small` for tests.
    """

    generative: ClassVar[bool] = True
    # Packages that its networks are made of and read by, and the extra of regrow that brings them.
    needs: ClassVar[tuple[str, ...]] = ("torch", "diffusers", "safetensors")
    extra: ClassVar[str] = "codecs"
    # Fields that decide which tensors there are, or what they mean: a file of weights records them.
    of_networks: ClassVar[tuple[str, ...]] = ("scale", "size")

    weights: str = ""
    size: Size = "full"

    @property
    def seconds_per_megapixel(self) -> Pace:
        """How slow one core of a processor may be, by the size of the networks."""
        return PACES[self.size]

    def weights_digest(self) -> str:
        """Return the digest of the tensors, which is a field, too: a config names its weights."""
        return self.weights

    def network(self) -> "nn.Module":
        """Return the networks, whole, with the tensors that torch's own initialisation gives; to be loaded into.

        Its state dict has exactly the names of a file of weights.
        """
        raise NotImplementedError(f"{type(self).__name__} must say which networks it has")

    def check_installed(self) -> None:
        """Raise ModuleNotFoundError, with the remedy, where a package that the networks need is not here."""
        for name in self.needs:
            if find_spec(name) is None:
                raise ModuleNotFoundError(f"{self.spelling()} needs {name}: pip install 'regrow[{self.extra}]'")

    def network_settings(self) -> dict[str, Any]:
        """Return name and those settings that a file of weights records, defaults among them."""
        values = msgspec.to_builtins(self)
        return {"name": self.name, **{name: values[name] for name in self.of_networks}}

    def bound(self, digest: str, settings: dict[str, Any]) -> "LearnedConfig":
        """Return this config for the weights of a digest, which were made for these settings.

        A setting at its default follows the file, also where someone wrote that default: the two cannot be told apart.
        Another one must agree with the file, as name, scale and a digest that is there always must. Raises
        MisfitWeights.
        """
        if self.weights not in ("", digest):
            raise MisfitWeights(f"they are of digest {digest}, not {self.weights}: use those of that digest")
        own, defaults = self.network_settings(), self._defaults()
        adopted: dict[str, Any] = {}
        for name, made_for in settings.items():
            if name not in own:
                raise MisfitWeights(f"they were made for {name} {made_for}, which {self.name} has not: use its own")
            if own[name] == made_for:
                continue
            if name in ("name", "scale") or own[name] != defaults[name]:
                raise MisfitWeights(f"they were made for {name} {made_for}, not {own[name]}: use weights for that")
            adopted[name] = made_for
        return msgspec.convert({**msgspec.to_builtins(self), **adopted, "weights": digest}, type(self))

    def check_made_for(self, settings: dict[str, Any]) -> None:
        """Raise MisfitWeights unless weights made for these settings are those of this config, which is bound.

        Nothing follows the file any more. What an older file does not say, it was made for at its default.
        """
        defaults = self._defaults()
        for name, value in self.network_settings().items():
            made_for = settings.get(name, defaults.get(name))
            if value != made_for:
                raise MisfitWeights(f"they were made for {name} {made_for}, not {value}: use weights for that")
        if unknown := sorted(settings.keys() - self.network_settings().keys()):
            name = unknown[0]
            raise MisfitWeights(f"they were made for {name} {settings[name]}, which {self.name} has not: use its own")

    def _defaults(self) -> dict[str, Any]:
        return {field.name: field.default for field in msgspec.structs.fields(self)}


def is_learned(config: CodecConfig) -> bool:
    """Say whether a codec runs on weights, and so gains by an accelerator."""
    return isinstance(config, LearnedConfig)
