"""Measure a model that draws clips from codes: `SEEDS` times with independent codes, beside real clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vidgen.catalogue import ModelInfo
from vidgen.evaluation.measures import (
    Diversity,
    Figures,
    Frechet,
    Measure,
    Memorisation,
    Meters,
    Part,
    Swap,
    content_distance,
    control,
    measured,
)
from vidgen.evaluation.readers import Extractor, Reader
from vidgen.evaluation.real import SWAPS, Chosen, Real, chunk
from vidgen.evaluation.statistics import gaussian_of
from vidgen.metrics import scores
from vidgen.recipe import MAX_SEED, Recipe
from vidgen.session import Session

SEEDS = 3  # independent repetitions, for the spread
METRICS = ("fvd", "acd", "mcs", "swap", "diversity", "memorisation", "meters")
Progress = Callable[[int], object]  # takes the number of clips that have just been measured


@dataclass(frozen=True)
class Request:
    """What to measure, and against what.

    reader: None reads no factors. real: None compares with no clips. samples: clips of each kind and
    repetition. split: of the real clips behind the Frechet distance. folder: keeps statistics of real clips.
    """

    kind: str
    reader: Reader | None
    real: Real | None
    samples: int
    seed: int = 0
    metrics: Sequence[str] = METRICS
    split: str = "test"
    folder: Path | None = None

    @property
    def sets(self) -> tuple[str, ...]:
        """The sets of `SWAPS` that are needed."""
        return tuple(SWAPS) if "swap" in self.metrics else ("base",)

    @property
    def extractor(self) -> Extractor | None:
        """What the Frechet distance is measured in, if it is."""
        wanted = "fvd" in self.metrics and self.reader is not None and self.real is not None
        return self.reader.extractor if wanted else None


@dataclass
class Found:
    """Figure -> one value per repetition, and how many clips each is of; `closest`: the nearest training
    clips of the first repetition.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    clips: dict[str, int] = field(default_factory=dict)
    closest: scores.Nearest | None = None

    def add(self, figures: Figures, clips: dict[str, int]) -> None:
        """Take the figures of one repetition."""
        for name, value in figures.items():
            self.values.setdefault(name, []).append(value)
        self.clips |= clips

    def join(self, other: Found) -> None:
        """Take what was found of other figures."""
        self.values |= other.values
        self.clips |= other.clips


def missing(request: Request, info: ModelInfo) -> dict[str, str]:
    """Say which of the metrics cannot be measured, and why: metric -> reason."""
    reader, kind, found = request.reader, request.kind, dict[str, str]()
    if request.extractor is None:
        found["fvd"] = f"no network describes clips of {kind}: give one as --i3d FILE"
    if reader is None:
        unread = f"nothing reads factors off clips of {kind}: give a judge as --judge FILE"
        found |= dict.fromkeys(("acd", "mcs", "swap"), unread)
    else:
        if reader.look is None:
            found["acd"] = f"the judge of {kind} reads no content"
        if not (reader.content and reader.motion):
            found["swap"] = f"the judge of {kind} does not read both content and motion"
        if not reader.names_category:
            found["mcs"] = f"the judge of {kind} names no category"
    if not info.categories:
        found["mcs"] = "the model has no categories"
    return {name: reason for name, reason in found.items() if name in request.metrics}


def made(
    session: Session,
    recipe: Recipe,
    count: int,
    categories: int,
    rng: np.random.Generator,
    names: Iterable[str] = tuple(SWAPS),
    part: int = 64,
    reader: Reader | None = None,
) -> Iterator[Part]:
    """Choose codes, and render sets of `SWAPS` from them, `part` clips at a time: "base"; the same with only
    the "motion" (and category) drawn anew; the same with only the "content"; and independent "other" ones.
    """
    content, motion = rng.integers(MAX_SEED, size=(3, count)), rng.integers(MAX_SEED, size=(3, count))
    asked = rng.integers(max(categories, 1), size=(3, count))

    def rendered(name: str, window: slice) -> np.ndarray:
        what, how = SWAPS[name]
        codes = zip(content[what, window], motion[how, window], asked[how, window], strict=True)
        return session.render_many(
            [
                recipe.replace(
                    content_seed=int(c), motion_seed=int(m), category=int(k) if categories else None
                )
                for c, m, k in codes
            ]
        )

    def one(window: slice) -> Part:
        clips = {name: rendered(name, window) for name in names}
        return Part(clips, asked[0, window] if categories else None, reader)

    return (one(slice(first, first + part)) for first in range(0, count, part))


def measure(
    session: Session, info: ModelInfo, request: Request, progress: Progress = lambda _: None
) -> Found:
    """Measure a model; what `missing` names must not be among the metrics."""
    recipe, found = Recipe(model=info.path, frames=info.clip_length, fps=info.fps), Found()
    part, count = chunk(info.clip_length, info.size), request.samples
    for repetition in range(SEEDS):
        rng = np.random.default_rng([request.seed + repetition, 0])
        parts = made(session, recipe, count, len(info.categories), rng, request.sets, part, request.reader)
        measures = _measures(request, rng, part)
        if "mcs" in request.metrics and info.categories:
            measures.append(control())
        found.add(*measured(_reported(parts, progress), measures))
        copies = [one.nearest for one in measures if isinstance(one, Memorisation)]
        found.closest = found.closest or next(iter(copies), None)
    return found


