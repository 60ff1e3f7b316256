"""Layers that more than one model uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval


class InstanceNoise(nn.Module):
    """Add N(0, sigma^2) to the input while training (Sonderby et al. 2017); sigma 0 adds nothing."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sigma * torch.randn_like(x) if self.training and self.sigma else x

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}"


def fold_norms(stack: nn.Sequential) -> nn.Sequential:
    """Merge each BatchNorm into the convolution or linear layer before it: the same function in eval mode,
    less work.
    """
    folded: list[nn.Module] = []
    for layer in stack:
        if (
            isinstance(layer, nn.BatchNorm2d)
            and folded
            and isinstance(folded[-1], nn.Conv2d | nn.ConvTranspose2d)
        ):
            transposed = isinstance(folded[-1], nn.ConvTranspose2d)
            folded[-1] = fuse_conv_bn_eval(folded[-1], layer, transposed)
        elif isinstance(layer, nn.BatchNorm1d) and folded and isinstance(folded[-1], nn.Linear):
            folded[-1] = fuse_linear_bn_eval(folded[-1], layer)
        else:
            folded.append(layer)
    return nn.Sequential(*folded)
