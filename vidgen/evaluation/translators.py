"""Measure a translator: does the output move as the input does, steadily, and can it be undone?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidgen.data.pack import Pack
from vidgen.errors import VidgenError
from vidgen.evaluation.generators import SEEDS, Found, Progress
from vidgen.metrics.flow import flow_cells, motion_courses
from vidgen.metrics.scores import flicker
from vidgen.metrics.translation import correlation, frame_error, motion_agreement
from vidgen.translator import FrameTranslator

METRICS = ("motion", "flicker", "cycle")
FRAMES = 60  # of each clip, where all clips have so many
LEAST = 3  # frames that a flicker is of
# Courses of the flow, and what they are of.
COURSES = {
    "head_x": "Head, sideways",
    "head_y": "Head, up and down",
    "roll": "Head, tilting",
    "mouth": "Mouth",
    "eyes": "Lids",
}
WHOLE = "Flow of the face"
Values = dict[str, np.ndarray]  # figure -> one value per clip, NaN where it says nothing


@dataclass(frozen=True)
class Motion:
    """How a clip moves, by optical flow: courses, each [t - 1], and the flow of the face's cells, one row."""

    courses: dict[str, np.ndarray]
    cells: np.ndarray


def motion_of(clip: np.ndarray) -> Motion:
    """Measure the motion of a clip, uint8 [t, h, w, c]."""
    return Motion(motion_courses(clip), flow_cells(clip))


def agreement(inputs: Sequence[Motion], outputs: Sequence[Motion]) -> Values:
    """Measure how outputs follow inputs: the correlation in each clip, by figure."""
    agreed = motion_agreement([one.courses for one in inputs], [one.courses for one in outputs])
    whole = [correlation(a.cells, b.cells) for a, b in zip(inputs, outputs, strict=True)]
    return {COURSES[name]: values for name, values in agreed.items()} | {WHOLE: np.array(whole)}


def measure(
    translator: FrameTranslator,
    pack: Pack,
    samples: int,
    seed: int = 0,
    metrics: Sequence[str] = METRICS,
    progress: Progress = lambda _: None,
) -> tuple[Found, dict[str, list[float]]]:
    """Translate `samples` random windows of a pack, `SEEDS` times, and measure; also the flicker of the
    inputs, to compare with. One clip is in memory at a time. "cycle" is for reversible translators.
    """
    if pack.size != translator.size:
        raise VidgenError(
            f"{pack.path} holds frames of {pack.size} px; the model takes {translator.size} px."
        )
    frames = min(FRAMES, int(pack.lengths.min()))
    if frames < LEAST:
        raise VidgenError(f"{pack.path} has a clip of {frames} frames; a flicker is of at least {LEAST}.")
    found, inputs = Found(), list[list[float]]()
    for repetition in range(SEEDS):
        rng, rows = np.random.default_rng([seed + repetition, 0]), list[dict[str, float]]()
        inputs.append([])
        indices = rng.integers(len(pack), size=samples)
        for index, start in zip(indices, rng.integers(pack.lengths[indices] - frames + 1), strict=True):
            clip = pack.window(index, int(start), frames)
            rows.append(_measured(translator, clip, metrics))
            inputs[-1].append(flicker(clip))
            progress(1)
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        found.add(
            {name: _mean(values) for name, values in columns.items()},
            {name: int(np.isfinite(values).sum()) for name, values in columns.items()},
        )
    return found, {"Flicker": [float(np.mean(each)) for each in inputs]} if "flicker" in metrics else {}


def _measured(translator: FrameTranslator, clip: np.ndarray, metrics: Sequence[str]) -> dict[str, float]:
    """Translate and measure one clip."""
    result, out = translator.translate(clip), dict[str, float]()
    if "motion" in metrics:
        agreed = agreement([motion_of(clip)], [motion_of(result)])
        out |= {name: float(values[0]) for name, values in agreed.items()}
    if "flicker" in metrics:
        out["Flicker"] = flicker(result)
    if "cycle" in metrics:
        out["Cycle error"] = frame_error(translator.back(result), clip)
    return out


def _mean(values: np.ndarray) -> float:
    """Average what says something; NaN where nothing does."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")
