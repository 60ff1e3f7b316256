"""A small network that judges clips: their category (MCS), their factors (swap error), features (FVD-c).

Trained on real clips only, by `train/probes.py`; one safetensors file per data set.

Letters in shapes: n clips, t frames, c channels, h w, d features.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vidgen.errors import VidgenError

FORMAT = "vidgen-judge-1"
CHUNK = 32  # clips looked at together


@dataclass(frozen=True)
class JudgeConfig:
    """Describe a judge.

    heads: what it tells, name -> number of classes; values: what it measures in each frame, name -> number.
    content and motion: which of these names describe what is in a clip and how it moves. "category" is the
    head behind MCS.
    """

    size: int = 64
    width: int = 32
    dims: int = 128
    heads: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, int] = field(default_factory=dict)
    content: tuple[str, ...] = ()
    motion: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.size % 16 or self.size < 16:
            raise VidgenError(f"The judge's frame size is {self.size}; choose a multiple of 16.")
        named = [*self.heads, *self.values]
        for name in (*self.content, *self.motion):
            if name not in named:
                raise VidgenError(f"The judge has no output {name!r}; it has {', '.join(named) or 'none'}.")


class Judge(nn.Module):
    """2D convolutions on each frame, 1D ones along time, a mean over time, a linear head per factor."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config, w, d = config, config.width, config.dims
        self.frame = nn.Sequential(
            nn.PixelUnshuffle(2),
            _block(nn.Conv2d(12, w, 3, 2, 1), w),
            _block(nn.Conv2d(w, 2 * w, 3, 2, 1), 2 * w),
            _block(nn.Conv2d(2 * w, 4 * w, 3, 2, 1), 4 * w),
            nn.Flatten(),
            nn.Linear(4 * w * (config.size // 16) ** 2, d),
            nn.ReLU(),
        )
        self.time = nn.Sequential(_block(nn.Conv1d(d, d, 3, 1, 1), d), _block(nn.Conv1d(d, d, 5, 1, 2), d))
        outputs = {**config.heads, **config.values}
        self.outputs = nn.ModuleDict({name: nn.Linear(2 * d, count) for name, count in outputs.items()})

    def features(self, video: Tensor) -> Tensor:
        """Describe clips of any length: video [n, t, c, h, w] in [-1, 1] -> [n, 2 d], still and moving."""
        return self._along_time(video).mean(-1)

    def _along_time(self, video: Tensor) -> Tensor:
        n, size = len(video), self.config.size
        assert video.ndim == 5 and video.shape[2:] == (3, size, size), video.shape
        frames = rearrange(video, "n t c h w -> (n t) c h w").contiguous(memory_format=torch.channels_last)
        still = rearrange(self.frame(frames), "(n t) d -> n d t", n=n)
        return torch.cat([still, self.time(still)], dim=1)  # [n, 2 d, t]

    def forward(self, video: Tensor) -> dict[str, Tensor]:
        """Give the output of every head: logits [n, classes] and values [n, t, count]."""
        frames = rearrange(self._along_time(video), "n d t -> n t d")
        clip = frames.mean(1)
        return {n: head(clip if n in self.config.heads else frames) for n, head in self.outputs.items()}

    def logits(self, video: Tensor, head: str = "category") -> Tensor:
        """Give the logits [n, classes] of one head."""
        return self.outputs[head](self.features(video))

    def loss(self, video: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Sum cross-entropy over the classes (-100: unknown, left out) and squared error over the values."""
        found = self(video)
        classes = [F.cross_entropy(found[name], targets[name]) for name in self.config.heads]
        values = [F.mse_loss(found[name], targets[name]) for name in self.config.values]
        return torch.stack(classes + values).sum()


def _block(conv: nn.Module, width: int) -> nn.Sequential:
    """Follow a convolution by a norm that does not look at other clips, and a ReLU."""
    return nn.Sequential(conv, nn.GroupNorm(8, width), nn.ReLU())


def to_video(clips: np.ndarray) -> Tensor:
    """Turn clips uint8 [n, t, h, w, c] into video [n, t, c, h, w] in [-1, 1]."""
    return (
        rearrange(torch.from_numpy(np.ascontiguousarray(clips)), "n t h w c -> n t c h w").float() / 127.5 - 1
    )


def _chunks(clips: np.ndarray) -> Iterator[Tensor]:
    for start in range(0, len(clips), CHUNK):
        yield to_video(clips[start : start + CHUNK])


@torch.inference_mode()
def read_factors(judge: Judge, clips: np.ndarray) -> dict[str, np.ndarray]:
    """Read all factors off clips uint8 [n, t, h, w, c]: classes int64 [n], values float32 [n, t, count]."""
    parts = [judge(video) for video in _chunks(clips)]
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {name: (v.argmax(1) if name in judge.config.heads else v).numpy() for name, v in found.items()}


@torch.inference_mode()
def frame_content(judge: Judge, clips: np.ndarray) -> np.ndarray:
    """Describe what is in each frame by itself, for the content distance: float32 [n, t, d].

    The probabilities of the classes that are content, of one factor after the other, and its values.
    """
    n = len(clips)
    frames = rearrange(clips, "n t h w c -> (n t) 1 h w c")
    parts = []
    for video in _chunks(frames):
        found, heads = judge(video), judge.config.heads
        shares = [found[x].softmax(1) if x in heads else found[x][:, 0] for x in judge.config.content]
        parts.append(torch.cat(shares, 1))
    return rearrange(torch.cat(parts).numpy(), "(n t) d -> n t d", n=n)


@torch.inference_mode()
def clip_features(judge: Judge, clips: np.ndarray) -> np.ndarray:
    """Describe clips uint8 [n, t, h, w, c] for the Frechet distance: float32 [n, d]."""
    return torch.cat([judge.features(video) for video in _chunks(clips)]).numpy()


def load_judge(path: Path | str) -> tuple[Judge, dict[str, Any]]:
    """Load a judge for use: (network in float32 and eval mode, what its training measured)."""
    path = Path(path)
    if not path.is_file():
        raise VidgenError(f"There is no judge {path}; train it with python -m train.probes.")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise VidgenError(f"{path} is a safetensors file, but not one of vidgen's judges.")
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        judge = Judge(JudgeConfig(**json.loads(metadata["config"])))
        judge.load_state_dict(tensors, strict=True)
        about = json.loads(metadata["about"])
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise VidgenError(f"{path} is not a readable judge ({error}).") from error
    return judge.eval().requires_grad_(False), about
