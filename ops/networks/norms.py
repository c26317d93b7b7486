"""Batch normalisation for networks that only infer."""

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm


class FrozenNorm(nn.Module):
    """Normalises by stored statistics, whatever the mode. It has no `num_batches_tracked`, which not all files have."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
