"""FaithEIR: faithful extreme image rescaling (Wei et al., arXiv 2605.00605), from the paper alone."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from ops.codecs.latent import LatentConfig

if TYPE_CHECKING:
    from ops.rescalers.faitheir import FaithEir

UNRELEASED = (
    "built from the paper alone: its authors have released neither code nor weights, and none were trained here"
)

# Fields of which the paper does not state the value; those of its parts are in the networks' own lists.
INFERRED = {
    "transform_stages": "at 32x the paper does not say whether one transform by 4 or two by 2",
    "detail_size": "the paper states no size of the detail prior; 16 fits its count of parameters at 16x",
    "timestep": "the paper says `fixed to emulate the maximum noise level`: SD-Turbo's 999",
    "posterior": "the paper does not say whether latents are drawn or the posterior's mean",
    "quantiser": "the paper names a quantiser without saying which",
    "tile": "the paper names no tiles; 96 with an overlap of 32 are those of S3Diff, on which it builds",
}


class FaithEirConfig(LatentConfig, tag="faitheir", frozen=True, kw_only=True):
    """`faitheir-xN`, 16x and 32x. Unreleased: from the paper alone, with what it leaves open in INFERRED.

    Ablations of the paper (tables 2 and 3): `transform` haar or learned; `detail` zero, random, learned, normal or
    mixture in place of the discarded channels; `semantics` none, learned tokens, or of the thumbnail's pixels.
    """

    trained_on: ClassVar[tuple[str, ...]] = ("lpips_vgg",)
    note: ClassVar[str] = UNRELEASED
    of_networks: ClassVar[tuple[str, ...]] = (
        *LatentConfig.of_networks, "transform", "transform_stages", "detail", "detail_size", "semantics",
    )  # fmt: skip

    scale: Literal[16, 32]
    transform: Literal["haar", "learned"] = "learned"
    transform_stages: Literal["once", "twice"] = "once"
    detail: Literal["zero", "learned", "random", "normal", "mixture"] = "learned"
    detail_size: Annotated[int, Meta(ge=1, le=256)] = 16
    semantics: Literal["none", "learned", "pixel"] = "pixel"
    timestep: Annotated[int, Meta(ge=0, le=999)] = 999

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size == "nano" and self.semantics != "none":
            raise ValueError(f"semantics {self.semantics}: the U-Net of size nano attends to no tokens; write none")

    @property
    def factor(self) -> int:
        """Return by how much each side shrinks."""
        return self.scale

    def network(self) -> "FaithEir":
        """Return the whole system."""
        from ops.rescalers.faitheir import FaithEir  # noqa: PLC0415  it imports torch
        from ops.rescalers.sizes import faitheir_shape  # noqa: PLC0415

        return FaithEir(faitheir_shape(self), self.passes(), self.timestep)
