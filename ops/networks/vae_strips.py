"""Stable Diffusion's autoencoder over a whole image, exactly, at about half of diffusers' memory.

Statistics of group norms are those of the whole image, attention is between all its positions; only convolutions go by
strips of rows, with the rows that they need above and below. What goes in and what comes out of a layer live at once.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from ops.networks.vae_walk import Layers, decoded, encoded

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

# Numbers of an activation in a strip: a function of shapes alone, since other strips may give other last bits.
STRIP = 1 << 23


def encode_moments(vae: "AutoencoderKL", x: Tensor, strip: int = STRIP) -> tuple[Tensor, Tensor]:
    """Return mean and log-variance, (1, 4, h / 8, w / 8) each, of an image (1, 3, h, w) from -1 to 1."""
    mean, logvar = encoded(Strips(strip), vae, x).chunk(2, dim=1)
    return mean, logvar


def decode(vae: "AutoencoderKL", z: Tensor, strip: int = STRIP) -> Tensor:
    """Return the image (1, 3, 8 h, 8 w), about -1 to 1, of unscaled latents (1, 4, h, w)."""
    return decoded(Strips(strip), vae, z)


class Strips(Layers[Tensor]):
    """Layers over one tensor (1, c, h, w), in strips of rows."""

    def __init__(self, strip: int) -> None:
        self._strip = strip

    def conv(self, x: Tensor, conv: nn.Conv2d) -> Tensor:
        if conv.kernel_size == (1, 1) and conv.out_channels < conv.in_channels:
            return self._narrowed(x, conv)
        return self._run(x, conv, _plain)

    def normed(self, x: Tensor, norm: nn.GroupNorm, conv: nn.Conv2d) -> Tensor:
        return self._run(x, conv, self._activation(x, norm))

    def added(self, x: Tensor, h: Tensor, norm: nn.GroupNorm, conv: nn.Conv2d) -> Tensor:
        activation, reach = self._activation(h, norm), conv.kernel_size[0] // 2
        for top, bottom in self._strips(h.shape[2], h.shape[1] * h.shape[3]):
            x[:, :, top:bottom] += _conv(conv, activation(_rows(h, top, bottom, reach)), h.shape[2], top, bottom)
        return x

    def halved(self, x: Tensor, conv: nn.Conv2d) -> Tensor:
        height = x.shape[2] // 2
        made = _empty(x, conv.out_channels, height, x.shape[3] // 2)
        for top, bottom in self._strips(height, 2 * x.shape[1] * x.shape[3]):
            rows = x[:, :, 2 * top : 2 * bottom + 1]
            padded = functional.pad(rows, (0, 1, 0, 1 if bottom == height else 0))
            made[:, :, top:bottom] = functional.conv2d(padded, conv.weight, conv.bias, stride=2)
        return made

    def doubled(self, x: Tensor, conv: nn.Conv2d) -> Tensor:
        height, width = 2 * x.shape[2], 2 * x.shape[3]
        made = _empty(x, conv.out_channels, height, width)
        for top, bottom in self._strips(height, x.shape[1] * width):
            first, last = max(top - 1, 0), min(bottom + 1, height)
            kept = x[:, :, first // 2 : (last + 1) // 2]
            grown = functional.interpolate(kept, scale_factor=2.0, mode="nearest")
            grown = grown[:, :, first - first // 2 * 2 :][:, :, : last - first]
            made[:, :, top:bottom] = _conv(conv, grown, height, top, bottom)
        return made

    def attended(self, x: Tensor, attention: nn.Module) -> Tensor:
        return attention(x)

    def _narrowed(self, x: Tensor, conv: nn.Conv2d) -> Tensor:
        """Return a convolution of single pixels to fewer channels, written over the first channels of x."""
        made = x[:, : conv.out_channels]
        for top, bottom in self._strips(x.shape[2], x.shape[1] * x.shape[3]):
            made[:, :, top:bottom] = functional.conv2d(x[:, :, top:bottom], conv.weight, conv.bias)
        return made

    def _run(self, x: Tensor, conv: nn.Conv2d, activation: "_Activation | _Plain") -> Tensor:
        height, reach = x.shape[2], conv.kernel_size[0] // 2
        made = _empty(x, conv.out_channels, height, x.shape[3])
        for top, bottom in self._strips(height, x.shape[1] * x.shape[3]):
            made[:, :, top:bottom] = _conv(conv, activation(_rows(x, top, bottom, reach)), height, top, bottom)
        return made

    def _activation(self, x: Tensor, norm: nn.GroupNorm) -> "_Activation":
        """Return normalisation by the whole tensor's statistics, and SiLU."""
        sums = torch.zeros((2, x.shape[1]), dtype=torch.float64, device=x.device)
        for top, bottom in self._strips(x.shape[2], x.shape[1] * x.shape[3]):
            rows = x[0, :, top:bottom].to(torch.float32)  # by channels, which needs no copy
            mean = rows.mean(dim=(1, 2))
            # torch.var_mean takes more than twice the time of these, a tenth of a whole pass (measured on a processor).
            variance = (rows - mean[:, None, None]).square_().mean(dim=(1, 2))
            # About each strip's own mean, so that a variance is no small difference of large sums.
            mean, number = mean.double(), bottom - top
            sums[0] += mean * number
            sums[1] += (variance.double() + mean**2) * number
        mean, square = (sums / x.shape[2]).unflatten(1, (norm.num_groups, -1)).mean(dim=2)
        return _Activation(mean, (square - mean**2).clamp_(min=0), norm)

    def _strips(self, height: int, row: int) -> Iterator[tuple[int, int]]:
        step = max(8, self._strip // row)
        for top in range(0, height, step):
            yield top, min(top + step, height)


class _Activation:
    """Normalises with given statistics of groups, then SiLU, in float32; the result has its input's precision."""

    def __init__(self, mean: Tensor, variance: Tensor, norm: nn.GroupNorm) -> None:
        each = norm.num_channels // norm.num_groups
        factor = (variance + norm.eps).rsqrt().repeat_interleave(each) * norm.weight.double()
        offset = norm.bias.double() - mean.repeat_interleave(each) * factor
        self._factor, self._offset = (one.to(torch.float32).reshape(1, -1, 1, 1) for one in (factor, offset))

    def __call__(self, x: Tensor) -> Tensor:
        h = torch.addcmul(self._offset, x.to(torch.float32), self._factor)
        return functional.silu(h, inplace=True).to(x.dtype)


class _Plain:
    def __call__(self, x: Tensor) -> Tensor:
        return x


_plain = _Plain()


def _empty(x: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Return a tensor to be filled: on a GPU with channels last, as weights are there, so that nothing is turned."""
    layout = torch.channels_last if x.is_cuda else torch.contiguous_format
    return torch.empty((1, channels, height, width), dtype=x.dtype, device=x.device, memory_format=layout)


def _rows(x: Tensor, top: int, bottom: int, reach: int) -> Tensor:
    """Return rows with those that a convolution reaches, as far as there are any."""
    return x[:, :, max(top - reach, 0) : min(bottom + reach, x.shape[2])]


def _conv(conv: nn.Conv2d, rows: Tensor, height: int, top: int, bottom: int) -> Tensor:
    """Return rows [top, bottom) of a convolution; zeros stand above the first row of the image and below the last."""
    reach = conv.kernel_size[0] // 2
    above, below = (reach if at_border else 0 for at_border in (top == 0, bottom == height))
    if above != below:  # a convolution pads both alike, and without a copy
        rows, above = functional.pad(rows, (0, 0, above, below)), 0
    return functional.conv2d(rows, conv.weight, conv.bias, padding=(above, reach))
