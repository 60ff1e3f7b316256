"""What a run shows while it goes: a progress bar, `log.jsonl`, and TensorBoard where it is asked for."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from train.checkpoints import Terminal, spared, tell
from vidgen.errors import VidgenError

LOG = "log.jsonl"


class Log:
    """A file of JSON lines that a full disk does not spoil: what cannot be written waits in memory."""

    def __init__(self, path: Path, first: int) -> None:
        """Open the log of a run that goes on from step `first`; lines of later steps are dropped."""
        self.path, self.waiting, self.told = path, "", False
        kept = [line for line in _lines(path) if line["step"] <= first]
        part = path.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in kept))
        os.replace(part, path)

    def add(self, line: dict[str, Any]) -> None:
        """Append a line, and those that wait."""
        self.waiting += json.dumps(line) + "\n"
        whole = self.path.stat().st_size
        try:
            with self.path.open("a") as file:
                file.write(self.waiting)
        except OSError as error:
            os.truncate(self.path, whole)
            if not self.told:
                tell(f"{self.path} cannot be written, so its lines wait: {error.strerror}.")
            self.told = True
        else:
            self.waiting, self.told = "", False


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's log."""
    return _lines(folder / LOG)


def _lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; one that was cut short by a crash is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


class Watch:
    """Show the losses of a run that goes on from step `first`, their means over the steps between two lines.

    images: real frames that a step learns from. shown: whether this process shows anything.
    """

    def __init__(
        self, out: Path, first: int, steps: int, *, images: int, tensorboard: bool, shown: bool = True
    ) -> None:
        self.images, self.sums, self.shown = images, {}, shown
        self.bar = tqdm(
            initial=first,
            total=steps,
            unit="step",
            dynamic_ncols=True,
            mininterval=5,
            disable=not shown,
            file=Terminal(),
        )
        self.log = Log(out / LOG, first) if shown else None
        self.board = _board(out / "tensorboard", first) if tensorboard and shown else None
        self.since, self.steps = time.monotonic(), 0

    def add(self, losses: dict[str, float]) -> None:
        """Take the losses of one step."""
        for name, value in losses.items():
            self.sums.setdefault(name, []).append(value)
        self.steps += 1
        self.bar.update()

    def write(self, step: int, seconds: float, processor: float) -> None:
        """Write a line: the means, images a second and memory; seconds and the processor's: of the whole
        run.
        """
        means = {name: sum(values) / len(values) for name, values in self.sums.items()}
        now = time.monotonic()
        rate = self.images * self.steps / max(now - self.since, 1e-9)
        self.since, self.steps, self.sums = now, 0, {}
        line = {"seconds": round(seconds, 1), "processor_seconds": round(processor, 1)}
        line |= {"images_per_second": round(rate, 2), "memory_gb": memory()}
        self._line(step, line | means)
        shown = {"img/s": f"{rate:.4g}", "GB": f"{line['memory_gb']:.3g}"}
        self.bar.set_postfix(shown | {n: f"{v:.3g}" for n, v in means.items()}, refresh=False)

    def score(self, step: int, score: float, processor: float) -> None:
        """Write a line with a score, and the processor's seconds until it."""
        self._line(step, {"processor_seconds": round(processor, 1), "score": score})

    def _line(self, step: int, values: dict[str, float]) -> None:
        if self.log:
            self.log.add({"step": step, **values})
        if self.board:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)

    def picture(self, path: Path, step: int) -> None:
        """Show a sample sheet in TensorBoard."""
        if self.board and path.exists():
            with spared("The picture in TensorBoard"), Image.open(path) as image:
                self.board.add_image("samples", np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        """End the bar and the board."""
        self.bar.close()
        if self.board:
            self.board.close()


def memory() -> float:
    """Measure the peak memory of this run in GB: the GPU's where it computes on one, else the process's."""
    if torch.cuda.is_initialized() and (used := torch.cuda.max_memory_allocated()):
        return round(used / 1e9, 3)
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in kB
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3)


def _board(folder: Path, first: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise VidgenError(
            "TensorBoard is not installed: pip install tensorboard, or drop --tensorboard."
        ) from error
    return SummaryWriter(str(folder), purge_step=first + 1)
