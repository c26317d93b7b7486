"""The autoencoder of latent codecs alone: the bound of what they can reach. Encode, decode, nothing between."""

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ops.codecs.base import Payload, Runtime
from ops.codecs.latent import LatentCodec, LatentConfig
from ops.images import FailureCode, ImageError, Pixels
from ops.rescalers.geometry import FACTOR, whole

if TYPE_CHECKING:
    from torch import Tensor

    from ops.rescalers.autoencoder import Autoencoder

EXTRA = "latents"


class VaeConfig(LatentConfig, tag="vae", frozen=True, kw_only=True):
    """`vae-x8`. Its payload holds the latents in 16 bits (one bit a pixel), beside a thumbnail to look at.

    No way to keep images: it says how much of a latent codec's loss lies in the autoencoder that they all share.
    """

    generative: ClassVar[bool] = False

    scale: Literal[8] = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anchor != "none":
            raise ValueError(f"anchor {self.anchor}: vae grows no thumbnail to anchor to; leave it out")

    @property
    def factor(self) -> int:
        """Return by how much each side shrinks."""
        return self.scale

    def network(self) -> "Autoencoder":
        """Return the autoencoder."""
        from ops.rescalers.autoencoder import Autoencoder  # noqa: PLC0415  it imports torch
        from ops.rescalers.sizes import vae_shape  # noqa: PLC0415

        return Autoencoder(vae_shape(self.size), self.passes())

    def load(self, runtime: Runtime) -> "VaeCodec":
        """Find the weights, prove them, and build the codec. Raises Unavailable where they cannot be had."""
        from ops.rescalers.loading import load_system  # noqa: PLC0415  it imports torch

        return VaeCodec(self, load_system(self, runtime), runtime)


class VaeCodec(LatentCodec):
    """Keeps the latents beside the thumbnail, and grows from them alone."""

    generative = False

    def _extras(self, small: Pixels, z: "Tensor", width: int, height: int) -> dict[str, bytes]:
        del small, width, height
        return {EXTRA: z[0].cpu().numpy().astype("<f2").tobytes()}

    def _grows_from(self, payload: Payload) -> "Tensor":
        import torch  # noqa: PLC0415  the base install has none

        rows, columns = (whole(side) // FACTOR for side in (payload.height, payload.width))
        kept = payload.extras.get(EXTRA, b"")
        channels = self._system.latent_channels
        wanted = 2 * channels * rows * columns
        if len(kept) != wanted:
            raise ImageError(
                FailureCode.CORRUPT,
                f"{len(kept)} bytes of latents where {payload.width}x{payload.height} has {wanted}: a thumbnail of "
                "this codec cannot be regrown alone",
            )
        return torch.from_numpy(np.frombuffer(kept, "<f2").astype(np.float32)).reshape(1, channels, rows, columns)
