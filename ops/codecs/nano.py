"""`nano`: the design of TADM at a size that runs on a laptop, with networks of regrow's own that were trained here."""

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from ops.codecs.learned import Size
from ops.codecs.tadm import TadmConfig
from ops.rescalers.passes import Precision


class NanoConfig(TadmConfig, tag="nano", frozen=True, kw_only=True):
    """`nano-x16`, `nano-x32`. Its autoencoder and U-Net are convolutions alone: nothing in them sees a whole image.

    So tiles and cells may be large and overlap little. float32, in which processors without bfloat16 are as fast.
    """

    needs: ClassVar[tuple[str, ...]] = ("torch", "safetensors")
    extra: ClassVar[str] = "nano"
    trained_on: ClassVar[tuple[str, ...]] = ("lpips_vgg", "dists")
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    scale: Literal[16, 32]
    size: Size = "nano"
    precision: Precision = "float32"
    tile: Annotated[int, Meta(ge=16, le=1024, multiple_of=8)] = 144
    overlap: Annotated[int, Meta(ge=0, le=512, multiple_of=8)] = 16
    cell: Annotated[int, Meta(ge=128, le=1 << 16, multiple_of=64)] = 2048
    cell_overlap: Annotated[int, Meta(ge=0, le=1024, multiple_of=64)] = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size != "nano":
            raise ValueError(f"size {self.size}: {self.name} has a size of its own; leave it out")
        if self.encoding != "cells":
            raise ValueError(f"encoding {self.encoding} is that of TADM's authors; {self.name} has cells alone")
