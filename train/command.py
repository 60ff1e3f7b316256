"""The command line that all trainers share: the run's options, then one for every field of a recipe."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from train import common, memory, report
from train.checkpoints import spared
from vidgen.errors import VidgenError

AUTO = "auto"


def parser(name: str, about: str, recipe: type, presets: Mapping[str, Any]) -> argparse.ArgumentParser:
    """Make the parser of `python -m name`: presets of a recipe, the run's options, the recipe's fields."""
    made = argparse.ArgumentParser(prog=f"python -m {name}", description=about)
    made.add_argument("--preset", choices=presets, default="modern")
    made.add_argument("--out", required=True, type=Path)
    made.add_argument("--steps", type=_positive, default=100_000)
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--threads", type=int, default=0)
    made.add_argument("--cache", type=Path, default=None, help="where packed data goes (default: OUT/data)")
    made.add_argument(
        "--accumulate", type=_positive, default=1, help="parts of the batch that are computed in turn"
    )
    made.add_argument("--save-every", type=_positive, default=500)
    made.add_argument("--sample-every", type=_positive, default=500)
    made.add_argument("--log-every", type=_positive, default=20)
    made.add_argument("--tensorboard", action="store_true", help="write OUT/tensorboard, too")
    made.add_argument("--revise", action="store_true", help="resume a run although options changed")
    for field in dataclasses.fields(recipe):
        kind = {"bool": _truth, "int": int, "float": float}.get(str(field.type), str)
        kind = batch_size if field.name == "batch" else kind
        made.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=None)
    return made


def chosen(args: argparse.Namespace, recipe: type, presets: Mapping[str, Any]) -> Any:
    """Build the recipe: a preset with the fields that the command line names."""
    named = {f.name: getattr(args, f.name) for f in dataclasses.fields(recipe)}
    given = {name: value for name, value in named.items() if value not in (None, AUTO)}
    return recipe(**{**presets[args.preset], **given})


def run(command: Callable[[], object]) -> int:
    """Run a command and give its exit code: 0, or 2 after a mistake of the user, told in one sentence."""
    try:
        command()
    except (VidgenError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


class Scheduled:
    """A trainer with its learning rates set before each step: `set_rates(index, steps)`."""

    def __init__(self, trainer: Any, steps: int) -> None:
        self.trainer, self.steps = trainer, steps
        self.state, self.load, self.sample = trainer.state, trainer.load, trainer.sample
        self.begin = getattr(trainer, "begin", None)

    def step(self, index: int) -> dict[str, float]:
        """Train one step; raises VidgenError, with the remedy, where it does not fit in memory."""
        try:
            return self._step(index)
        except (RuntimeError, MemoryError) as error:
            if not memory.is_full(error):
                raise
        fewest = memory.fewest_clips(self.trainer)
        raise memory.advice(self._step, self.trainer.team, self.trainer.o.batch, index, fewest)

    def _step(self, index: int) -> dict[str, float]:
        self.trainer.set_rates(index, self.steps)
        return self.trainer.step(index)


Export = Callable[[Path, dict[str, Any], int, common.Record, bool], None]


def train(
    args: argparse.Namespace,
    recipe: Any,
    trainer: Any,
    data: dict[str, str],
    export: Export,
    score: Callable[[int], float] | None = None,
) -> None:
    """Train, and keep `model.safetensors` in the run's folder up to date; report at the end.

    trainer: has `team`, `o`, `device` and `images`, the real frames of a step. data: names of the data, for
    the settings. export: writes the weights, from the file, the settings, the step, the record, and whether
    it is the last time. score: by which `best.safetensors` is kept, lower is better.
    """
    target, team = args.out / "model.safetensors", trainer.team
    if args.batch == AUTO:
        memory.choose(trainer, team, recipe.batch, args.steps)
    team.share(recipe.batch)
    settings = {"preset": args.preset, **data, "steps": args.steps, **dataclasses.asdict(recipe)}
    settings |= {"parts": team.parts}
    about = {
        "hardware": common.hardware(trainer.device),
        "processes": team.size,
        "revision": common.revision(),
    }
    record = common.run(
        Scheduled(trainer, args.steps),
        args.out,
        args.steps,
        settings,
        save_every=args.save_every,
        sample_every=args.sample_every,
        log_every=args.log_every,
        revise=args.revise,
        on_save=lambda step, so_far: _keep(export, target, settings, step, so_far),
        score=score,
        images=trainer.images,
        tensorboard=args.tensorboard,
        team=team,
        about=about,
    )
    if team.leads:
        export(target, settings, args.steps, record, True)
        with spared("The report"):
            report.write(args.out)


def _keep(export: Export, target: Path, settings: dict[str, Any], step: int, record: common.Record) -> None:
    """Write the weights, and beside them `best.safetensors` where none scored better."""
    export(target, settings, step, record, False)
    if record.best and record.best["step"] == step:
        export(target.with_name("best.safetensors"), settings, step, record, True)


def batch_size(text: str) -> int | str:
    """Read --batch: a number, or "auto"."""
    return AUTO if text == AUTO else int(text)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)
