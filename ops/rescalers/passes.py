"""How a system's networks are run over an image: what decides its bytes, but for the networks themselves."""

from typing import Literal, TypeAlias

from msgspec import Struct

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]
Posterior: TypeAlias = Literal["mode", "sample"]
Quantiser: TypeAlias = Literal["round", "noise"]
Cast: TypeAlias = Literal["round", "floor"]
Border: TypeAlias = Literal["cut", "kept"]
Tiling: TypeAlias = Literal["symmetric", "official"]
Encoding: TypeAlias = Literal["cells", "split-1024"]
Anchor: TypeAlias = Literal["none", "thumbnail"]


class Passes(Struct, frozen=True, kw_only=True):
    """Settings of the passes. `tile` and `overlap` are in latents, `cell` and `cell_overlap` in pixels.

    `posterior`: the mean of the autoencoder's posterior, or a draw from it (as TADM's authors do).
    `quantiser`: 8 bits by rounding, or after uniform noise of one level (the training's stand-in, which the authors'
    test uses, too). `cast`: how floats become bytes, the authors' files by cutting off. `border`: whether a thumbnail
    keeps what pads the image to whole blocks of 64 pixels (the authors'), or is cut to ceil(side / scale) and padded
    anew on the way back. `tiling`: rectangular tiles that fade into one another alike on all sides, or the authors'
    squares under a Gaussian that is half a latent off centre downwards. `encoding`: the autoencoder over cells, or
    the authors' split in tiles of up to 1,024 pixels. `anchor`: whether the thumbnail's colours, blurred, are put back.
    `tile_batch` tiles go through the U-Net together on an accelerator, filled up where there are fewer; on processors
    each goes alone, which costs nothing there. `compiled`: whether an accelerator runs the U-Net through torch.compile,
    whose fused arithmetic has other last bits.
    """

    precision: Precision
    posterior: Posterior
    quantiser: Quantiser
    cast: Cast
    border: Border
    tiling: Tiling
    encoding: Encoding
    anchor: Anchor
    tile: int
    overlap: int
    tile_batch: int
    compiled: bool
    cell: int
    cell_overlap: int
    seed: int