def measure_lengths(
    session: Session,
    info: ModelInfo,
    request: Request,
    extractor: Extractor,
    opened: dict[int, Real],
    progress: Progress = lambda _: None,
    name: str = "FVD",
) -> Found:
    """Measure the Frechet distance at several lengths in frames, by the published protocol; opened: length ->
    real clips; name: of the figures, which the length follows.
    """
    found = Found()
    for length, real in opened.items():
        recipe, part = Recipe(model=info.path, frames=length, fps=info.fps), chunk(length, info.size)
        for repetition in range(SEEDS):
            rng = np.random.default_rng([request.seed + repetition, length])
            parts = made(session, recipe, request.samples, len(info.categories), rng, ("base",), part)
            chosen = real.split(request.split)(rng, request.samples)
            compared = _frechet(f"{name}{length}", extractor, chosen, real, request, part)
            found.add(*measured(_reported(parts, progress), [compared]))
    return found


def measure_real(
    request: Request, part: int = 64, progress: Progress = lambda _: None, split: str = "test"
) -> dict[str, list[float]]:
    """Measure real clips of a split the same way, as the mark to compare with: one value per repetition.

    Test clips tell how good figures can be; training clips, how good a model's can be that has learned all
    there is to learn, where the two splits differ (other people, another part of the sky). What compares with
    training clips, or reads what was asked for, is measured of test clips alone.
    """
    found = Found()
    for repetition in range(SEEDS):
        rng = np.random.default_rng([request.seed + repetition, 1])
        found.add(_real_figures(request, rng, part, progress, split), {})
    known = request.reader.tests if request.reader is not None else {}
    if split == "test" and "mcs" in request.metrics and "MCS" not in found.values and "category" in known:
        found.values["MCS"] = [known["category"]]
    return found.values


def _real_figures(
    request: Request, rng: np.random.Generator, part: int, progress: Progress, split: str
) -> Figures:
    real = request.real
    assert real is not None
    if split != "test":
        alone = [name for name in request.metrics if name not in ("memorisation", "mcs", "swap")]
        request = replace(request, metrics=alone)
    measures = _measures(request, rng, part, swaps=False)
    drawn = _drawn({"base": real.split(split)(rng, request.samples)}, request.reader, part)
    figures, _ = measured(_reported(drawn, progress), measures)
    if "swap" in request.metrics and request.reader is not None and real.swaps:
        sets = _drawn(real.swaps(rng, request.samples), request.reader, part)
        figures |= measured(sets, [Swap(request.reader)])[0]
    if "mcs" in request.metrics and request.reader is not None and real.labelled:
        chosen, labels = real.labelled(rng, request.samples)
        figures |= measured(_drawn({"base": chosen}, request.reader, part, labels), [control()])[0]
    return figures


def _measures(request: Request, rng: np.random.Generator, part: int, swaps: bool = True) -> list[Measure]:
    """Make the measures of one repetition, for which real clips are chosen."""
    reader, real, metrics, made_of = request.reader, request.real, request.metrics, list[Measure]()
    if "acd" in metrics and reader is not None:
        made_of.append(content_distance(reader))
    if "swap" in metrics and reader is not None and swaps:
        made_of.append(Swap(reader))
    if "diversity" in metrics:
        made_of.append(Diversity())
    if "meters" in metrics:
        made_of.append(Meters())
    if "memorisation" in metrics and real is not None:
        made_of.append(Memorisation(real.train(rng, 2 * request.samples).parts(part)))
    if request.extractor is not None and real is not None:
        chosen = real.split(request.split)(rng, request.samples)
        made_of.append(_frechet("FVD-c", request.extractor, chosen, real, request, part))
    return made_of


def _frechet(
    name: str, extractor: Extractor, chosen: Chosen, real: Real, request: Request, part: int
) -> Frechet:
    content = real.content(request.split) if request.folder else ""
    return Frechet(name, extractor, lambda: gaussian_of(chosen, content, extractor, part, request.folder))


def _drawn(
    sets: dict[str, Chosen], reader: Reader | None, part: int, labels: np.ndarray | None = None
) -> Iterator[Part]:
    """Draw real clips in parts."""
    drawn = zip(*(chosen.parts(part) for chosen in sets.values()), strict=True)
    for number, clips in enumerate(drawn):
        asked = None if labels is None else labels[number * part : (number + 1) * part]
        yield Part(dict(zip(sets, clips, strict=True)), asked, reader)


def _reported(parts: Iterable[Part], progress: Progress) -> Iterator[Part]:
    for part in parts:
        yield part
        progress(len(part.base))
