"""Layers that more than one model uses."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn


class InstanceNoise(nn.Module):
    """Add N(0, sigma^2) to the input while training (Sonderby et al. 2017); sigma 0 adds nothing."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.sigma):
            return x
        # One long float32 row, read in x's own order: PyTorch draws any other kind one number at a time.
        noise = torch.randn(x.numel(), device=x.device).to(x.dtype)
        dense = x.is_contiguous() or any(
            x.ndim == ndim and x.is_contiguous(memory_format=layout)
            for ndim, layout in ((4, torch.channels_last), (5, torch.channels_last_3d))
        )
        noise = noise.as_strided(x.shape, x.stride()) if dense else noise.reshape(x.shape)
        return torch.add(x, noise, alpha=self.sigma)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}"


class Modulation(nn.Module):
    """Scale and shift channels by an affine function of a code: the code then speaks at every resolution.

    As in conditional batch norm (de Vries et al. 2017; BigGAN, Brock et al. 2019). x [n, c, h, w], code [n,
    d].
    """

    def __init__(self, code_dim: int, channels: int) -> None:
        super().__init__()
        self.affine = nn.Linear(code_dim, 2 * channels)
        nn.init.normal_(self.affine.weight, 0, 0.5 / code_dim**0.5)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        gain, shift = rearrange(self.affine(code), "n (two c) -> two n c 1 1", two=2)
        return torch.addcmul(shift.to(x.dtype), x, 1 + gain.to(x.dtype))
