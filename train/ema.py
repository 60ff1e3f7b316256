"""Exponential moving average of a model's weights and running statistics."""

from __future__ import annotations

import copy

import torch
from torch import nn


class EMA:
    """Keep an average copy: average += (1 - decay) * (model - average), with a warm-up so that the start is
    forgotten.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards `model` after training step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        source = model.state_dict()
        for name, average in self.model.state_dict().items():
            if average.is_floating_point():
                average.lerp_(source[name], 1 - decay)
            else:
                average.copy_(source[name])
