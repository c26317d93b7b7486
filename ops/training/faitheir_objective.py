"""FaithEIR's only stage (Wei et al., arXiv 2605.00605, section 3.5), without its alignment with DINOv2."""

from typing import cast

from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from ops.networks.transforms import LearnedTransform
from ops.rescalers.faitheir import FaithEir
from ops.training.objective import ObjectiveModule, bicubic


class FaithEirObjective(ObjectiveModule):
    """All but the decoder learns, the encoder too. The semantic term is to come.

    After each step the learned transform is made orthogonal again, which it is to be; when, the paper does not say.
    """

    trained = ("vae.encoder.", "vae.quant_conv.", "reversible.", "semantics.", "unet.")

    def terms(self, x: Tensor, step: int, first: int) -> dict[str, Tensor]:
        faitheir = cast("FaithEir", self.system)
        z = self.moments(x)[0]
        y = faitheir.shrink(x, z).float()
        kept = self.quantised(y, step, first)
        clean, _ = faitheir.denoise(faitheir.grow(kept), kept)
        small = bicubic(x, faitheir.scale)
        guidance = {"guidance_l1": l1_loss(y, small), "guidance_mse": mse_loss(y, small)}
        return guidance | self.compared(x, self.decoded(clean), step, first)

    def after_step(self) -> None:
        for module in self.system.modules():
            if isinstance(module, LearnedTransform):
                module.reproject()
