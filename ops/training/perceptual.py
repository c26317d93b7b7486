"""LPIPS v0.1 and DISTS as losses: the metrics' own networks and weights, with gradients to the reconstruction alone."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ops.metrics.dists import C1, C2, CHANNELS, DistsConfig
from ops.metrics.lpips import EPSILON
from ops.metrics.sharing import BLOCK
from ops.networks import alexnet, vgg16
from ops.networks.strips import TappedNetwork, normalised
from ops.weights import load_tensors

Term: TypeAlias = Literal["lpips_alex", "lpips_vgg", "dists"]
Layer: TypeAlias = Callable[..., Tensor]
"""One layer of one image: (x, y, slope, *weights) of features (positions, channels) to a number; fills slope."""
Compare: TypeAlias = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]


class Perceptual(nn.Module):
    """A distance of pictures: forward(x, y) of reference and reconstruction returns (b,), float32, to be added up.

    Both are (b, 3, h, w) in [-1, 1]; the value is the metric's on whole images. Under autocast features are of its
    dtype, statistics and sums of float32 always. The network is no part of the module's state: it is neither among
    its parameters nor saved with it, and stays on the device that it was built for. Derived once, not twice. Raises
    ValueError for pictures of two shapes, or too small.
    """

    def __init__(self, network: TappedNetwork, compare: Compare, with_picture: bool, smallest: int) -> None:
        super().__init__()
        # In a dictionary, where torch looks for no parameters.
        self._networks = {torch.float32: network}
        self._compare, self._with_picture, self._smallest = compare, with_picture, smallest

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        if x.shape != y.shape or min(x.shape[2:]) < self._smallest:
            raise ValueError(
                f"reference {tuple(x.shape)}, reconstruction {tuple(y.shape)}: "
                f"give both one shape of at least {self._smallest} pixels a side"
            )
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        with torch.autocast(kind, enabled=False):
            with torch.no_grad():
                references = self._taps(x, dtype)
            return self._compare(references, self._taps(y, dtype))

    def _taps(self, pictures: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Return what the metric compares, layer by layer, in channels last."""
        pictures = (pictures.float() + 1) / 2
        taps = [pictures] if self._with_picture else []
        x = normalised(pictures).to(dtype, memory_format=torch.channels_last)
        for stage in self._network(dtype).stages():
            for step in stage:
                # Half as precise, the gradient of this pooling would take a CPU three times as long.
                fed = x.float() if step.run is vgg16.l2_pool else x
                x = step.run(fed, (step.padding, step.padding)).to(dtype)
            taps.append(x)
        return taps

    def _network(self, dtype: torch.dtype) -> TappedNetwork:
        """Return the network in a dtype: cast once, where autocast would cast frozen weights at every call."""
        if dtype not in self._networks:
            self._networks[dtype] = deepcopy(self._networks[torch.float32]).to(dtype)
        return self._networks[dtype]


def build_perceptual(term: Term, device: str = "cpu") -> Perceptual:
    """Return a term of a loss on a device. Raises WeightsError where its weights are missing, with the remedy."""
    if term == "dists":
        network = vgg16.load_vgg16(load_tensors("lpips-vgg"), device, "l2")
        return Perceptual(network, _dists(device), with_picture=True, smallest=DistsConfig.smallest_side)
    alex = term == "lpips_alex"
    tensors = load_tensors("lpips-alex" if alex else "lpips-vgg")
    network = (alexnet.load_alexnet if alex else vgg16.load_vgg16)(tensors, device)
    heads = [tensors[f"heads.{at}"].float().to(device) for at in range(5)]
    smallest = alexnet.SMALLEST_SIDE if alex else vgg16.SMALLEST_SIDE
    return Perceptual(network, _lpips(heads), with_picture=False, smallest=smallest)


def _lpips(heads: Sequence[Tensor]) -> Compare:
    def compare(references: Sequence[Tensor], reconstructions: Sequence[Tensor]) -> Tensor:
        layers = zip(references, reconstructions, heads, strict=True)
        return torch.stack([_distances(y, x, _lpips_layer, head) for x, y, head in layers]).sum(0)

    return compare


