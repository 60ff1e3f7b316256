"""A run of two processes whose state takes a second to collect: `slow_saver.py OUT`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from test_loop import Calm, train

from train.distributed import joined


class SlowSaver(Calm):
    """A toy that saves slowly, and steps slowly enough to be signalled."""

    def step(self, index: int) -> dict[str, float]:
        time.sleep(0.05)
        return super().step(index)

    def state(self) -> dict[str, Any]:
        time.sleep(1)
        return super().state()


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined("cpu") as (team, _):
        train(Path(sys.argv[1]), SlowSaver(), 4000, save_every=9999, team=team)
