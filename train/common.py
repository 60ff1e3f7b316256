"""The training loop that every trainer shares: run folder, checkpoints, resume, logs.

A trainer is an object with `state() -> dict`, `load(state)`, `step(index) -> dict of floats` and
`sample(folder, index)`. All random numbers of a step come from (seed, step), so a resumed run repeats an
uninterrupted one.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from vidgen.errors import VidgenError


@dataclass(frozen=True)
class Record:
    """What a run took: hours in all, and the options changed on the way ({"step", "options": {name: [old,
    new]}}).
    """

    hours: float
    changes: list[dict[str, Any]]


class Trainer(Protocol):
    """What `run` drives."""

    def state(self) -> dict[str, Any]: ...

    def load(self, state: dict[str, Any]) -> None: ...

    def step(self, index: int) -> dict[str, float]: ...

    def sample(self, folder: Path, index: int) -> None: ...


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the training state whole or not at all."""
    part = path.with_suffix(".part")
    try:
        torch.save(state, part)
        os.replace(part, path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise VidgenError(f"Cannot write {path}: {error}.") from error


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
) -> Record:
    """Train to `steps`, resuming from `out` when it holds a run of the same options.

    revise: resume with other options too; each change is kept in the record. on_save: called with the step
    and the record so far after each checkpoint.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "state.pt"
    first, seconds, changes = 0, 0.0, []
    if checkpoint.exists():
        first, seconds, changes = _resume(trainer, checkpoint, options, revise)
    (out / "options.json").write_text(json.dumps(options, indent=1))
    bar = tqdm(
        range(first, steps), initial=first, total=steps, unit="step", dynamic_ncols=True, mininterval=5
    )
    started, sums = time.monotonic(), {}
    with (out / "log.jsonl").open("a") as log:
        for index in bar:
            torch.manual_seed(options["seed"] * 1_000_003 + index)
            for name, value in trainer.step(index).items():
                sums.setdefault(name, []).append(value)
            if (index + 1) % log_every == 0 or index + 1 == steps:
                means = {name: sum(values) / len(values) for name, values in sums.items()}
                _watch(means, index)
                spent = seconds + time.monotonic() - started
                log.write(json.dumps({"step": index + 1, "seconds": round(spent, 1), **means}) + "\n")
                log.flush()
                bar.set_postfix({name: f"{value:.3g}" for name, value in means.items()}, refresh=False)
                sums = {}
            if (index + 1) % sample_every == 0 or index + 1 == steps:
                trainer.sample(out, index + 1)
            if (index + 1) % save_every == 0 or index + 1 == steps:
                spent = seconds + time.monotonic() - started
                own = {"step": index + 1, "seconds": spent, "options": options, "changes": changes}
                save_state(checkpoint, {**own, "trainer": trainer.state()})
                if on_save:
                    on_save(index + 1, Record(spent / 3600, changes))
    return Record((seconds + time.monotonic() - started) / 3600, changes)


def _resume(
    trainer: Trainer, checkpoint: Path, options: dict[str, Any], revise: bool
) -> tuple[int, float, list[dict[str, Any]]]:
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = type(error).__name__
        raise VidgenError(f"{checkpoint} cannot be read; remove it to start anew ({reason}).") from error
    old = saved["options"]
    changed = {name: [old[name], new] for name, new in options.items() if old.get(name, new) != new}
    if changed and not revise:
        name, (was, _) = next(iter(changed.items()))
        raise VidgenError(
            f"{checkpoint.parent} holds a run with another {name} ({was}); "
            "choose another --out, the same options, or --revise to go on with the new ones."
        )
    if saved["step"] > options["steps"]:
        raise VidgenError(
            f"{checkpoint.parent} has {saved['step']} steps already; ask for at least as many by --steps."
        )
    try:
        trainer.load(saved["trainer"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise VidgenError(
            f"{checkpoint} holds another network than these options make; choose another --out."
        ) from error
    changes = saved.get("changes", []) + ([{"step": saved["step"], "options": changed}] if changed else [])
    return saved["step"], saved["seconds"], changes


def rise(index: int, first: int, last: int) -> float:
    """Go from 0 at step `first` to 1 at step `last`."""
    return min(max((index - first) / max(last - first, 1), 0.0), 1.0)


def _watch(means: dict[str, float], index: int) -> None:
    for name, value in means.items():
        if not math.isfinite(value):
            raise VidgenError(
                f"Training broke at step {index + 1}: the loss {name!r} is {value}; lower the learning rate."
            )


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