def _dists(device: str) -> Compare:
    tensors = {name: tensor.double() for name, tensor in load_tensors("dists").items()}
    total = tensors["alpha"].sum() + tensors["beta"].sum()
    alphas, betas = ((tensors[name] / total).float().to(device).split(CHANNELS) for name in ("alpha", "beta"))

    def compare(references: Sequence[Tensor], reconstructions: Sequence[Tensor]) -> Tensor:
        layers = zip(references, reconstructions, alphas, betas, strict=True)
        return torch.stack([_distances(y, x, _dists_layer, *weights) for x, y, *weights in layers]).sum(0)

    return compare


class _WithGradient(Function):
    """A distance (b,) of features y and x, (b, c, h, w), whose gradient is made with it, block by block.

    What is made of a block stays in a CPU's cache. Autograd would go through memory ten times for each layer.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, layer: Layer, *weights: Tensor) -> Tensor:
        x, y = (one.movedim(1, -1) for one in (x, y))  # a view, in channels last
        gradient = y.new_empty(y.shape) if ctx.needs_input_grad[0] else None
        slopes = [None] * len(y) if gradient is None else list(gradient.flatten(1, 2))
        images = zip(x.flatten(1, 2), y.flatten(1, 2), slopes, strict=True)
        distances = torch.stack([layer(a, b, slope, *weights) for a, b, slope in images])
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return distances

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  the decorator hides its names
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        scaled = gradient * grads[0][:, None, None, None].to(gradient.dtype)
        return scaled.movedim(-1, 1), *[None] * (len(ctx.needs_input_grad) - 1)


def _distances(*arguments: Any) -> Tensor:
    return _WithGradient.apply(*arguments)  # pyright: ignore[reportReturnType]  untyped in torch


def _lpips_layer(x: Tensor, y: Tensor, slope: Tensor | None, head: Tensor) -> Tensor:
    """Return Zhang et al. 2018, equation 1: weighted squares of differences of unit vectors, meaned over positions."""
    total = head.new_zeros(())
    for a, b, into in _blocks(x, y, slope):
        length_a, length_b = (torch.linalg.vector_norm(one, dim=1, keepdim=True) + EPSILON for one in (a, b))
        unit = b / length_b
        difference = unit - a / length_a
        weighted = difference * head
        total += (difference * weighted).sum()
        if into is not None:
            along = torch.linalg.vecdot(weighted, unit)[:, None]
            into.copy_((weighted - unit * along) * (2 / len(x) / length_b))
    return total / len(x)


def _dists_layer(x: Tensor, y: Tensor, slope: Tensor | None, alpha: Tensor, beta: Tensor) -> Tensor:
    """Return by how much means (texture) and correlations (structure) fall short of 1, weighted over the channels.

    Ding et al. 2020, equations 4 to 6. Variances are taken around the means: float32 would lose those of a faint
    channel in the squares of its mean.
    """
    mean_x, mean_y = x.mean(0, dtype=torch.float32), y.mean(0, dtype=torch.float32)
    variances, covariance = torch.zeros_like(mean_x), torch.zeros_like(mean_x)
    for a, b, _ in _blocks(x, y, None):
        around_x, around_y = a - mean_x, b - mean_y
        variances += (around_x.square() + around_y.square()).sum(0)
        covariance += (around_x * around_y).sum(0)
    below_texture, below_structure = mean_x.square() + mean_y.square() + C1, variances / len(x) + C2
    texture = (2 * mean_x * mean_y + C1) / below_texture
    structure = (2 * covariance / len(x) + C2) / below_structure
    by_mean = 2 * alpha * (texture * mean_y - mean_x) / below_texture / len(x)
    by_value = 2 * beta / below_structure / len(x)
    for a, b, into in _blocks(x, y, slope):
        if into is not None:
            into.copy_(by_mean + by_value * (structure * (b - mean_y) - (a - mean_x)))
    return (alpha * (1 - texture) + beta * (1 - structure)).sum()


def _blocks(x: Tensor, y: Tensor, slope: Tensor | None) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Yield blocks of positions (positions, channels) as float32, with where their gradient goes."""
    rows = BLOCK // x.shape[1] if x.device.type == "cpu" else len(x)
    of_x, of_y = x.split(rows), y.split(rows)
    slopes = [None] * len(of_x) if slope is None else slope.split(rows)
    for a, b, into in zip(of_x, of_y, slopes, strict=True):
        yield a.float(), b.float(), into
