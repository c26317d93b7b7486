"""CLIP with the image network RN50 (Radford et al. 2021, arXiv 2103.00020), its tensors named as in RN50.pt.

With random tensors its vectors were those of open_clip 3.3.0, without positions, but for rounding. The official tensors
were not at hand.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, normalize, scaled_dot_product_attention

from ops.images import Pixels
from ops.metrics.base import Inapplicable
from ops.networks.exact import exactly
from ops.networks.norms import FrozenNorm
from ops.networks.strict import load_strictly, to_tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
# One position must be left after the stem, which halves twice, and three stages that halve once each.
SMALLEST_SIDE = 31

EMBEDDING = 1024
STEM = 64
VISUAL_WIDTH = 2048
VISUAL_HEADS = 32
BLOCKS = (3, 4, 6, 3)
# 7x7 positions and the mean, of the 224-pixel images that it was trained on.
VISUAL_POSITIONS = 50
# Pixels in a band that goes through the first half of the image network at a time, with some 320 bytes for each. The
# rest of the network needs 85 bytes for each pixel of the image: 2.8 GB for 33 megapixels.
BAND_PIXELS = 4_000_000
# What a row after that half sees of the image reaches 45 rows up and 51 down from eight times its number.
HALO = 64
SHRINKING = 8
TEXT_WIDTH = 512
TEXT_HEADS = 8
TEXT_LAYERS = 12
CONTEXT = 77
VOCABULARY = 49_408


class ClipPreference:
    """Scores an image by how much better it fits the first of two texts, given as tokens of one number."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str, device: str, texts: Sequence[Sequence[int]]) -> None:
        with torch.device("meta"):
            network = Clip()
        self._network = load_strictly(network, tensors, name, device)
        self._device = device
        self._mean, self._deviation = (
            torch.tensor(values, device=device)[:, None, None] * 255 for values in (MEAN, DEVIATION)
        )
        with exactly(device):
            self._texts = self._network.embed_texts(torch.tensor(texts, device=device))

    def score_alone(self, image: Pixels) -> float:
        """Return the probability of the first text, 0 to 1. Raises Inapplicable below 31 pixels a side."""
        height, width = image.shape[:2]
        if min(height, width) < SMALLEST_SIDE:
            raise Inapplicable(f"CLIP's network needs {SMALLEST_SIDE} pixels a side; the image has {width}x{height}")
        with exactly(self._device):
            normalised = (to_tensor(image, self._device) - self._mean) / self._deviation
            logits = self._network.logits(self._network.embed_image(normalised), self._texts)
            return float(logits.softmax(dim=-1)[0, 0])


