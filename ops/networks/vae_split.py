"""The encoder as TADM's authors run it over large images: in tiles of up to 1,024 pixels, layer by layer together.

Their statistics of a group norm are averages of the tiles' own, by pixels, which leaves out how tiles' means differ;
attention is within each tile, but for its norm. So the latents are not those of the whole image: for parity alone.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ops.networks.vae_strips import encode_moments
from ops.networks.vae_walk import Layers, encoded

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

TILE = 1024
PAD = 32
FACTOR = 8
# A tile's side is raised to a multiple of the first of these that stays within the largest tile.
DIVIDERS = (32, 16, 8, 4, 2)


class Piece(NamedTuple):
    """Along one side: which pixels a tile reads, and which latents it gives."""

    first: int
    last: int
    first_latent: int
    last_latent: int


def encode_split(vae: "AutoencoderKL", x: Tensor, tile: int = TILE, pad: int = PAD) -> tuple[Tensor, Tensor]:
    """Return mean and log-variance, (1, 4, h / 8, w / 8) each, of an image (1, 3, h, w), sides multiples of 8.

    An image of up to tile + 2 pad a side is encoded whole, as its authors do.
    """
    height, width = x.shape[2:]
    if max(height, width) <= tile + 2 * pad:
        return encode_moments(vae, x)
    places = [(row, column) for row in pieces(height, tile, pad) for column in pieces(width, tile, pad)]
    tiles = [x[:, :, row.first : row.last, column.first : column.last] for row, column in places]
    moments = x.new_empty((1, 2 * vae.config["latent_channels"], height // FACTOR, width // FACTOR))
    for (row, column), made in zip(places, encoded(Tiles(), vae, tiles), strict=True):
        top, left = row.first // FACTOR, column.first // FACTOR
        moments[:, :, row.first_latent : row.last_latent, column.first_latent : column.last_latent] = made[
            :, :, row.first_latent - top : row.last_latent - top, column.first_latent - left : column.last_latent - left
        ]
    mean, logvar = moments.chunk(2, dim=1)
    return mean, logvar


def pieces(side: int, tile: int = TILE, pad: int = PAD) -> list[Piece]:
    """Return how a side is cut: tiles of the same size between pads of 32 pixels, the last to the border."""
    number = max(1, -(-(side - 2 * pad) // tile))
    step = raised(-(-(side - 2 * pad) // number), tile)
    found = []
    for at in range(number):
        first, last = pad + at * step, min(pad + (at + 1) * step, side)
        first_kept, last_kept = (first if first > pad else 0), (last if last < side - pad else side)
        piece = Piece(max(0, first - pad), min(side, last + pad), first_kept // FACTOR, last_kept // FACTOR)
        found.append(piece)
    return found


def raised(side: int, largest: int) -> int:
    """Return a tile's side as a multiple of 32, 16, 8, 4 or 2: the first that is no larger than the largest tile."""
    for divider in DIVIDERS:
        candidate = -(-side // divider) * divider
        if candidate == side or candidate <= largest:
            return candidate
    return side


class Tiles(Layers[Sequence[Tensor]]):
    """Layers over tiles (1, c, h, w) each, which share statistics and nothing else."""

    def conv(self, x: Sequence[Tensor], conv: nn.Conv2d) -> Sequence[Tensor]:
        return [conv(tile) for tile in x]

    def normed(self, x: Sequence[Tensor], norm: nn.GroupNorm, conv: nn.Conv2d) -> Sequence[Tensor]:
        mean, variance = shared_statistics(x, norm.num_groups)
        return [conv(functional.silu(_normalised(tile, mean, variance, norm))) for tile in x]

    def added(self, x: Sequence[Tensor], h: Sequence[Tensor], norm: nn.GroupNorm, conv: nn.Conv2d) -> Sequence[Tensor]:
        return [tile + change for tile, change in zip(x, self.normed(h, norm, conv), strict=True)]

    def halved(self, x: Sequence[Tensor], conv: nn.Conv2d) -> Sequence[Tensor]:
        return [conv(functional.pad(tile, (0, 1, 0, 1))) for tile in x]

    def doubled(self, x: Sequence[Tensor], conv: nn.Conv2d) -> Sequence[Tensor]:
        return [conv(functional.interpolate(tile, scale_factor=2.0, mode="nearest")) for tile in x]

    def attended(self, x: Sequence[Tensor], attention: Any) -> Sequence[Tensor]:
        # The norm ahead of attention is one of those that tiles share; diffusers' own module would take the tile's.
        norm = attention.group_norm
        mean, variance = shared_statistics(x, norm.num_groups)
        return [tile + _attention(_normalised(tile, mean, variance, norm), attention) for tile in x]


def shared_statistics(tiles: Sequence[Tensor], groups: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each group, (groups,): averages of the tiles' own, weighted by their pixels."""
    pixels = torch.tensor([tile.shape[2] * tile.shape[3] for tile in tiles], dtype=torch.float32)
    weights = (pixels / pixels.sum()).to(tiles[0].device)
    each = [torch.var_mean(tile.to(torch.float32).reshape(groups, -1), dim=1, correction=0) for tile in tiles]
    variances, means = (torch.stack(list(one)) for one in zip(*each, strict=True))
    return (means * weights[:, None]).sum(dim=0), (variances * weights[:, None]).sum(dim=0)


def _attention(x: Tensor, attention: Any) -> Tensor:
    """Return attention between all positions of one tile, normalised already, without the residual."""
    tokens = x.flatten(2).transpose(1, 2)
    query, key, value = (
        projection(tokens).unflatten(2, (attention.heads, -1)).transpose(1, 2)
        for projection in (attention.to_q, attention.to_k, attention.to_v)
    )
    seen = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    return attention.to_out[0](seen).transpose(1, 2).unflatten(2, x.shape[2:])


def _normalised(x: Tensor, mean: Tensor, variance: Tensor, norm: nn.GroupNorm) -> Tensor:
    each = norm.num_channels // norm.num_groups
    factor = (variance + norm.eps).rsqrt().repeat_interleave(each) * norm.weight.to(torch.float32)
    offset = norm.bias.to(torch.float32) - mean.repeat_interleave(each) * factor
    return (x.to(torch.float32) * factor.reshape(1, -1, 1, 1) + offset.reshape(1, -1, 1, 1)).to(x.dtype)
