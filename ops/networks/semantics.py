"""What the U-Net's cross-attention looks at: FaithEIR's pixel semantic embedder, and what its paper compares it with.

All return tokens (B, n, width) for thumbnails (B, 3, h, w) of -1 to 1.
"""

from itertools import pairwise
from typing import Literal, TypeAlias

import torch
from msgspec import Struct
from torch import Tensor, nn

SemanticsKind: TypeAlias = Literal["none", "learned", "pixel"]

# Which settings FaithEIR's paper (section 3.4, table 2) does not state, and why they are as they are here.
INFERRED = {
    "kind": "the paper does not say what the U-Net attends to without semantics: with `none` it is one token of zeros",
    "hidden": "the paper names a small stack of linear layers; 3-256-512-1024 fits its count of parameters",
    "width": "the width of the aligned DINOv2 features (ViT-L/14) and of SD-Turbo's cross-attention is 1024",
    "tokens": "the paper names learnable text embeddings after OSCAR, which has 77, as many as CLIP has",
}

# Of OSCAR (Guo et al. 2025), as its learnable embeddings start.
EMBEDDING_DEVIATION = 0.02


class SemanticsShape(Struct, frozen=True, kw_only=True):
    """Which semantics there are, and their sizes; `INFERRED` says what no paper states."""

    kind: SemanticsKind = "pixel"
    width: int = 1024
    hidden: tuple[int, ...] = (256, 512)
    tokens: int = 77


class PixelSemantics(nn.Module):
    """FaithEIR's embedder (section 3.4): each pixel through linear layers, ReLU between; a token each, row by row."""

    def __init__(self, hidden: tuple[int, ...] = (256, 512), width: int = 1024) -> None:
        super().__init__()
        widths = (3, *hidden, width)
        layers: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
        for inputs, outputs in pairwise(widths[1:]):
            layers += [nn.ReLU(), nn.Linear(inputs, outputs)]
        self.layers = nn.Sequential(*layers)

    def forward(self, y: Tensor) -> Tensor:
        return self.layers(y.flatten(2).transpose(1, 2))


class LearnedTokens(nn.Module):
    """The same learned tokens for every image, as OSCAR (Guo et al. 2025) has them (table 2, `LTE`)."""

    def __init__(self, tokens: int = 77, width: int = 1024) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(tokens, width) * EMBEDDING_DEVIATION)

    def forward(self, y: Tensor) -> Tensor:
        return self.tokens.expand(len(y), -1, -1)


class NoSemantics(nn.Module):
    """One token of zeros (table 2, `w/o SP`; inferred).

    Keys and values have no bias in Stable Diffusion's cross-attention, so that it then adds a constant alone, and any
    number of such tokens does the same.
    """

    def __init__(self, width: int = 1024) -> None:
        super().__init__()
        self.width = width

    def forward(self, y: Tensor) -> Tensor:
        return y.new_zeros((len(y), 1, self.width))


def build_semantics(shape: SemanticsShape) -> nn.Module:
    """Return the module that turns thumbnails into tokens."""
    match shape.kind:
        case "none":
            return NoSemantics(shape.width)
        case "learned":
            return LearnedTokens(shape.tokens, shape.width)
        case "pixel":
            return PixelSemantics(shape.hidden, shape.width)
    raise ValueError(f"there are no semantics {shape.kind!r}: use none, learned or pixel")
