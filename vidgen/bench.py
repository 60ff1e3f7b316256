"""Measure rendering: the fast path against the plain eager float32 forward of the same network."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from einops import rearrange

from vidgen import checkpoint, sampling
from vidgen.recipe import Recipe
from vidgen.session import ModelInfo

CLIPS, FRAMES, RUNS = 64, 16, 5
SIZE = 64  # pixels; of larger frames, fewer clips are drawn: the plain way holds all of them at once


def measure(
    info: ModelInfo, threads: int = 1, clips: int | None = None, frames: int = FRAMES, runs: int = RUNS
) -> dict[str, Any]:
    """Render `clips` clips (default: 64 of 64 px, fewer of larger ones) of `frames` frames both ways, `runs`
    times in turn, and keep each way's best time.

    Both ways use the same codes and threads. Times are in seconds; the fast one includes the
    conversion to bytes. Differences are in levels of 255, between the bytes of both.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _measured(info, clips or max(CLIPS * SIZE**2 // max(info.size, SIZE) ** 2, 1), frames, runs)
    finally:
        torch.set_num_threads(before)


def _measured(info: ModelInfo, clips: int, frames: int, runs: int) -> dict[str, Any]:
    model, _, _ = checkpoint.load_model(info.path)
    first = Recipe(frames=frames, fps=info.fps)
    recipes = [first.replace(content_seed=seed, motion_seed=seed) for seed in range(clips)]
    codes = sampling.codes(recipes, model, None, info.fps)
    renderer, twin = sampling.Renderer(model), model.plain()

    @torch.inference_mode()
    def plain() -> torch.Tensor:
        return twin(codes.content, codes.motion, codes.times, codes.label)

    def fast() -> np.ndarray:
        return renderer.clips(codes)

    difference = np.abs(fast().astype(int) - _bytes(plain()))  # and the warm-up of both
    best = _best([plain, fast], runs)
    return {
        "model": info.name,
        "clips": clips,
        "frames": frames,
        "size": info.size,
        "threads": torch.get_num_threads(),
        "precision": str(renderer.dtype).removeprefix("torch."),
        "plain_seconds": best[0],
        "fast_seconds": best[1],
        "speedup": best[0] / best[1],
        "frames_per_second": clips * frames / best[1],
        "mean_difference": float(difference.mean()),
        "max_difference": int(difference.max()),
    }


def _best(ways: list[Callable[[], object]], runs: int) -> list[float]:
    """Time the ways in turn, so that another load on the machine meets them alike."""
    best = [float("inf")] * len(ways)
    for _ in range(runs):
        for index, way in enumerate(ways):
            start = time.perf_counter()
            way()
            best[index] = min(best[index], time.perf_counter() - start)
    return best


def _bytes(video: torch.Tensor) -> np.ndarray:
    """Turn a video in [-1, 1] into levels, as the renderer does: [n, t, c, h, w] -> [n, t, h, w, c]."""
    levels = video.add(1).mul(127.5).round().clamp(0, 255)
    return rearrange(levels, "n t c h w -> n t h w c").numpy().astype(int)
