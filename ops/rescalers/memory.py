"""How much memory a system takes on its device, so that an error can say what would be enough."""

from typing import TYPE_CHECKING, Any

import torch

from ops.networks.compact_unet import CompactUnet
from ops.networks.compact_vae import CompactVae
from ops.networks.vae_strips import STRIP

if TYPE_CHECKING:
    from ops.rescalers.system import System

# Numbers alive at once in the U-Net for each latent of a tile, in multiples of its first level's channels.
UNET_ALIVE = 38
# Activations of a strip while it is normalised and convolved, in float32 for the most part.
STRIPS_ALIVE = 4


def needed_bytes(system: "System") -> int:
    """Return about how many bytes a system takes: its tensors, and its largest pass over a cell or a batch of tiles."""
    return tensor_bytes(system) + working_bytes(system)


def tensor_bytes(system: "System") -> int:
    """Return how many bytes all tensors take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in system.state_dict().values())


def working_bytes(system: "System") -> int:
    """Return about how many bytes a pass takes beside the tensors: a cell, and tiles, which may stay in the heap.

    Measured at full size in bfloat16 with a cell of 1,024 and one tile: 1.60 GB, of which this says 1.43. A rescaling
    by bands takes less than a cell, at another time (`ops.rescalers.bands`).
    """
    return _cell_bytes(system) + _tile_bytes(system)


def _cell_bytes(system: "System") -> int:
    """Return what decoding a cell takes: at full size the second level's channels, and twice the first's."""
    vae: Any = getattr(system, "vae", None)
    if vae is None:  # rescaled in pixel space and not decoded
        return STRIPS_ALIVE * STRIP * 4
    size = getattr(torch, system.passes.precision).itemsize
    if isinstance(vae, CompactVae):
        return vae.alive * system.passes.cell**2 * size
    first, second, *_ = vae.config["block_out_channels"]
    return (second + 2 * first) * system.passes.cell**2 * size + STRIPS_ALIVE * STRIP * 4


def _tile_bytes(system: "System") -> int:
    unet: Any = getattr(system, "unet", None)
    if unet is None:
        return 0
    passes = system.passes
    batch = passes.tile_batch if system.batched else 1
    alive = unet.alive if isinstance(unet, CompactUnet) else unet.config["block_out_channels"][0] * UNET_ALIVE
    return batch * passes.tile**2 * alive * getattr(torch, passes.precision).itemsize
