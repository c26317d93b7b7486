"""Several workers of one run in torch's process group: gradients averaged, and decisions made together."""

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ops.training.run import Place


def place_among_others(device: str) -> Place:
    """Return the place of this worker in the process group, which must have been made; `device` is its own."""
    return Place(
        device=device,
        rank=distributed.get_rank(),
        workers=distributed.get_world_size(),
        wrap=_averaging_gradients,
        averaged=lambda numbers: _averaged(numbers, device),
    )


def wait_for_others() -> None:
    """Wait until all workers are here."""
    distributed.barrier()


def _averaging_gradients(module: nn.Module) -> nn.Module:
    # Networks that a stage does not reach, such as a time-step that is fixed, have no gradient. Buffers are constants.
    return DistributedDataParallel(module, find_unused_parameters=True, broadcast_buffers=False)


def _averaged(numbers: list[float], device: str) -> list[float]:
    """Return means over all workers. What is no number on one is none on all of them."""
    sums = torch.tensor(numbers, dtype=torch.float64, device=device)
    distributed.all_reduce(sums)
    return (sums / distributed.get_world_size()).tolist()