class Clip(nn.Module):
    """Compares images with texts: the image network, the text network and the scale of the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = ImageNetwork()
        self.transformer = TextTransformer()
        self.token_embedding = nn.Embedding(VOCABULARY, TEXT_WIDTH)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, TEXT_WIDTH) * 0.01)
        self.ln_final = nn.LayerNorm(TEXT_WIDTH)
        self.text_projection = nn.Parameter(torch.randn(TEXT_WIDTH, EMBEDDING) * TEXT_WIDTH**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """Return unit vectors (texts, 1024) of texts of one length (texts, length), from start to end token.

        What would be padded behind the end token is left out: no token sees those after it.
        """
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.ln_final(self.transformer(x))
        return normalize(x[:, -1] @ self.text_projection, dim=-1)

    def embed_image(self, image: Tensor) -> Tensor:
        """Return the unit vectors (images, 1024) of normalised images (images, 3, height, width)."""
        return normalize(self.visual(image), dim=-1)

    def logits(self, image: Tensor, texts: Tensor) -> Tensor:
        """Return how well each image fits each text (images, texts), from vectors of both."""
        return self.logit_scale.exp() * image @ texts.T


class ImageNetwork(nn.Module):
    """A ResNet-50 with a stem of three convolutions, average pooling for strides, and attention for the last mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = FrozenNorm(STEM // 2)
        self.conv2 = nn.Conv2d(STEM // 2, STEM // 2, 3, padding=1, bias=False)
        self.bn2 = FrozenNorm(STEM // 2)
        self.conv3 = nn.Conv2d(STEM // 2, STEM, 3, padding=1, bias=False)
        self.bn3 = FrozenNorm(STEM)
        self.layer1 = _stage(STEM, STEM, BLOCKS[0], stride=1)
        self.layer2 = _stage(4 * STEM, 2 * STEM, BLOCKS[1], stride=2)
        self.layer3 = _stage(8 * STEM, 4 * STEM, BLOCKS[2], stride=2)
        self.layer4 = _stage(16 * STEM, 8 * STEM, BLOCKS[3], stride=2)
        self.attnpool = AttentionPool()

    def forward(self, x: Tensor) -> Tensor:
        rows = max(BAND_PIXELS // x.shape[3] // SHRINKING, 1) * SHRINKING
        bands = [self._band(x, top, rows) for top in range(0, x.shape[2], rows)]
        return self.attnpool(self.layer4(self.layer3(torch.cat(bands, dim=2))))

    def _band(self, x: Tensor, top: int, rows: int) -> Tensor:
        """Return the second stage's rows for the image's rows from `top` on, by the arithmetic of the whole image."""
        start = max(top - HALO, 0)
        first = self._first_half(x[:, :, start : top + rows + HALO])
        begin = (top - start) // SHRINKING
        is_last = top + rows >= x.shape[2]
        return first[:, :, begin:] if is_last else first[:, :, begin : begin + rows // SHRINKING]

    def _first_half(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu_()
        x = self.bn2(self.conv2(x)).relu_()
        x = self.bn3(self.conv3(x)).relu_()
        return self.layer2(self.layer1(avg_pool2d(x, 2)))


def _stage(inputs: int, inner: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(inputs, inner, stride)
    return nn.Sequential(first, *(Bottleneck(4 * inner, inner, 1) for _ in range(blocks - 1)))


class Bottleneck(nn.Module):
    """A residual block: 1x1, 3x3, 1x1; a stride is an average pooling after the second, and before the projection."""

    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = FrozenNorm(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn2 = FrozenNorm(inner)
        self.conv3 = nn.Conv2d(inner, 4 * inner, 1, bias=False)
        self.bn3 = FrozenNorm(4 * inner)
        if stride > 1 or inputs != 4 * inner:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, 4 * inner, 1, bias=False), FrozenNorm(4 * inner))
        else:
            self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn1(self.conv1(x)).relu_()
        inner = self.bn2(self.conv2(inner)).relu_()
        inner = self.bn3(self.conv3(self._shrink(inner)))
        inner += x if self.downsample is None else self.downsample(self._shrink(x))
        return inner.relu_()

    def _shrink(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, self.stride) if self.stride > 1 else x


class AttentionPool(nn.Module):
    """Pools by the attention of the mean of all positions to itself and to them.

    The positions' embedding is loaded but never added, as CLIP-IQA does without it: it would fix the image's size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(VISUAL_POSITIONS, VISUAL_WIDTH) * VISUAL_WIDTH**-0.5)
        self.k_proj = nn.Linear(VISUAL_WIDTH, VISUAL_WIDTH)
        self.q_proj = nn.Linear(VISUAL_WIDTH, VISUAL_WIDTH)
        self.v_proj = nn.Linear(VISUAL_WIDTH, VISUAL_WIDTH)
        self.c_proj = nn.Linear(VISUAL_WIDTH, EMBEDDING)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2)
        mean = x.mean(dim=1, keepdim=True)
        x = torch.cat([mean, x], dim=1)
        pooled = _attend(self.q_proj(mean), self.k_proj(x), self.v_proj(x), VISUAL_HEADS)
        return self.c_proj(pooled[:, 0])


class TextTransformer(nn.Module):
    """The layers of the text network."""

    def __init__(self) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(TextLayer() for _ in range(TEXT_LAYERS)))

    def forward(self, x: Tensor) -> Tensor:
        return self.resblocks(x)


class TextLayer(nn.Module):
    """A layer of the text network: attention to the tokens so far, then two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = TextAttention()
        self.ln_1 = nn.LayerNorm(TEXT_WIDTH)
        self.mlp = TextMlp()
        self.ln_2 = nn.LayerNorm(TEXT_WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class TextAttention(nn.Module):
    """Attention of each token to itself and those before it; query, key and value are one projection."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.randn(3 * TEXT_WIDTH, TEXT_WIDTH) * TEXT_WIDTH**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * TEXT_WIDTH))
        self.out_proj = nn.Linear(TEXT_WIDTH, TEXT_WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (x @ self.in_proj_weight.T + self.in_proj_bias).chunk(3, dim=-1)
        return self.out_proj(_attend(query, key, value, TEXT_HEADS, causal=True))


class TextMlp(nn.Module):
    """Two linear layers with x sigmoid(1.702 x) between."""

    def __init__(self) -> None:
        super().__init__()
        self.c_fc = nn.Linear(TEXT_WIDTH, 4 * TEXT_WIDTH)
        self.c_proj = nn.Linear(4 * TEXT_WIDTH, TEXT_WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c_fc(x)
        return self.c_proj(x * torch.sigmoid(1.702 * x))


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int, causal: bool = False) -> Tensor:
    query, key, value = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    return scaled_dot_product_attention(query, key, value, is_causal=causal).transpose(1, 2).flatten(2)
