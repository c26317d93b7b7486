"""MUSIQ, a transformer over patches of an image at three sizes (Ke et al. 2021, arXiv 2108.05997).

Structure and numbers are those of the authors' published settings: patches of 32 pixels, a hashed 10x10 grid of
positions, 14 layers of width 384. Tensors are named as in the files that were converted for PyTorch.

Where that conversion differs from the authors' JAX code this follows the conversion, since scores in the literature
were taken with it: bicubic resizing without antialiasing (JAX: Gaussian), the exact GELU (tanh), and standardised
kernels by the deviation over n - 1 (n). Each moves a score a little. None of it was checked against a score of either.
"""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, gelu, interpolate, max_pool2d, pad, relu, scaled_dot_product_attention, unfold

from ops.images import Pixels
from ops.metrics.base import Inapplicable
from ops.networks.exact import exactly
from ops.networks.strict import load_strictly, to_tensor

PATCH = 32
GRID = 10
LONGER_SIDES = (224, 384)
CHANNELS = 64
WIDTH = 384
HIDDEN = 1152
HEADS = 6
LAYERS = 14
GROUPS = 32
# Patches that go through the convolutions at a time: they are independent, and 128 of them need some 40 MB.
BLOCK = 128


class MusiqScores:
    """Scores an image by itself."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str, device: str) -> None:
        with torch.device("meta"):
            network = Musiq()
        self._network = load_strictly(network, tensors, name, device)
        self._device = device

    def score_alone(self, image: Pixels) -> float:
        """Return the score, of 0 to 100 usually. Raises Inapplicable for a strip that a smaller size would lose."""
        height, width = image.shape[:2]
        if min(resized_sides(height, width, LONGER_SIDES[0])) == 0:
            raise Inapplicable(f"{width}x{height} pixels are too long a strip: its smallest size would have no width")
        with exactly(self._device):
            return float(self._network(to_tensor(image, self._device) / 127.5 - 1))


class Musiq(nn.Module):
    """Turns one image (1, 3, height, width) of -1 to 1 into its score (1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_root = StandardConv(3, CHANNELS, 7, stride=2)
        self.gn_root = nn.GroupNorm(GROUPS, CHANNELS, eps=1e-6)
        self.block1 = Bottleneck(CHANNELS, 4 * CHANNELS)
        self.embedding = nn.Linear(4 * CHANNELS * (PATCH // 4) ** 2, WIDTH)
        self.transformer_encoder = Encoder()
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, image: Tensor) -> Tensor:
        tokens, places, scales = [], [], []
        for scale, resized in enumerate(_scales(image)):
            patches, place = cut_patches(resized)
            tokens += [self._embed(block) for block in patches.split(BLOCK)]
            places.append(place)
            scales.append(torch.full_like(place, scale))
        encoded = self.transformer_encoder(torch.cat(tokens)[None], torch.cat(places), torch.cat(scales))
        return self.head(encoded[:, 0])

    def _embed(self, patches: Tensor) -> Tensor:
        x = relu(self.gn_root(self.conv_root(patches)))
        # As TensorFlow pads: one pixel, at the end. Zeros do not change a maximum after ReLU.
        x = max_pool2d(pad(x, (0, 1, 0, 1)), 3, stride=2)
        x = self.block1(x)
        return self.embedding(x.permute(0, 2, 3, 1).flatten(1))  # rows, columns, channels, as TensorFlow lays them


class StandardConv(nn.Conv2d):
    """A convolution whose kernels have mean 0 and deviation 1, padded as TensorFlow pads `SAME`."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, size, stride, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  as the class above calls it
        centred = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        kernels = centred / (self.weight.std(dim=(1, 2, 3), keepdim=True) + 1e-5)
        return conv2d(pad_as_same(input, self.kernel_size[0], self.stride[0]), kernels, stride=self.stride)


class Bottleneck(nn.Module):
    """The residual block after the root: 1x1, 3x3, 1x1, and a projection beside them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = StandardConv(inputs, inputs, 1)
        self.gn1 = nn.GroupNorm(GROUPS, inputs, eps=1e-4)
        self.conv2 = StandardConv(inputs, inputs, 3)
        self.gn2 = nn.GroupNorm(GROUPS, inputs, eps=1e-4)
        self.conv3 = StandardConv(inputs, outputs, 1)
        self.gn3 = nn.GroupNorm(GROUPS, outputs, eps=1e-4)
        self.conv_proj = StandardConv(inputs, outputs, 1)
        self.gn_proj = nn.GroupNorm(GROUPS, outputs, eps=1e-4)

    def forward(self, x: Tensor) -> Tensor:
        inner = relu(self.gn1(self.conv1(x)))
        inner = relu(self.gn2(self.conv2(inner)))
        return relu(self.gn3(self.conv3(inner)) + self.gn_proj(self.conv_proj(x)))


class Encoder(nn.Module):
    """Adds position, scale and the class token to the tokens of patches, and runs the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.posembed_input = Position()
        self.scaleembed_input = Scale()
        self.cls = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.encoder_norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.transformer = nn.ModuleDict({f"encoderblock_{at}": Layer() for at in range(LAYERS)})

    def forward(self, tokens: Tensor, places: Tensor, scales: Tensor) -> Tensor:
        x = tokens + self.posembed_input.position_emb[:, places] + self.scaleembed_input.scale_emb[scales]
        x = torch.cat([self.cls, x], dim=1)
        for layer in self.transformer.values():
            x = layer(x)
        return self.encoder_norm(x)


class Position(nn.Module):
    """The embedding of each cell of the grid of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.position_emb = nn.Parameter(torch.randn(1, GRID * GRID, WIDTH) * 0.02)


class Scale(nn.Module):
    """The embedding of each size of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.scale_emb = nn.Parameter(torch.randn(len(LONGER_SIDES) + 1, WIDTH) * 0.02)


class Layer(nn.Module):
    """A layer of the transformer, normalised before each half."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.attention = Attention()
        self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Attention of every token to every other, in six heads."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(2, (HEADS, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        return self.out(scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(gelu(self.fc1(x)))


def resized_sides(height: int, width: int, longer: int) -> tuple[int, int]:
    """Return the sides of an image whose longer one becomes `longer`; the shorter may round to 0."""
    ratio = longer / max(height, width)
    return round(height * ratio), round(width * ratio)


def cut_patches(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the patches (number, 3, 32, 32) of an image, row by row, and the cell of the grid of each (number,).

    The image is padded with zeros on both sides to whole patches.
    """
    padded = pad_as_same(image, PATCH, PATCH)
    rows, columns = padded.shape[2] // PATCH, padded.shape[3] // PATCH
    patches = unfold(padded, PATCH, stride=PATCH)[0].T.reshape(-1, 3, PATCH, PATCH)
    cells = _cells(rows, image)[:, None] * GRID + _cells(columns, image)
    return patches, cells.flatten()


def pad_as_same(x: Tensor, size: int, stride: int) -> Tensor:
    """Pad with zeros so that a window at every `stride` covers all; an odd one goes to the end, as in TensorFlow."""
    across, down = (max((math.ceil(side / stride) - 1) * stride + size - side, 0) for side in (x.shape[3], x.shape[2]))
    return pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))


def _scales(image: Tensor) -> Iterator[Tensor]:
    """Yield the image at each size, the smallest first and itself last: the order of the scale embeddings."""
    for longer in LONGER_SIDES:
        yield interpolate(image, resized_sides(image.shape[2], image.shape[3], longer), mode="bicubic")
    yield image


def _cells(number: int, image: Tensor) -> Tensor:
    """Return to which of the grid's ten rows or columns each row or column of patches is hashed."""
    # In float32 as both implementations do: at 205, 235 and other numbers it differs from exact division by a cell.
    scale = torch.tensor(GRID / number, dtype=torch.float32)
    return (torch.arange(number, dtype=torch.float32) * scale).long().clamp(max=GRID - 1).to(image.device)
