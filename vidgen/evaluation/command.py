"""`python -m vidgen eval`: find out what can be measured of a model, measure it, and tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from vidgen._clips.files import check_output, replacing, reported
from vidgen.catalogue import TRANSLATORS, ModelInfo, read_header
from vidgen.data.pack import Pack
from vidgen.errors import VidgenError
from vidgen.evaluation import generators, report, translators
from vidgen.evaluation.generators import SEEDS, Found, Request
from vidgen.evaluation.readers import Extractor, find_reader, open_i3d
from vidgen.evaluation.real import Real, chunk, file_hash, kind_of, open_real, packed
from vidgen.session import Session

LENGTHS = (16, 128)  # frames, as published
METRICS = tuple(dict.fromkeys(generators.METRICS + translators.METRICS))
SPLITS = ("test", "train")
SAMPLES = 2048  # as published
TRANSLATED = 24  # clips, for translators


class Bar(Protocol):
    """A progress bar, such as tqdm's."""

    def update(self, n: int) -> object:
        """Go on by n."""
        ...


Bars = Callable[[int], AbstractContextManager[Bar]]  # makes a bar of so many clips


@dataclass(frozen=True)
class Options:
    """What the command is told; a wrong value is a VidgenError.

    metrics: None measures all that can be, else exactly these. samples: None for 2,048 clips, or 24
    translations. lengths: of the clips behind FVD, in frames; None for
    16 and 128 where the data have such clips. folder: for statistics of real clips and packs.
    """

    model: str
    data: str
    folder: Path
    metrics: Sequence[str] | None = None
    i3d: Path | None = None
    judge: Path | None = None
    samples: int | None = None
    seed: int = 0
    split: str = "test"
    lengths: Sequence[int] | None = None
    against: Path | None = None
    json: Path | None = None
    sheet: Path | None = None

    def __post_init__(self) -> None:
        if self.samples is not None and self.samples < 2:
            raise VidgenError(f"--samples is {self.samples}, but a distance needs at least 2.")
        if self.seed < 0:
            raise VidgenError(f"--seed is {self.seed}, but must be at least 0.")
        if bad := [length for length in self.lengths or () if not 2 <= length <= 1024]:
            raise VidgenError(f"--lengths has {bad[0]} frames; choose 2 to 1024.")


def run(session: Session, options: Options, bars: Bars) -> str:
    """Measure, write what was asked for, and give the table."""
    info = session.info(options.model)
    for path in (options.json, options.sheet):
        if path is not None:
            check_output(path)
    other = report.read_report(options.against) if options.against else None
    measure = _translator if info.family in TRANSLATORS else _generator
    figures, left_out = measure(session, info, options, bars)
    told = {
        "format": report.FORMAT,
        "model": info.name,
        "family": info.family,
        "sha256": file_hash(Path(info.path)),
        "data": Path(options.data).name,
        "seeds": [options.seed + repetition for repetition in range(SEEDS)],
        "figures": figures,
        "left_out": left_out,
    }
    if options.json is not None:
        _write(options.json, (json.dumps(told, indent=2, allow_nan=False) + "\n").encode())
    return report.table(told, other)


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as part, reported(path):
        part.write_bytes(data)


def _chosen(options: Options, known: Sequence[str], info: ModelInfo) -> tuple[str, ...]:
    """Give the metrics to measure; those of the other kind of model are refused."""
    for name in options.metrics or ():
        if name not in known:
            raise VidgenError(f"{info.name} has no {name}; of it can be measured: {', '.join(known)}.")
    return tuple(known) if options.metrics is None else tuple(options.metrics)


