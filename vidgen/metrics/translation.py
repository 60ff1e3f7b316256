"""Scores of translated clips: does the output move as the input does, steadily, and can it be undone?

Arrays in, floats out, numpy only. Clips are uint8 [t, h, w, c]; errors are in levels of 0..255. Motion is
compared as time courses, [t] each, of anything that is measured in both clips: head turns, mouth opening.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Courses = Mapping[str, np.ndarray]
RESAMPLES = 2000  # of the bootstrap behind a confidence interval


@dataclass(frozen=True)
class Estimate:
    """A mean over clips with the limits of its 95% confidence interval, and the number of clips."""

    mean: float
    low: float
    high: float
    clips: int


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Measure Pearson's correlation of two time courses [t], -1..1; NaN where one of them stands still."""
    assert first.shape == second.shape and first.ndim == 1, (first.shape, second.shape)
    a, b = (course.astype(np.float64) - course.mean(dtype=np.float64) for course in (first, second))
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.clip(a @ b / size, -1, 1)) if size > 1e-9 else float("nan")


def motion_agreement(
    inputs: Sequence[Courses], outputs: Sequence[Courses], least: Mapping[str, float] | None = None
) -> dict[str, np.ndarray]:
    """Measure how outputs follow inputs: factor -> the correlation in each clip, [n].

    inputs, outputs: factor -> [t], one mapping per clip. least: factor -> the standard deviation that the
    input needs to count, so that a clip without a blink says nothing about blinks: it is NaN. An output that
    stands still where the input moves has not followed it: 0.
    """
    assert len(inputs) == len(outputs), (len(inputs), len(outputs))
    floors = {} if least is None else least
    found = {}
    for name in inputs[0] if inputs else ():
        moving = [np.std(course[name]) > floors.get(name, 0.0) for course in inputs]
        values = [correlation(a[name], b[name]) for a, b in zip(inputs, outputs, strict=True)]
        found[name] = np.where(moving, np.nan_to_num(values), np.nan)
    return found


def estimate(values: Sequence[float] | np.ndarray, seed: int = 0) -> Estimate:
    """Average one value per clip, [n], with a bootstrap's 95% interval (Efron 1979), which draws clips anew.

    NaN values are left out; without any other the mean is NaN, of 0 clips. The difference of two models'
    values on the same clips is compared so too: an interval without 0 shows that one is better.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    drawn = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(1), (0.025, 0.975))
    return Estimate(float(values.mean()), float(low), float(high), len(values))


def frame_error(first: np.ndarray, second: np.ndarray) -> float:
    """Measure the mean absolute difference of two clips, in levels.

    With a clip and what came of it there and back, the cycle error; with the translated clip and the true
    translation, the error against the truth.
    """
    assert first.shape == second.shape, (first.shape, second.shape)
    return float(np.abs(first.astype(np.int16) - second).mean())
