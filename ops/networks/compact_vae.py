"""A small autoencoder of regrow's own, for `nano`: convolutions alone, so that what it makes of a place is local.

Where Stable Diffusion's normalises over the whole image and attends to all of it, this one does neither: the same
place decodes alike in an image of any size. Its latents stand for 8x8 pixels and are scaled as they are.
"""

from msgspec import Struct
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, silu

from ops.networks.blocks import convolution, damped


class CompactVaeShape(Struct, frozen=True, kw_only=True):
    """Widths: of the image's halves, quarters and eighths; and residual blocks of the decoder at each."""

    widths: tuple[int, int, int] = (32, 64, 96)
    blocks: tuple[int, int, int] = (1, 2, 1)
    outlet: int = 8
    latent_channels: int = 16

    @property
    def scaling(self) -> float:
        """By what a latent is multiplied before the U-Net sees it: it is trained to be of about unit variance."""
        return 1.0


class CompactVae(nn.Module):
    """Images (b, 3, h, w) from -1 to 1 to latents (b, c, h / 8, w / 8), and back. Sides are multiples of 8."""

    def __init__(self, shape: CompactVaeShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = _encoder(shape)
        self.decoder = _decoder(shape)

    @property
    def alive(self) -> int:
        """Numbers alive at once for each pixel while an image is decoded: three activations of the widest level."""
        halves, quarters, eighths = self.shape.widths
        return 3 * max(self.shape.outlet, halves // 4, quarters // 16, eighths // 64)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the posterior, of the latents' shape each."""
        mean, logvar = self.encoder(pixel_unshuffle(x, 2)).chunk(2, dim=1)
        return mean, logvar

    def decode(self, z: Tensor) -> Tensor:
        """Return images (b, 3, 8 h, 8 w), about -1 to 1."""
        return self.decoder(z)


class SiluBlock(nn.Module):
    """The input plus two convolutions of it, each after a SiLU; what it adds begins small."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = convolution(channels, channels)
        self.conv2 = convolution(channels, channels)
        damped(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(silu(self.conv1(silu(x))))


class Shrunk(nn.Module):
    """Half the sides: pixel-unshuffle, then a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4 * inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pixel_unshuffle(x, 2))


class Grown(nn.Module):
    """Twice the sides: a 1x1 convolution, then pixel-shuffle."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 4 * outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return pixel_shuffle(self.conv(x), 2)


def _encoder(shape: CompactVaeShape) -> nn.Sequential:
    halves, quarters, eighths = shape.widths
    return nn.Sequential(
        convolution(12, halves),
        Shrunk(halves, quarters),
        SiluBlock(quarters),
        Shrunk(quarters, eighths),
        *(SiluBlock(eighths) for _ in range(2)),
        convolution(eighths, 2 * shape.latent_channels),
    )


def _decoder(shape: CompactVaeShape) -> nn.Sequential:
    """Return the way up; the last convolution is over whole pixels, so that no grid of 2 is locked into it."""
    (halves, quarters, eighths), (last, middle, first) = shape.widths, shape.blocks
    return nn.Sequential(
        convolution(shape.latent_channels, eighths),
        *(SiluBlock(eighths) for _ in range(first)),
        Grown(eighths, quarters),
        *(SiluBlock(quarters) for _ in range(middle)),
        Grown(quarters, halves),
        *(SiluBlock(halves) for _ in range(last)),
        Grown(halves, shape.outlet),
        nn.SiLU(),
        convolution(shape.outlet, 3),
    )
