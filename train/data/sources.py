"""What a trainer draws from: batches of real clips, their categories, and reference frames of the same subjects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from train.data.sprites import SpriteClips


@dataclass(frozen=True)
class Batch:
    """Real clips: video [n, t, c, h, w] in [-1, 1], label [n], references [n, f, c, h, w] of the same subjects."""

    video: Tensor
    label: Tensor
    references: Tensor

    def to(self, device: torch.device) -> Batch:
        """Copy to a device."""
        return Batch(self.video.to(device), self.label.to(device), self.references.to(device))


class Source(Protocol):
    """A data set as the trainers see it."""

    name: str
    categories: list[str]

    def batch(self, rng: np.random.Generator, n: int, length: int, references: int) -> Batch:
        """Draw n clips of `length` frames with `references` single frames of each one's subject."""
        ...

    def about(self) -> dict[str, Any]:
        """Describe the data for the weights file: title, categories, fps, clip length, licence, credit."""
        ...


def to_video(frames: np.ndarray) -> Tensor:
    """Turn uint8 [n, t, h, w, c] into float [n, t, c, h, w] in [-1, 1]."""
    return rearrange(torch.from_numpy(np.ascontiguousarray(frames)), "n t h w c -> n t c h w").float() / 127.5 - 1


class SpriteSource:
    """LPC characters; the references show the same character in other categories."""

    name = "sprites"

    def __init__(self, root: str | Path, cache: Path, length: int, count: int = 1500) -> None:
        self.clips, self.length = SpriteClips(root, cache, count=count), length
        self.categories = self.clips.categories

    def batch(self, rng: np.random.Generator, n: int, length: int, references: int) -> Batch:
        """Draw n clips."""
        video, label, others = self.clips.sample_pairs(rng, n, length, references)
        return Batch(to_video(video), torch.from_numpy(label), to_video(others))

    def about(self) -> dict[str, Any]:
        """Describe the data."""
        return {
            "title": "MoCoGAN on LPC sprites",
            "data": "sprites",
            "categories": self.categories,
            "category_axes": self.clips.category_axes,
            "fps": self.clips.fps,
            "clip_length": self.length,
            "licence": self.clips.licence,
            "credit": self.clips.credit,
        }


def open_source(path: str, cache: Path, *, size: int, length: int, stride: int) -> Source:
    """Open whatever `path` is."""
    if (Path(path) / "body").is_dir():
        return SpriteSource(path, cache, length)
    raise NotImplementedError(path, size, stride)
