"""A running average of a network's weights, which is what is validated and kept."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ops.training.errors import TrainingError


class Average:
    """A running average, in float32, of the parameters that a module trains and of its buffers of real numbers.

    At update n, from 0, it moves to decay * average + (1 - decay) * weights, where decay is at most (1 + n) / (10 + n),
    so that the first steps are soon forgotten (the rule of TensorFlow's ExponentialMovingAverage). With decay 0 it is
    the weights themselves: nothing is kept, and nothing changes. Buffers that a module does not save (such as masks)
    are constants, and left out. The module must stay the one it was made of, in names, shapes and what is trained.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"an average cannot decay by {decay}: use a number from 0 to below 1, such as 0.999")
        self._decay, self._updates = decay, 0
        self._names = _averaged_names(module) if decay else []
        self._values = [tensor.float().clone() for tensor in self._of(module)]

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's weights after a step."""
        if not self._names:
            return
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        weights = [tensor.float() for tensor in self._of(module)]
        torch._foreach_lerp_(self._values, weights, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
        self._updates += 1

    def state(self) -> dict[str, Any]:
        """Return the number of updates and the averages by name: its own tensors, which the next update changes."""
        return {"updates": self._updates, "values": dict(zip(self._names, self._values, strict=True))}

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `state` returned, from any device. Raises TrainingError where it is of another module."""
        values: dict[str, Tensor] = state["values"]
        if strange := sorted(set(values) ^ set(self._names)):
            raise TrainingError(f"an average of other weights: {strange[0]} is on one side only; start in a new folder")
        for name, own in zip(self._names, self._values, strict=True):
            if own.shape != values[name].shape:
                found = f"{name} has shape {tuple(values[name].shape)}, here it has {tuple(own.shape)}"
                raise TrainingError(f"an average of other weights: {found}; start in a new folder")
            own.copy_(values[name])
        self._updates = state["updates"]

    @torch.no_grad()
    def copy_into(self, module: nn.Module) -> None:
        """Put the averages into the module in place of its weights, in the module's own precision."""
        for tensor, value in zip(self._of(module), self._values, strict=True):
            tensor.copy_(value)

    @contextmanager
    def swapped(self, module: nn.Module) -> Iterator[None]:
        """Have the averages in the module within the block, and behind it its own weights again, to the bit.

        They are copied and not exchanged, so that tensors stay where others (an optimiser, a compiled graph) know them.
        """
        own = [tensor.clone() for tensor in self._of(module)]
        try:
            self.copy_into(module)
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(self._of(module), own, strict=True):
                    tensor.copy_(value)

    def _of(self, module: nn.Module) -> list[Tensor]:
        """Return the module's tensors that are averaged, in the order of the names."""
        tensors = _tensors(module) if self._names else {}
        return [tensors[name] for name in self._names]


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, apart from their gradients."""
    return {name: tensor.detach() for name, tensor in (*module.named_parameters(), *module.named_buffers())}


def _averaged_names(module: nn.Module) -> list[str]:
    saved = module.state_dict().keys()
    trained = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    return trained + [name for name, one in module.named_buffers() if one.is_floating_point() and name in saved]
