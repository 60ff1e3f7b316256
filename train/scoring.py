"""How good a generator is so far: the Frechet distance of a judge's features, lower is better."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from vidgen.errors import VidgenError
from vidgen.metrics.features import load_judge
from vidgen.metrics.scores import frechet_distance

CHUNK = 32  # clips at a time


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add --judge to the command line of a generator's trainer."""
    parser.add_argument(
        "--judge", type=Path, help="a judge of train.probes; keeps best.safetensors by its features"
    )


def open_score(path: Path | None, trainer: Any, clips: int = 256) -> Callable[[int], float] | None:
    """Make the score of a trainer's averaged generator by the judge in a file; None without a file.

    The real clips, and the codes of the generated ones, are the same at each step.
    """
    if path is None:
        return None
    judge, _ = load_judge(path)
    size, length = trainer.o.size, trainer.o.length
    if max(judge.config.size, size) % min(judge.config.size, size):
        raise VidgenError(f"{path} judges clips of {judge.config.size} px; these are of {size} px.")
    judge = judge.to(trainer.device)
    draws = np.random.default_rng([7, 8])
    parts = (trainer.source.batch(draws, CHUNK, length, 1).video for _ in range(clips // CHUNK))
    real = _features(judge, (video.to(trainer.device) for video in parts))
    return lambda _step: frechet_distance(
        real, _features(judge, _rendered(trainer.average.model, length, clips, trainer.device))
    )


@torch.no_grad()
def _rendered(model: Any, length: int, clips: int, device: torch.device) -> Iterator[Tensor]:
    draws = torch.Generator().manual_seed(1)
    times = repeat(torch.arange(length, dtype=torch.float32, device=device), "t -> n t", n=CHUNK)
    for start in range(0, clips, CHUNK):
        content = torch.randn(CHUNK, model.content_dim, generator=draws)
        motion = torch.randn(CHUNK, model.motion_length(length - 1), model.motion_dim, generator=draws)
        label = (start + torch.arange(CHUNK)) % max(model.num_labels, 1)
        label = label.to(device) if model.num_labels else None
        yield model(content.to(device), motion.to(device), times, label)


@torch.no_grad()
def _features(judge: Any, videos: Iterator[Tensor]) -> np.ndarray:
    size = judge.config.size
    return torch.cat([judge.features(fitted(video.float(), size)) for video in videos]).cpu().numpy()


def fitted(video: Tensor, size: int) -> Tensor:
    """Bring clips [n, t, c, h, w] to a judge's size: averaged down or repeated up."""
    frames = rearrange(video.clamp(-1, 1), "n t c h w -> (n t) c h w")
    return rearrange(F.interpolate(frames, size=size, mode="area"), "(n t) c h w -> n t c h w", n=len(video))
