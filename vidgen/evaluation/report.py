"""What was measured, as JSON and as a table, beside another model's figures; and the nearest training clips.

Two models' figures are a tie where the ranges of mean and spread overlap.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vidgen.errors import VidgenError
from vidgen.evaluation.generators import Found
from vidgen.metrics.scores import Nearest
from vidgen.video_io import filmstrip

FORMAT = "vidgen-eval-1"
SHEET_CLIPS, SHEET_FRAMES, GAP = 8, 8, 4
MAX_BYTES = 2**24  # of a report
# figure: (format, what it says)
MEANINGS: dict[str, tuple[str, str]] = {
    "MCS": ("{:.1%}", "motion control score: how often the category that was asked for is recognised"),
    "ACD (colour)": (
        "{:.2f}",
        "average content distance: how far the shape's colour (0-255) wanders in a clip; the paper's is 1.79",
    ),
    "Swap error of content": (
        "{:.3f}",
        "only the motion changed: how far content factors move; 0 perfect, 1 no control",
    ),
    "Swap error of motion": (
        "{:.3f}",
        "only the content changed: how far motion factors move; 0 perfect, 1 no control",
    ),
    "ACD (content)": (
        "{:.3f}",
        "average content distance: how far what the judge sees of the content, frame by frame, wanders",
    ),
    "FVD16": ("{:.1f}", "Frechet distance to real clips of 16 frames, by the published protocol"),
    "FVD128": ("{:.1f}", "the same of 128 frames"),
    "FVD-c": (
        "{:.1f}",
        "Frechet distance to real test clips in the judge's features; comparable with itself only",
    ),
    "Diversity": ("{:.1f}", "mean distance of clips with other codes, levels of 0-255"),
    "Nearest training clip": (
        "{:.1f}",
        "mean distance to the nearest of twice as many training clips; far below the real value: copies",
    ),
    "Content drift": ("{:.3f}", "share of the colours that change within a clip, 0-1"),
    "Motion energy": ("{:.2f}", "mean change from frame to frame, levels"),
    "Flicker": ("{:.2f}", "what jumps and returns, levels"),
    "Sharpness": (
        "{:.2f}",
        "how far pixels stand out from the 3 x 3 about them, levels; blur below the real value, noise above",
    ),
}
LOWER = ("FVD", "ACD", "Swap error", "content: ", "motion: ", "Cycle error")  # better when lower ...
HIGHER = ("MCS", "Head", "Mouth", "Lids", "Flow of the face")  # ... when higher; others: nearer to real clips

Figure = dict[str, Any]


def figures_of(
    found: Found,
    real: Mapping[str, Sequence[float]],
    extractors: Mapping[str, str],
    splits: Mapping[str, str],
) -> dict[str, Figure]:
    """Describe each figure: mean, spread (standard deviation over the repetitions), values, mean and spread
    of the same of real clips, how many clips it is of, what looked at them, and the split of the real clips.

    extractors, splits: beginning of a figure's name -> text. What says nothing is None.
    """
    return {
        name: {
            **dict(zip(("mean", "spread"), _spread(values), strict=True)),
            "values": [_number(value) for value in values],
            **dict(zip(("real", "real_spread"), _spread(real.get(name, ())), strict=True)),
            "clips": found.clips[name],
            "extractor": _by_beginning(name, extractors) or "pixels",
            "split": _by_beginning(name, splits),
        }
        for name, values in found.values.items()
    }


def with_spread(pattern: str, values: Sequence[float]) -> str:
    """Format the mean and, of several values, their standard deviation; nothing of none."""
    return " ± ".join(pattern.format(value) for value in _spread(values) if value is not None)


def _spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Give mean and standard deviation, as far as there are any."""
    mean = _number(np.mean(values)) if len(values) else None
    return mean, _number(np.std(values, ddof=1)) if len(values) > 1 else None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _by_beginning(name: str, known: Mapping[str, str]) -> str | None:
    return next((text for begin, text in known.items() if name.startswith(begin)), None)


