"""TADM: a timestep-aware diffusion model for extreme image rescaling (Wang et al., ICCV 2025)."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from ops.codecs.latent import LatentConfig

if TYPE_CHECKING:
    from ops.rescalers.tadm import Tadm

# Of the papers' ablations, what decides which tensors there are.
SWITCHES = ("space", "diffusion", "invertible", "guidance", "prediction")


class TadmConfig(LatentConfig, tag="tadm", frozen=True, kw_only=True):
    """`tadm-xN`. The published checkpoints are of 16x and 32x, over Stable Diffusion 2.1 and its ft-MSE autoencoder.

    Ablations of the paper: `space` pixel instead of latent, without `diffusion`, without `invertible` blocks, without
    pixel `guidance`, a fixed `timestep` (the paper shows 1 and 999) instead of the predicted one and of what the
    learned scheduler adds. The rescaling in pixel space is ours: the paper's was HCFlow's. `prediction` is what
    the U-Net predicts; it follows the file of weights. `timestep_input` is what the time-step prediction sees: latents
    scaled as in the authors' tests, or unscaled as in their training. `fixed_step` is t0 of the fixed scheduler.
    """

    trained_on: ClassVar[tuple[str, ...]] = ("lpips_vgg", "dists")
    of_networks: ClassVar[tuple[str, ...]] = (*LatentConfig.of_networks, *SWITCHES)

    scale: Literal[4, 8, 16, 32]
    space: Literal["latent", "pixel"] = "latent"
    diffusion: bool = True
    invertible: bool = True
    guidance: bool = True
    prediction: Literal["epsilon", "v"] = "epsilon"
    timestep: Literal["predicted"] | Annotated[int, Meta(ge=0, le=999)] = "predicted"
    timestep_input: Literal["scaled", "unscaled"] = "scaled"
    fixed_step: Annotated[int, Meta(ge=0, le=999)] = 50

    @property
    def factor(self) -> int:
        """Return by how much each side shrinks."""
        return self.scale

    def network(self) -> "Tadm":
        """Return the whole system."""
        from ops.rescalers.sizes import tadm_shape  # noqa: PLC0415  it imports torch
        from ops.rescalers.tadm import Tadm, TadmRules  # noqa: PLC0415

        rules = TadmRules(**{name: getattr(self, name) for name in TadmRules.__struct_fields__})
        return Tadm(tadm_shape(self), self.passes(), rules)
