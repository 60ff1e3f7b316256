"""What is measured of generated clips, some clips at a time, so that memory does not grow with their number.

A measure takes parts by `add` and gives its figures at the end. Figures are named as in the cards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from vidgen.evaluation.readers import Extractor, Factors, Reader
from vidgen.metrics import scores

COMPARED = 128  # clips, at most, that are set against training clips; twice as many against each other
METERED = 64  # clips that the app's meters are read for
Figures = dict[str, float]


@dataclass(frozen=True)
class Part:
    """Some clips: sets of `SWAPS`, or "base" alone, uint8 [n, t, h, w, c]; the categories asked for, [n]."""

    clips: dict[str, np.ndarray]
    asked: np.ndarray | None = None
    reader: Reader | None = None

    @property
    def base(self) -> np.ndarray:
        """The clips that most is measured of."""
        return self.clips["base"]

    @cached_property
    def factors(self) -> dict[str, Factors]:
        """What the reader reads off each set."""
        assert self.reader is not None
        return {name: self.reader.read(clips) for name, clips in self.clips.items()}


class Measure(Protocol):
    """One measurement of clips that come in parts; `clips` says how many it has used."""

    clips: int

    def add(self, part: Part) -> None:
        """Take more clips."""
        ...

    def figures(self) -> Figures:
        """Give what was measured: NaN where it says nothing."""
        ...


class Means:
    """Means of named values that come with weights."""

    def __init__(self) -> None:
        self.sums: Figures = {}
        self.weights: Figures = {}

    def add(self, name: str, value: float, weight: int) -> None:
        """Count a value `weight` times."""
        self.sums[name] = self.sums.get(name, 0.0) + value * weight
        self.weights[name] = self.weights.get(name, 0) + weight

    def values(self) -> Figures:
        """Give the means."""
        return {name: total / self.weights[name] for name, total in self.sums.items()}


class Averaged:
    """A figure that is a mean over clips."""

    def __init__(self, name: str, measured: Callable[[Part], float]) -> None:
        self.name, self.measured, self.means, self.clips = name, measured, Means(), 0

    def add(self, part: Part) -> None:
        """Take more clips."""
        self.means.add(self.name, self.measured(part), len(part.base))
        self.clips += len(part.base)

    def figures(self) -> Figures:
        """Give the mean."""
        return self.means.values()


def content_distance(reader: Reader) -> Averaged:
    """Measure ACD: how far what a reader sees of the content wanders within a clip."""
    assert reader.look is not None
    look = reader.look
    return Averaged(f"ACD ({reader.looked})", lambda part: scores.average_content_distance(look(part.base)))


def control() -> Averaged:
    """Measure MCS: how often the category that was asked for is read off the clip."""
    return Averaged("MCS", lambda part: scores.accuracy(part.factors["base"]["category"], part.asked))


class Swap:
    """Both swap errors, and each factor's share."""

    def __init__(self, reader: Reader) -> None:
        self.kinds = {
            kind: (names, changed, Means(), Means())
            for kind, names, changed in (
                ("content", reader.content, "motion"),
                ("motion", reader.motion, "content"),
            )
            if names
        }
        self.clips = 0

    def add(self, part: Part) -> None:
        """Take more sets."""
        n, found = len(part.base), part.factors
        for names, changed, moved, spread in self.kinds.values():
            for name in names:
                base = found["base"][name]
                moved.add(name, scores.factor_distance(base, found[changed][name]), n)
                spread.add(name, scores.factor_distance(base, found["other"][name]), n)
        self.clips += n

    def figures(self) -> Figures:
        """Give the errors."""
        out: Figures = {}
        for kind, (_, _, moved, spread) in self.kinds.items():
            shares = scores.swap_shares(moved.values(), spread.values())
            out[f"Swap error of {kind}"] = shares.pop("mean")
            out |= {f"{kind}: {name}": value for name, value in shares.items()}
        return out


class First:
    """The first clips of all, for what needs them side by side."""

    def __init__(self, limit: int) -> None:
        self.limit, self.clips, self.kept = limit, 0, list[np.ndarray]()

    def add(self, part: Part) -> None:
        """Take more clips, until there are enough."""
        if self.clips < self.limit:
            self.kept.append(part.base[: self.limit - self.clips].copy())  # no view that keeps the rest alive
            self.clips += len(self.kept[-1])

    def all(self) -> np.ndarray:
        """Give the clips, uint8 [n, t, h, w, c]."""
        return np.concatenate(self.kept)


class Diversity(First):
    """The mean distance of clips from each other."""

    def __init__(self) -> None:
        super().__init__(2 * COMPARED)

    def figures(self) -> Figures:
        """Give the distance."""
        return {"Diversity": scores.diversity(self.all())}


class Meters(First):
    """The app's meters and the sharpness, on average."""

    def __init__(self) -> None:
        super().__init__(METERED)

    def figures(self) -> Figures:
        """Give the means."""
        rows = [{**scores.meters(clip), "sharpness": scores.sharpness(clip)} for clip in self.all()]
        return {
            name.replace("_", " ").capitalize(): float(np.mean([row[name] for row in rows]))
            for name in rows[0]
        }


class Memorisation(First):
    """The distance to the nearest of `known` clips; `nearest` keeps those."""

    def __init__(self, known: Iterable[np.ndarray]) -> None:
        super().__init__(COMPARED)
        self.known, self.nearest = known, None

    def figures(self) -> Figures:
        """Give the mean distance."""
        self.nearest = scores.Nearest(self.all())
        for clips in self.known:
            self.nearest.add(clips)
        return {"Nearest training clip": float(self.nearest.distance.mean())}


class Frechet:
    """The Frechet distance to `real`, in an extractor's features."""

    def __init__(self, name: str, extractor: Extractor, real: Callable[[], scores.Gaussian]) -> None:
        self.name, self.extractor, self.real, self.made = name, extractor, real, scores.Gaussian()

    @property
    def clips(self) -> int:
        """Count the clips."""
        return self.made.count

    def add(self, part: Part) -> None:
        """Take more clips."""
        self.made.add(self.extractor.features(part.base))

    def figures(self) -> Figures:
        """Give the distance."""
        return {self.name: scores.frechet_distance(self.made, self.real(), self.extractor.ddof)}


def measured(parts: Iterable[Part], measures: Sequence[Measure]) -> tuple[Figures, dict[str, int]]:
    """Show all parts to all measures; give the figures, and how many clips each is of."""
    for part in parts:
        for measure in measures:
            measure.add(part)
    figures: Figures = {}
    clips: dict[str, int] = {}
    for measure in measures:
        own = measure.figures()
        figures |= own
        clips |= dict.fromkeys(own, measure.clips)
    return figures, clips
