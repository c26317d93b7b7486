"""What goes into a network: pixels, and weights, whole and in shape or with an error that names the tensor."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ops.images import Pixels
from ops.metrics.base import Unavailable

Network = TypeVar("Network", bound=nn.Module)


def load_strictly(network: Network, tensors: Mapping[str, Tensor], name: str, device: str) -> Network:
    """Return the network with these weights as float32 on a device, to infer only. Raises Unavailable.

    `name` is that of the weights. Every tensor of the network must be there in its shape, and no other. The network
    may be made on the device `meta`, which spares it random tensors.
    """
    if wrong := misfit(network, tensors):
        raise Unavailable(
            f"the weights {name} do not fit: {wrong}; run `regrow weights pull {name}` for the right ones"
        )
    network.load_state_dict({key: tensor.to(torch.float32) for key, tensor in tensors.items()}, assign=True)
    return network.requires_grad_(False).eval().to(device)


def misfit(network: nn.Module, tensors: Mapping[str, Tensor]) -> str:
    """Return in which tensor the weights first differ from what a network needs, or nothing."""
    return misfit_of(network.state_dict(), tensors)


def misfit_of(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> str:
    """Return in which tensor some first differ in name or shape from a network's own, or nothing."""
    wanted = {key: tuple(tensor.shape) for key, tensor in own.items()}
    for key, shape in wanted.items():
        if key not in tensors:
            return f"the tensor {key} is missing"
        if tuple(tensors[key].shape) != shape:
            return f"the tensor {key} has the shape {tuple(tensors[key].shape)}, not {shape}"
    strangers = [key for key in tensors if key not in wanted]
    return f"the tensor {strangers[0]} belongs to no layer" if strangers else ""


def to_tensor(pixels: Pixels, device: str) -> Tensor:
    """Return pixels as float32 of 0 to 255, of shape (1, 3, height, width)."""
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None].to(device)
