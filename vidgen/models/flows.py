"""Normalising flows: invertible maps from noise to codes, for priors that are learned.

Letters in shapes: n clips, d dims.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Coupling(nn.Module):
    """One affine coupling layer (RealNVP, Dinh et al., ICLR 2017, eq. 7): a random half of the dimensions is
    scaled and shifted by functions of the rest, and of the category; it starts as the identity.
    """

    LARGEST = 2.0  # of the log scale

    def __init__(self, dim: int, num_labels: int, index: int, width: int = 128) -> None:
        super().__init__()
        self.num_labels = num_labels
        order = torch.randperm(dim, generator=torch.Generator().manual_seed(index // 2))
        self.register_buffer("kept", (order % 2 == index % 2).float())  # two in turn keep opposite halves
        self.body = nn.Sequential(
            nn.Linear(dim + num_labels, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 2 * dim),
        )
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    def _scale_shift(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        seen = self.kept * x
        if self.num_labels:
            assert label is not None
            seen = torch.cat([seen, F.one_hot(label, self.num_labels).to(x.dtype)], -1)
        log_scale, shift = (self.body(seen) * (1 - torch.cat([self.kept] * 2))).chunk(2, -1)
        return self.LARGEST * torch.tanh(log_scale / self.LARGEST), shift

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        log_scale, shift = self._scale_shift(x, label)
        return x * log_scale.exp() + shift

    def inverse(self, y: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Undo `forward`; also give the log determinant of the inverse, [n]."""
        log_scale, shift = self._scale_shift(y, label)  # the kept dimensions, which it reads, are the same
        return (y - shift) * (-log_scale).exp(), -log_scale.sum(-1)


class CodeFlow(nn.Module):
    """Turn N(0, I) noise [n, d], given the category [n], into codes as real clips have them; invertible.

    A learned prior (Chen et al., Variational Lossy Autoencoder, ICLR 2017): where the codes of real clips do
    not fill N(0, I), noise would otherwise fall beside them, and no clip has taught G_I to draw that.
    couplings 0 leaves the noise as it is.
    """

    def __init__(self, dim: int, num_labels: int, couplings: int) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(Coupling(dim, num_labels, index) for index in range(couplings))

    def forward(self, noise: Tensor, label: Tensor | None) -> Tensor:
        code = noise
        for coupling in self.couplings:
            code = coupling(code, label)
        return code

    def inverse(self, code: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Give the noise behind a code, [n, d], and the log determinant of the inverse, [n]."""
        total = code.new_zeros(len(code))
        for coupling in reversed(self.couplings):
            code, log_determinant = coupling.inverse(code, label)
            total = total + log_determinant
        return code, total
