"""Licences of what codecs' weights are made of, as their publishers state them."""

from msgspec import Struct


class Licence(Struct, frozen=True):
    """What it is called, and whether an archive may carry what is under it."""

    words: str
    redistribution: bool


TADM = Licence("Apache-2.0 (the repository's; none is stated for the weights themselves)", True)
STABLE_DIFFUSION_2 = Licence("CreativeML Open RAIL++-M", True)
SD_TURBO = Licence("Stability AI Community License", False)
FT_MSE = Licence("MIT", True)


def licence_of_base(named: str) -> Licence:
    """Return the licence of a base model by what its place is called: Stable Diffusion 2 and its turbo look alike."""
    return SD_TURBO if "turbo" in named.lower() else STABLE_DIFFUSION_2


def licence_of_vae(named: str) -> Licence:
    """Return the licence of an autoencoder by what its place is called: ft-MSE, or a base model's own."""
    return FT_MSE if "mse" in named.lower() else licence_of_base(named)
