"""TADM's time-step prediction: which step of the diffusion a tile of rescaled latents calls for.

Wang et al., ICCV 2025; section 3.3 of OSIRDiff, its second preprint.
"""

import torch
from torch import Tensor, nn

from ops.networks.blocks import ConvBlock, PlainBlock

# Linear layers, each but the first after a ReLU, before the last one.
LAYERS = 5


class TimestepPrediction(nn.Module):
    """Latents (b, c, h, w) of at least two places to time-steps (b,), floats between `lowest` and `highest`.

    Both bounds are those of the published code; the paper states none. Names of children are the checkpoints'.
    """

    def __init__(
        self,
        latent_channels: int = 4,
        width: int = 32,
        blocks: int = 6,
        hidden: int = 512,
        *,
        lowest: float = 10.0,
        highest: float = 200.0,
    ) -> None:
        super().__init__()
        self.lowest, self.highest = lowest, highest
        self.noise_esti = nn.Sequential(ConvBlock(latent_channels, width), *(PlainBlock(width) for _ in range(blocks)))
        self.time_predict = _FromStatistics(width, hidden)

    def forward(self, c: Tensor) -> Tensor:
        """Return one time-step for each item, never rounded."""
        return self.time_predict(self.noise_esti(c)) * (self.highest - self.lowest) + self.lowest


class _FromStatistics(nn.Module):
    """Mean and unbiased standard deviation of each channel, all means first, to one number from 0 to 1."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(2 * channels, hidden)]
        for _ in range(LAYERS - 1):
            layers += [nn.ReLU(), nn.Linear(hidden, hidden)]
        # The last layer follows another linear one directly, as published.
        self.fuse_mlp = nn.Sequential(*layers, nn.Linear(hidden, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        statistics = torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3), correction=1)], dim=1)
        return self.fuse_mlp(statistics)[:, 0]