def _generator(
    session: Session, info: ModelInfo, options: Options, bars: Bars
) -> tuple[dict[str, report.Figure], dict[str, str]]:
    about = read_header(info.path)["about"]
    drawn = kind_of(options.data)
    kind = drawn or str(about.get("data") or Path(options.data).stem)  # of a pack, what the model draws
    stride = int(about.get("card", {}).get("options", {}).get("stride", 1))
    metrics = _chosen(options, generators.METRICS, info)
    i3d = _i3d(session, options, metrics)

    def opened(length: int) -> Real:
        real = open_real(drawn or "pack", options.data, options.folder, length, stride, info.size)
        real.split(options.split)(np.random.default_rng(0), 1)  # clips that are too short are told at once
        return real

    request = Request(
        kind,
        find_reader(kind, options.judge),
        opened(info.clip_length),
        options.samples or SAMPLES,
        options.seed,
        [name for name in metrics if name != "fvd" or i3d is None],
        options.split,
        options.folder / "statistics",
    )
    left_out = generators.missing(request, info)
    lengths = _lengths(options, opened, left_out) if i3d is not None else {}
    _refuse(options, left_out)
    request = replace(request, metrics=[name for name in request.metrics if name not in left_out])
    if options.sheet is not None and "memorisation" not in request.metrics:
        raise VidgenError("--sheet shows the nearest training clips: measure memorisation too.")
    with bars(SEEDS * request.samples * (len(lengths) + 2 * bool(request.metrics))) as bar:
        found = generators.measure(session, info, request, bar.update) if request.metrics else Found()
        if i3d is not None:
            found.join(generators.measure_lengths(session, info, request, i3d, lengths, bar.update))
        part, marks = chunk(info.clip_length, info.size), {}
        if request.metrics:
            marks = generators.measure_real(request, part, bar.update)
    if options.sheet is not None and found.closest is not None:
        _write(options.sheet, report.nearest_sheet(found.closest))
    read_by = request.reader.name if request.reader else ""
    extractors = dict.fromkeys(("MCS", "ACD", "Swap error", "content: ", "motion: "), read_by)
    if (judge := request.extractor) is not None:
        extractors["FVD-c"] = f"{judge.name} {judge.key[:8]}"
    if i3d is not None:
        extractors["FVD"] = f"{i3d.name} {i3d.key[:8]}"
    splits = {"FVD": options.split, "Nearest": "train"}
    return report.figures_of(found, marks, extractors, splits), left_out


def _i3d(session: Session, options: Options, metrics: Sequence[str]) -> Extractor | None:
    """Open the I3D detector, if there is one; it and its lengths are for FVD alone."""
    if options.i3d is None and options.lengths is not None:
        raise VidgenError("--lengths are of FVD by the published protocol: give its detector as --i3d FILE.")
    if options.i3d is None:
        return None
    if "fvd" not in metrics:
        raise VidgenError("--i3d is for fvd, which is not among the metrics: leave it out.")
    return open_i3d(options.i3d, str(session.device))


def _lengths(options: Options, opened: Callable[[int], Real], left_out: dict[str, str]) -> dict[int, Real]:
    """Open real clips of each length; a length that was not asked for is left out where there are none."""
    found = {}
    for length in options.lengths or LENGTHS:
        try:
            found[length] = opened(length)
        except VidgenError as error:
            if options.lengths is not None:
                raise
            left_out[f"FVD{length}"] = str(error).rstrip(".")
    return found


def _refuse(options: Options, left_out: dict[str, str]) -> None:
    """Refuse what was asked for by name and cannot be measured."""
    for name in options.metrics or ():
        if name in left_out:
            raise VidgenError(f"{name} cannot be measured: {left_out[name]}.")


def _translator(
    session: Session, info: ModelInfo, options: Options, bars: Bars
) -> tuple[dict[str, report.Figure], dict[str, str]]:
    for name in ("i3d", "judge", "sheet", "lengths"):
        if getattr(options, name) is not None:
            raise VidgenError(f"{info.name} translates videos: leave out --{name}, which is for generators.")
    metrics = _chosen(options, translators.METRICS, info)
    left_out = {} if info.reversible else {"cycle": "the weights hold no way back"}
    _refuse(options, left_out)
    metrics = [name for name in metrics if name not in left_out]
    pack = Pack(packed(options.data, options.folder, info.size), options.split)
    samples, translator = options.samples or TRANSLATED, session.translator(info.path)
    with bars(SEEDS * samples) as bar:
        found, marks = translators.measure(translator, pack, samples, options.seed, metrics, bar.update)
    extractors = {"Flicker": "pixels", "Cycle error": "pixels", "": "optical flow"}
    return report.figures_of(found, marks, extractors, {"": options.split}), left_out
