"""The training loop that every trainer shares: run folder, checkpoints, resume, watching.

A trainer is an object with `state() -> dict`, `load(state)`, `step(index) -> dict of floats` and
`sample(folder, index)`. All random numbers of a step come from (seed, step), so a resumed run, or one that
was killed at any moment, repeats an uninterrupted one bit for bit on the CPU. A run may also offer
`score(step) -> float`, lower is better, by which the best weights are kept beside the last.
"""

from __future__ import annotations

import json
import math
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch

from train import allocator, checkpoints, stopping
from train.checkpoints import spared
from train.distributed import Team, part_seed
from train.watching import Watch
from vidgen.errors import VidgenError


@dataclass(frozen=True)
class Record:
    """What a run took: hours in all, the options changed on the way ({"step", "options": {name: [old,
    new]}}), and the best step so far with its score.
    """

    hours: float
    changes: list[dict[str, Any]]
    best: dict[str, float] | None = None


@dataclass
class Progress:
    """How far a run is: what a checkpoint holds beside the trainer's state.

    processor: seconds that the first process's cores were at work, all together.
    sums: losses that are not in the log yet.
    """

    step: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    changes: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, float] | None = None
    sums: dict[str, list[float]] = field(default_factory=dict)


class Clock:
    """Go on from the seconds, of the wall's clock and of the processor, that a run has taken before."""

    def __init__(self, seconds: float, processor: float) -> None:
        self._began, self._idle = time.monotonic() - seconds, time.process_time() - processor

    def read(self) -> tuple[float, float]:
        """Tell how long the run has taken: seconds of the wall's clock and of the processor."""
        return time.monotonic() - self._began, time.process_time() - self._idle


class Trainer(Protocol):
    """What `run` drives."""

    def state(self) -> dict[str, Any]: ...

    def load(self, state: dict[str, Any]) -> None: ...

    def step(self, index: int) -> dict[str, float]: ...

    def sample(self, folder: Path, index: int) -> None: ...


def run(
    trainer: Trainer,
    out: Path,
    steps: int,
    options: dict[str, Any],
    *,
    save_every: int = 500,
    sample_every: int = 500,
    log_every: int = 20,
    revise: bool = False,
    on_save: Callable[[int, Record], None] | None = None,
    score: Callable[[int], float] | None = None,
    images: int = 1,
    tensorboard: bool = False,
    team: Team | None = None,
    about: dict[str, Any] | None = None,
) -> Record:
    """Train to `steps`, resuming from `out` when it holds a run of the same options.

    revise: resume with other options too; each change is kept in the record. on_save: called with the step
    and the record so far before each checkpoint. score: of a step, lower is better. images: real frames that
    a step learns from. about: the machine, for the report. Raises VidgenError where a loss or a weight is no
    number, and keeps the checkpoint before it. SIGTERM or SIGINT, to any process, ends the run after a step
    and a checkpoint: it exits with 128 and the signal's number.
    """
    allocator.keep_freed()
    team = team or Team()
    out.mkdir(parents=True, exist_ok=True)
    progress = _resume(trainer, out, steps, options, revise, team)
    kept, clock = progress.step, Clock(progress.seconds, progress.processor)
    if team.leads:
        _write(out / "options.json", json.dumps(options, indent=1))
        _write(out / "run.json", json.dumps(about or {}, indent=1))
    watch = Watch(out, progress.step, steps, images=images, tensorboard=tensorboard, shown=team.leads)
    watch.sums, stop = progress.sums, 0
    try:
        with stopping.heard() as request:
            for index in range(progress.step, steps):
                step, last = index + 1, index + 1 == steps
                torch.manual_seed(part_seed(options["seed"], index))
                losses = team.mean(trainer.step(index))
                _check(losses, step, kept)
                watch.add(losses)
                stop = 0 if last else team.largest(request.signal)
                if step % log_every == 0 or last:
                    watch.write(step, *clock.read())
                if team.leads and (step % sample_every == 0 or last):
                    with spared("The sample sheet"):
                        trainer.sample(out, step)
                    watch.picture(out / f"samples-{step:06d}.png", step)
                due = step % save_every == 0 or last
                if team.leads and (due or stop):
                    state = _finite(trainer, step, kept)
                    if score and due:
                        _rate(progress, watch, step, score(step), clock.read()[1])
                    progress.step, progress.sums = step, watch.sums
                    progress.seconds, progress.processor = clock.read()
                    kept = step if _save(out, progress, options, state, on_save) else kept
                if stop:
                    team.largest(stop)  # the others wait until the first has saved
                    break
    finally:
        watch.close()
    if stop:
        _end(team, stop, kept)
    if team.leads and kept < steps:
        raise VidgenError(
            f"{out} has no room for the end of the run: free some, and the same command goes on "
            f"from step {kept}."
        )
    progress.seconds, progress.processor = clock.read()
    return _record(progress)


def _end(team: Team, number: int, kept: int) -> NoReturn:
    """Leave, as asked by a signal; torchrun's own, once one has left, says nothing new."""
    if team.size > 1:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if team.leads:
        checkpoints.tell(f"Asked to stop: the same command goes on from step {kept}.")
    raise SystemExit(128 + number)


def _record(progress: Progress) -> Record:
    return Record(progress.seconds / 3600, progress.changes, progress.best)


def _finite(trainer: Trainer, step: int, kept: int) -> dict[str, Any]:
    """Collect the trainer's state, all of whose numbers must be finite."""
    if place := checkpoints.broken(state := trainer.state()):
        raise _broke(step, f"{place!r} in the networks or optimisers is not finite", kept)
    return state


