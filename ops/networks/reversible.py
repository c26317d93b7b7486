"""FaithEIR's reversible rescaling of a latent: a transform to depth, then three E-InvBlocks (sections 3.1 to 3.3).

No code or weights of FaithEIR are released: this is built from the paper, and what it does not state is inferred.
"""

from typing import Literal, TypeAlias

import torch
from msgspec import Struct
from torch import Tensor, nn

from ops.networks.coupling import EnhancedCouplingBlock
from ops.networks.details import DetailKind, Seeds, build_prior
from ops.networks.transforms import HaarTransform, LearnedTransform, Transforms

TransformKind: TypeAlias = Literal["haar", "learned"]

# The thumbnail is the first three channels.
COLOURS = 3

# Which settings FaithEIR's paper does not state, and why they are as they are here.
INFERRED = {
    "latent_channels": "SD-Turbo's VAE has 4 channels, each for 8x8 pixels",
    "latent_factor": "SD-Turbo's VAE has 4 channels, each for 8x8 pixels",
    "transform_stages": "the paper does not say whether the learned transform of 32x is one of 4, or two of 2",
    "growth": "SAIN's dense blocks grow by 32; with three E-InvBlocks that fits the paper's count of parameters",
    "detail": "the paper states no distribution of its random prior, here N(0, 1), nor its mixture, here as in SAIN",
    "detail_size": "the paper states no size of the prior; 16x16 fits its count of parameters, 1x1 and 32x32 do not; "
    "to a thumbnail of another size it is stretched",
    "detail_seed": "the paper states no seed of its draws",
    "detail_components": "the paper names SAIN's Gaussian mixture without its size; SAIN has 5 components",
    "clamp": "the paper states no bound of the logarithm of a coupling's factor; SAIN has 1",
}


class ReversibleShape(Struct, frozen=True, kw_only=True):
    """What decides the modules of a reversible rescaling; `INFERRED` says which fields no paper states.

    `latent_factor` is how many pixels, per side, one place of the latent stands for. `detail_size` is the side of a
    stored prior, in thumbnail pixels; 1 stands for a value per channel. `transform_stages` counts for the learned
    transform at four times the latent's factor; Haar's is always made of stages of 2.
    """

    scale: Literal[16, 32] = 16
    latent_channels: int = 4
    latent_factor: int = 8
    transform: TransformKind = "learned"
    transform_stages: Literal["once", "twice"] = "once"
    blocks: int = 3
    growth: int = 32
    detail: DetailKind = "learned"
    detail_size: int = 16
    detail_seed: int = 0
    detail_components: int = 5
    clamp: float = 1.0

    @property
    def factor(self) -> int:
        """By how much each side of the latent shrinks. Raises ValueError for what is neither 2 nor 4."""
        factor, left = divmod(self.scale, self.latent_factor)
        if left or factor not in (2, 4):
            raise ValueError(
                f"scale {self.scale} is not 2 or 4 times the latent's factor {self.latent_factor}: change either"
            )
        return factor

    @property
    def channels(self) -> int:
        """How many channels the transform makes: those of the thumbnail and the discarded ones."""
        return self.latent_channels * self.factor**2


class ReversibleRescaling(nn.Module):
    """A latent z (B, C, H, W) to a thumbnail y (B, 3, H / factor, W / factor) of about -1 to 1, and back; in float32.

    `forward` and `inverse` are the bijection, with all channels; `down` and `up` lose what lies between them.
    """

    def __init__(self, shape: ReversibleShape) -> None:
        super().__init__()
        self.transform = build_transform(shape)
        self.blocks = nn.ModuleList(
            EnhancedCouplingBlock(shape.channels, COLOURS, growth=shape.growth, clamp=shape.clamp)
            for _ in range(shape.blocks)
        )
        self.detail = build_prior(
            shape.detail, shape.channels - COLOURS, shape.detail_size, shape.detail_seed, shape.detail_components
        )

    def down(self, z: Tensor) -> Tensor:
        """Return the thumbnail, not quantised (equation 1)."""
        return self(z)[0]

    def up(self, y: Tensor, seed: Seeds = None) -> Tensor:
        """Return the latent of a thumbnail and the detail prior (equation 2), whose draws `seed` decide.

        One seed for all images or one for each; none stands for that of the settings.
        """
        return self.inverse(y, self.detail(y, seed))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return thumbnail and discarded channels. Raises ValueError for a side that the factor does not divide."""
        x = self.transform(z)
        for block in self.blocks:
            x = block(x)
        return x[:, :COLOURS], x[:, COLOURS:]

    def inverse(self, y: Tensor, discarded: Tensor) -> Tensor:
        """Return the latent of which `forward` made these, to 1e-5. Raises ValueError for channels that do not fit."""
        if y.shape[1] != COLOURS or discarded.shape[1] != self.detail.channels:
            raise ValueError(
                f"{y.shape[1]} and {discarded.shape[1]} channels are no thumbnail and what it discards: "
                f"give {COLOURS} and {self.detail.channels}"
            )
        x = torch.cat([y, discarded], dim=1)
        for block in reversed(self.blocks):
            x = block.inverse(x)  # pyright: ignore[reportCallIssue]  # each is a coupling
        return self.transform.inverse(x)


def build_transform(shape: ReversibleShape) -> HaarTransform | LearnedTransform | Transforms:
    """Return the transform from the latent's channels to those of the couplings."""
    if shape.transform == "haar":
        return HaarTransform(shape.factor)
    if shape.transform_stages == "once":
        return LearnedTransform(shape.latent_channels, shape.factor)
    if shape.factor != 4:
        raise ValueError(f"a transform by {shape.factor} has no two stages: use transform_stages once")
    return Transforms(LearnedTransform(shape.latent_channels, 2), LearnedTransform(4 * shape.latent_channels, 2))
