"""Compare presets over seeds: `python -m train.compare RUN RUN ... --data PATH`, from folders of ended runs.

Runs of one preset are one row of the table: means and standard deviations over them. --curves draws the score
that each run kept its best weights by (--judge) over the processor's time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from train import command, report
from train.watching import read_log
from vidgen._clips.files import replacing, reported
from vidgen.errors import VidgenError
from vidgen.evaluation.generators import Request, measure, missing
from vidgen.evaluation.readers import find_reader
from vidgen.evaluation.real import open_real
from vidgen.evaluation.report import meanings_of, pattern_of, with_spread
from vidgen.session import Session

METRICS = ("fvd", "mcs", "swap", "diversity")


@dataclass(frozen=True)
class Run:
    """An ended run: its folder, the name of its preset, its options, the lines of its log, and its weights'
    figures.
    """

    folder: Path
    preset: str
    options: dict[str, Any]
    log: list[dict[str, Any]]
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def minutes(self) -> float:
        """Tell the processor's time."""
        return self.log[-1]["processor_seconds"] / 60

    @property
    def curve(self) -> list[tuple[float, float]]:
        """Give (processor minutes, score) pairs."""
        return [(line["processor_seconds"] / 60, line["score"]) for line in self.log if "score" in line]


def read_run(folder: Path) -> Run:
    """Read a run of a generator; raises VidgenError where it has not ended."""
    options, log = report.read_json(folder / "options.json"), read_log(folder)
    if not options or not log:
        raise VidgenError(f"{folder} holds no run: give the folder that --out named.")
    if "data" not in options:
        raise VidgenError(f"{folder} holds no run of a generator: translators are not compared.")
    if log[-1]["step"] < options["steps"]:
        raise VidgenError(f"{folder} is at step {log[-1]['step']} of {options['steps']}: let it end first.")
    if not all("processor_seconds" in line for line in log):
        raise VidgenError(f"{folder} is of a version that did not log the processor's time.")
    return Run(folder, options["preset"], options, log)


def check_alike(runs: Sequence[Run]) -> None:
    """Raise VidgenError where runs of one preset differ in more than the seed, or share it."""
    for preset, group in grouped(runs).items():
        for run in group[1:]:
            differ = [n for n in run.options if n != "seed" and run.options[n] != group[0].options.get(n)]
            if differ:
                raise VidgenError(f"The runs of {preset} have another {differ[0]}: compare like with like.")
        if len({run.options["seed"] for run in group}) < len(group):
            raise VidgenError(f"Two runs of {preset} have the same seed.")


def measure_run(run: Run, data: str | None, cache: Path, samples: int) -> dict[str, float]:
    """Measure a run's weights: means over repetitions; what cannot be measured is said and left out."""
    session = Session(run.folder, threads=torch.get_num_threads())
    info, kind = session.info(str(run.folder / "model.safetensors")), run.options["data"]
    real = open_real(kind, data, cache, info.clip_length, run.options.get("stride", 1), info.size)
    asked = Request(kind, find_reader(kind), real, samples, metrics=METRICS)
    unknown = missing(asked, info)
    if real is None:
        unknown["fvd"] = "it needs real clips: give --data"
    for name, why in unknown.items():
        sys.stderr.write(f"{run.folder}: {name} is left out, as {why}.\n")
    found = measure(session, info, replace(asked, metrics=[name for name in METRICS if name not in unknown]))
    return {name: float(np.mean(values)) for name, values in found.values.items()}


def grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Sort runs by their presets."""
    presets = dict.fromkeys(run.preset for run in runs)
    return {preset: [run for run in runs if run.preset == preset] for preset in presets}


def table(runs: Sequence[Run]) -> str:
    """Write one Markdown row for each preset: mean ± standard deviation over its runs."""
    found = dict.fromkeys(name for run in runs for name in run.figures)
    names = list(meanings_of(found))
    rows = ["| preset | runs | steps | processor minutes |" + "".join(f" {name} |" for name in names)]
    rows.append("|---" * (4 + len(names)) + "|")
    for preset, group in grouped(runs).items():
        steps = "/".join(f"{count:,}" for count in dict.fromkeys(run.options["steps"] for run in group))
        cells = [preset, str(len(group)), steps, with_spread("{:.1f}", [run.minutes for run in group])]
        for name in names:
            values = [run.figures[name] for run in group if name in run.figures]
            cells.append(with_spread(pattern_of(name), values) or "–")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def draw_curves(runs: Sequence[Run], path: Path) -> None:
    """Draw each run's score over the processor's time, one colour for each preset, in the suffix's format."""
    check_curves(runs, path)
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for number, (preset, group) in enumerate(grouped(runs).items()):
        scored = [run for run in group if run.curve]
        for run in scored:
            label = preset if run is scored[0] else None
            axes.plot(*np.transpose(run.curve), color=f"C{number}", marker=".", label=label)
    axes.set(xlabel="processor minutes", ylabel="Frechet distance in the judge's features", yscale="log")
    axes.legend()
    with replacing(path) as part, reported(path):
        figure.savefig(part, format=path.suffix[1:].lower())


def check_curves(runs: Sequence[Run], path: Path) -> None:
    """Raise VidgenError where curves cannot be drawn."""
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise VidgenError(f"{path} is no picture to draw; end its name with one of {', '.join(known)}.")
    if not any(run.curve for run in runs):
        raise VidgenError("No run has scores to draw: train with --judge FILE.")


def compare(args: argparse.Namespace) -> None:
    """Print the table and draw the curves."""
    torch.set_num_threads(args.threads)
    runs = [read_run(folder) for folder in args.runs]
    check_alike(runs)
    if args.curves:
        check_curves(runs, args.curves)
    runs = [replace(run, figures=measure_run(run, args.data, args.cache, args.samples)) for run in runs]
    sys.stdout.write(table(runs))
    if args.curves:
        draw_curves(runs, args.curves)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 after a mistake, which is told in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m train.compare", description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the folder that --out named")
    parser.add_argument("--data", help="real clips: an LPC clone, or a pack of train.prepare")
    parser.add_argument("--cache", type=Path, default=Path("runs/data"), help="for composed characters")
    parser.add_argument("--samples", type=int, default=192, help="clips of each repetition (192)")
    parser.add_argument("--curves", type=Path, metavar="FILE", help="draw the scores, as .svg, .png or .pdf")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    return command.run(lambda: compare(args))


if __name__ == "__main__":
    sys.exit(main())
