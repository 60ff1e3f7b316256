"""Augmentation that is the same on all frames of a clip, and differentiable (DiffAugment, Zhao et al.
2020).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor


def translate(video: Tensor, reach: int, generator: torch.Generator | None = None) -> Tensor:
    """Shift each clip by up to `reach` px, edges repeated: video [n, t, c, h, w] -> the same shape."""
    if reach == 0:
        return video
    n, t, _, h, w = video.shape
    padded = F.pad(rearrange(video, "n t c h w -> n (t c) h w"), (reach,) * 4, mode="replicate")
    shift = torch.randint(0, 2 * reach + 1, (n, 2), generator=generator).tolist()
    moved = [clip[:, y : y + h, x : x + w] for clip, (y, x) in zip(padded, shift, strict=True)]
    return rearrange(torch.stack(moved), "n (t c) h w -> n t c h w", t=t)