def compared(name: str, own: Figure, other: Figure | None) -> str:
    """Say how a figure stands beside another model's: tie, better, worse, or why it cannot be said."""
    if other is None:
        return ""
    for key in ("extractor", "clips", "split"):
        if own[key] != other[key]:
            return f"another {key}"
    if None in (own["mean"], other["mean"], own["spread"], other["spread"]):
        return "unknown"
    if abs(own["mean"] - other["mean"]) <= own["spread"] + other["spread"]:
        return "tie"
    if name.startswith(LOWER):
        better = own["mean"] < other["mean"]
    elif name.startswith(HIGHER):
        better = own["mean"] > other["mean"]
    elif own["real"] is None:
        return "differs"
    else:
        better = abs(own["mean"] - own["real"]) < abs(other["mean"] - own["real"])
    return "better" if better else "worse"


def table(report: Mapping[str, Any], other: Mapping[str, Any] | None = None) -> str:
    """Lay a report out, beside another one."""
    heads = ["figure", report["model"], "real clips"]
    heads += [other["model"], "against it"] if other else []
    rows = [[*heads, "clips", "by"]]
    for name, own in report["figures"].items():
        cells = [
            name,
            shown(name, own),
            shown(name, own, "real", "real_spread") if own["real"] is not None else "",
        ]
        if other:
            theirs = other["figures"].get(name)
            cells += [shown(name, theirs) if theirs else "", compared(name, own, theirs)]
        split = f", {own['split']} split" if own["split"] else ""
        rows.append([*cells, str(own["clips"]), own["extractor"] + split])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines += [f"{name}: left out, as {why}." for name, why in report["left_out"].items()]
    seeds = ", ".join(map(str, report["seeds"]))
    lines.append(f"Mean ± standard deviation over seeds {seeds}; data: {report['data']}.")
    return "\n".join(lines) + "\n"


def shown(name: str, figure: Figure, mean: str = "mean", spread: str = "spread") -> str:
    """Format a figure as mean ± spread; reports of before have no spread of real clips."""
    if figure[mean] is None:
        return "none"
    values = [figure[mean], figure.get(spread)]
    texts = [pattern_of(name).format(value) for value in values if value is not None]
    return " ± ".join(texts)


def meanings_of(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Give format and meaning of those of the figures that a table shows, in its order: without the single
    factors.
    """
    names, found = list(names), dict[str, tuple[str, str]]()
    for known, (pattern, meaning) in MEANINGS.items():
        if known in names:
            found[known] = pattern, meaning
        if known == "FVD-c":
            longer = [name for name in names if re.fullmatch(r"FVD-c\d+", name)]
            found |= {
                name: (pattern, f"the same of clips of {name.removeprefix(known)} frames") for name in longer
            }
    return found


def pattern_of(name: str) -> str:
    """Give the format of a figure."""
    return meanings_of([name]).get(name, ("{:.3f}", ""))[0]


def read_report(path: Path) -> dict[str, Any]:
    """Read a report that was written as JSON."""
    try:
        with path.open(encoding="utf-8") as file:
            report = json.loads(file.read(MAX_BYTES))
        if report["format"] != FORMAT or not isinstance(report["figures"], dict):
            raise ValueError("another format")
        for figure in report["figures"].values():
            if not {"mean", "spread", "real", "clips", "extractor", "split"} <= set(figure):
                raise ValueError("a figure is incomplete")
        report["model"] = str(report["model"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise VidgenError(f"{path} is not a report of python -m vidgen eval --json ({error}).") from error
    return report


def nearest_sheet(nearest: Nearest) -> bytes:
    """Draw the generated clips that are nearest to training clips, each above that one: a PNG's bytes."""
    rows = []
    for index in nearest.distance.argsort()[:SHEET_CLIPS]:
        pair = [filmstrip(clips[index], SHEET_FRAMES) for clips in (nearest.clips, nearest.found)]
        rows.append(np.pad(np.concatenate(pair), ((0, GAP), (0, 0), (0, 0)), constant_values=255))
    out = io.BytesIO()
    Image.fromarray(np.concatenate(rows)[:-GAP]).save(out, "PNG", optimize=True)
    return out.getvalue()
