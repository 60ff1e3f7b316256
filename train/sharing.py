"""Clips of a batch that share a code, so that what the code alone should decide can be compared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST = 4  # clips, of which some share neither code


@dataclass(frozen=True)
class Shared:
    """Say for each clip, [n], from which row it takes its content, and from which its motion."""

    content: Tensor
    motion: Tensor


def sharing(n: int, content: bool, motion: bool) -> Shared:
    """Let clips 2 k and 2 k + 1 share a content, and clips 2 k and 2 k + 3 a motion, where numbers wrap
    round; of an odd number of clips, the last one shares nothing.

    Of 8, 16, 32, ... clips, pairs fall into different groups of `vidgen.layers.batch_deviation`: in one of
    them they would differ less than real clips do, and a discriminator would know them by it.
    """
    rows = torch.arange(n)
    odd, paired = rows % 2 == 1, max(n // 2 * 2, 1)
    return Shared(
        torch.where(odd & content, rows - 1, rows), torch.where(odd & motion, (rows - 3) % paired, rows)
    )
