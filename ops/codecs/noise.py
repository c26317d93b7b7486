"""Noise of one image, drawn on the processor from a seed alone: the same for an image, whatever its company."""

from typing import TYPE_CHECKING, NamedTuple

from ops.rescalers.geometry import FACTOR, whole

if TYPE_CHECKING:
    from torch import Tensor


class Noise(NamedTuple):
    """Normal noise of the latents (1, c, h / 8, w / 8), and uniform one within half a level of the thumbnail."""

    posterior: "Tensor | None"
    quantisation: "Tensor | None"


def noise_for(seed: int, width: int, height: int, *, latents: int | None, scale: int | None) -> Noise:
    """Return the noise of an image, padded to whole blocks: of channels of latents, of its thumbnail at a scale."""
    import torch  # noqa: PLC0415  the base install has none

    generator = torch.Generator().manual_seed(seed)
    rows, columns = whole(height), whole(width)
    drawn = torch.randn((1, latents, rows // FACTOR, columns // FACTOR), generator=generator) if latents else None
    if scale is None:
        return Noise(drawn, None)
    return Noise(drawn, torch.rand((1, 3, rows // scale, columns // scale), generator=generator) - 0.5)
