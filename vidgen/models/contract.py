"""What every generator asks of its codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidgen.errors import VidgenError


def check_codes(model: nn.Module, motion: Tensor, times: Tensor, label: Tensor | None) -> None:
    """Refuse times, or categories, that a generator cannot draw: motion [n, l, d], times [n, t], label [n] or
    [n, t] or None.
    """
    assert motion.ndim == 3, motion.shape
    assert motion.shape[-1] == model.motion_dim, (motion.shape, model.motion_dim)
    if not torch.isfinite(times).all() or times.min() < 0:
        raise VidgenError("Frame times must be finite and not negative.")
    last = float(times.max())
    if motion.shape[1] < model.motion_length(last):
        raise VidgenError(f"Time {last:g} needs {model.motion_length(last)} motion knots.")
    if not model.num_labels:
        return
    if label is None:
        raise VidgenError(f"This model needs a category, 0 to {model.num_labels - 1}.")
    if not 0 <= int(label.min()) <= int(label.max()) < model.num_labels:
        raise VidgenError(f"Category {int(label.max())} is out of range; choose 0 to {model.num_labels - 1}.")
