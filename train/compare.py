"""Compare presets over seeds: `python -m train.compare RUN RUN ... --data PATH`, from folders of ended runs.

Runs of one preset are one row of the table: means and standard deviations over them. --curves draws the score
that each run kept its best weights by (--judge) over the processor's time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from vidgen.session import Session

METRICS = ("fvd", "mcs", "swap", "diversity")


@dataclass(frozen=True)
class Run:
    """A finished run: the name of its preset, its options, the lines of its log, and its weights' figures."""

    preset: str
    options: dict[str, Any]
    log: list[dict[str, Any]]
    figures: dict[str, float]

    @property
    def minutes(self) -> float:
        """Tell the processor's time, scores and sample sheets included."""
        return max(line.get("processor_seconds", 0.0) for line in self.log) / 60

    @property
    def curve(self) -> list[tuple[float, float]]:
        """Give (processor minutes, score) pairs."""
        spent, found = 0.0, []
        for line in self.log:
            spent = line.get("processor_seconds", spent)
            if "score" in line:
                found.append((spent / 60, line["score"]))
        return found


def read_run(folder: Path, data: str | None, cache: Path, samples: int) -> Run:
    """Read a run and measure its weights; raises VidgenError where it has not ended."""
    options, log = report.read_json(folder / "options.json"), read_log(folder)
    if not options or not log:
        raise VidgenError(f"{folder} holds no run: give the folder that --out named.")
    if log[-1]["step"] < options["steps"]:
        raise VidgenError(f"{folder} is at step {log[-1]['step']} of {options['steps']}: let it end first.")
    session = Session(folder, threads=torch.get_num_threads())
    info = session.info(str(folder / "model.safetensors"))
    kind = options["data"]
    real = open_real(kind, data, cache, info.clip_length, options.get("stride", 1), info.size)
    asked = Request(kind, find_reader(kind), real, samples, metrics=METRICS)
    known = [name for name in METRICS if name not in missing(asked, info)]
    found = measure(session, info, replace(asked, metrics=known))
    return Run(options["preset"], options, log, {k: float(np.mean(v)) for k, v in found.values.items()})


def grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Sort runs by their presets."""
    presets = dict.fromkeys(run.preset for run in runs)
    return {preset: [run for run in runs if run.preset == preset] for preset in presets}


def table(runs: Sequence[Run]) -> str:
    """Write one Markdown row for each preset: mean ± standard deviation over its runs."""
    names = list(dict.fromkeys(name for run in runs for name in run.figures))
    rows = ["| preset | runs | steps | processor minutes |" + "".join(f" {name} |" for name in names)]
    rows.append("|---" * (4 + len(names)) + "|")
    for preset, group in grouped(runs).items():
        steps = "/".join(f"{count:,}" for count in dict.fromkeys(run.options["steps"] for run in group))
        cells = [preset, str(len(group)), steps, spread([run.minutes for run in group], ".1f")]
        for name in names:
            values = [run.figures[name] for run in group if name in run.figures]
            share = name == "MCS"
            cells.append(spread(values, ".1%" if share else ".3g" if np.mean(values) < 10 else ".1f"))
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def spread(values: Sequence[float], form: str) -> str:
    """Write the mean and, of several values, their standard deviation."""
    if not values:
        return "–"
    more = f" ± {np.std(values, ddof=1):{form}}" if len(values) > 1 else ""
    return f"{np.mean(values):{form}}{more}"


def draw_curves(runs: Sequence[Run], path: Path) -> None:
    """Draw each run's score over the processor's time, one colour for each preset, in the suffix's format."""
    if not any(run.curve for run in runs):
        raise VidgenError("No run has scores to draw: train with --judge FILE.")
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    if (form := path.suffix[1:].lower()) not in (known := figure.canvas.get_supported_filetypes()):
        raise VidgenError(f"{path} is no picture to draw; end its name with one of {', '.join(known)}.")
    axes = figure.subplots()
    for number, (preset, group) in enumerate(grouped(runs).items()):
        scored = [run for run in group if run.curve]
        for run in scored:
            label = preset if run is scored[0] else None
            axes.plot(*np.transpose(run.curve), color=f"C{number}", marker=".", label=label)
    axes.set(xlabel="processor minutes", ylabel="Frechet distance in the judge's features", yscale="log")
    axes.legend()
    with replacing(path) as part, reported(path):
        figure.savefig(part, format=form)


def compare(args: argparse.Namespace) -> None:
    """Print the table and draw the curves."""
    torch.set_num_threads(args.threads)
    runs = [read_run(folder, args.data, args.cache, args.samples) for folder in args.runs]
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
    parser.add_argument("--curves", type=Path, metavar="FILE", help="draw the scores as an SVG")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    return command.run(lambda: compare(args))


if __name__ == "__main__":
    sys.exit(main())
