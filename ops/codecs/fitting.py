"""Thumbnails grown within the memory of a device: fewer at a time where all are too many, or what would be enough."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ops.codecs.base import is_out_of_memory
from ops.images import FailureCode, ImageError

if TYPE_CHECKING:
    from torch import Tensor

    from ops.codecs.latent import LatentConfig
    from ops.rescalers.growing import Growing
    from ops.rescalers.system import System


def grown(config: "LatentConfig", system: "System", growing: "Sequence[Growing]") -> "list[Tensor]":
    """Return images: all in one go on an accelerator, or one after the other where its memory is too small for all.

    That changes no byte. Raises ImageError for one that is too much alone.
    """
    groups = [growing] if system.batched else [[one] for one in growing]
    return [x for group in groups for x in _fitted(config, system, group)]


def too_much(config: "LatentConfig", system: "System", error: Exception) -> str:
    """Return that a device lacks memory, and how much would be enough."""
    from ops.rescalers.memory import needed_bytes  # noqa: PLC0415  it imports torch

    said = " ".join(str(error).split())[:160]
    needed = needed_bytes(system) / 2**30
    return (
        f"no memory on {system.device} ({said}): {config.spelling()} with cell {config.cell} and tile_batch "
        f"{config.tile_batch} takes about {needed:.1f} GiB; use a device with more, or a smaller cell or "
        "tile_batch, which make another codec"
    )


def _fitted(config: "LatentConfig", system: "System", group: "Sequence[Growing]") -> "list[Tensor]":
    import torch  # noqa: PLC0415  the base install has none

    try:
        return system.up_all(group)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if len(group) == 1:
            raise ImageError(FailureCode.OUT_OF_MEMORY, too_much(config, system, error)) from error
    torch.cuda.empty_cache()
    return [x for one in group for x in _fitted(config, system, [one])]