def _save(
    out: Path,
    progress: Progress,
    options: dict[str, Any],
    state: dict[str, Any],
    on_save: Callable[[int, Record], None] | None,
) -> bool:
    """Write the weights and the checkpoint; returns whether there is a checkpoint."""
    if on_save:
        with spared("The weights file"):
            on_save(progress.step, _record(progress))
    return checkpoints.save_state(out, {**vars(progress), "options": options, "trainer": state})


def _rate(progress: Progress, watch: Watch, step: int, score: float, processor: float) -> None:
    watch.score(step, score, processor)
    if math.isfinite(score) and (progress.best is None or score < progress.best["score"]):
        progress.best = {"step": step, "score": score}


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    os.replace(part, path)


def _resume(
    trainer: Trainer, out: Path, steps: int, options: dict[str, Any], revise: bool, team: Team
) -> Progress:
    """Take up the run that a folder holds, as its first process finds it."""
    saved = None
    if team.leads and checkpoints.exists(out):
        saved = checkpoints.load_state(out)
        if saved["step"] > steps:
            raise VidgenError(
                f"{out} has {saved['step']} steps already; ask for at least as many by --steps."
            )
    if (saved := team.from_first(saved)) is None:
        if begin := getattr(trainer, "begin", None):
            begin()
        return Progress()
    changed = _changes(saved["options"], options, out, revise)
    if "start" in changed and "start" in saved["options"]:
        raise VidgenError(f"{out} has begun already: another --start needs another --out.")
    try:
        trainer.load(saved["trainer"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise VidgenError(
            f"{out / checkpoints.LAST} holds another network than these options make; choose another --out."
        ) from error
    changes = saved.get("changes", []) + ([{"step": saved["step"], "options": changed}] if changed else [])
    kept = {name: saved[name] for name in ("processor", "best", "sums") if name in saved}
    return Progress(saved["step"], saved["seconds"], changes=changes, **kept)


def _changes(old: dict[str, Any], new: dict[str, Any], out: Path, revise: bool) -> dict[str, list[Any]]:
    """List the options that are not as they were, [old, new]; None stands for an option that is not known.

    Options that only one side knows come with another version of the code, and need no leave.
    """
    for name in new:
        if not revise and old.get(name, new[name]) != new[name]:
            raise VidgenError(
                f"{out} holds a run with another {name} ({old[name]}); "
                "choose another --out, the same options, or --revise to go on with the new ones."
            )
    names = [*new, *(name for name in old if name not in new)]
    return {name: [old.get(name), new.get(name)] for name in names if old.get(name) != new.get(name)}


def _check(losses: dict[str, float], step: int, kept: int) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise _broke(step, f"the loss {name!r} is {value}", kept)


def _broke(step: int, what: str, kept: int) -> VidgenError:
    remedy = f"go on from step {kept}, with --revise and" if kept else "begin anew with"
    return VidgenError(f"Training broke at step {step}: {what}; {remedy} a lower learning rate.")


def rise(index: int, first: int, last: int) -> float:
    """Go from 0 at step `first` to 1 at step `last`."""
    return min(max((index - first) / max(last - first, 1), 0.0), 1.0)


def revision() -> str:
    """Give the git revision, with "+" where the tree has uncommitted changes; "unknown" outside a
    checkout.
    """
    here = Path(__file__).parent
    try:
        name = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        dirty = subprocess.run(
            ["git", "diff", "--quiet", "HEAD"], cwd=here, capture_output=True, check=False
        ).returncode
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip() + ("+" if dirty else "")


def card(
    trainer: Any, settings: dict[str, Any], steps: int, record: Record, model: torch.nn.Module
) -> dict[str, Any]:
    """Say how `model` was trained, for its weights file; trainer: has the recipe `o`, `device` and, where it
    began with a weights file, what `starting.begin_with` says of that, in `before`.
    """
    before = getattr(trainer, "before", None)  # not all trainers can begin with a file
    return ({"before": before} if before else {}) | {
        "preset": settings["preset"],
        "options": asdict(trainer.o),
        "steps": steps,
        "hours": round(record.hours, 2),
        "changes": record.changes,
        "hardware": hardware(trainer.device),
        "revision": revision(),
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }


OPTIMISERS = ("opt_g", "opt_d")


def state_of(trainer: Any) -> dict[str, Any]:
    """Collect all that a resumed run needs of a trainer with two optimisers and `parts`, networks by name."""
    modules = {name: module.state_dict() for name, module in trainer.parts.items()}
    optimisers = {name: getattr(trainer, name).state_dict() for name in OPTIMISERS}
    return modules | optimisers | {"before": getattr(trainer, "before", None)}


def load_into(trainer: Any, state: dict[str, Any]) -> None:
    """Take up a state of `state_of`."""
    for name, module in trainer.parts.items():
        module.load_state_dict(state[name])
    load_optimisers(trainer, state)
    trainer.before = state.get("before")


def load_optimisers(trainer: Any, state: dict[str, Any]) -> None:
    """Take up the optimisers' part of a state; they keep their own settings, which may have been revised
    since.
    """
    for name in OPTIMISERS:
        optimizer = getattr(trainer, name)
        settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        optimizer.load_state_dict(state[name])
        for group, own in zip(optimizer.param_groups, settings, strict=True):
            group |= own


def hardware(device: str | torch.device = "cpu") -> str:
    """Name the machine that trains on `device`."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name()
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        cpu = models[0] if models else cpu
    return f"{cpu}, {torch.get_num_threads()} thread(s)"
