"""Time one training step of MoStGAN-V against the same step in the plain form: `python -m
train.bench_mostganv [--json]`.

The paper's recipe at 64 px: 3 frames of each of 8 clips, generator and discriminator, without the lazy R1. In
the plain form every frame has filters of its own in every layer (`PlainStyledConv`), applied as grouped
convolutions; both forms are in float32 and begin with the same weights.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import torch

from train.bench import OneBatch, in_turn
from train.common import hardware
from train.mostganv import MoStGANVTrainer
from train.mostganv_options import Options

PAPER = Options(size=64, batch=8, flips=False)


def measure(options: Options, repeats: int = 3) -> dict[str, Any]:
    """Time both steps in turn, best of `repeats`: seconds each, their ratio, and how far the first losses
    are apart.
    """
    source = OneBatch(options.size, options.length, options.batch)
    ours, plain = (MoStGANVTrainer(options, source) for _ in range(2))
    plain.g = plain.g.plain()
    plain.opt_g = torch.optim.Adam(plain.g.parameters(), options.lr, (options.beta1, options.beta2))
    first = [trainer.step(1)["g"] for trainer in (ours, plain)]  # steps with R1 are those that 16 divides
    best = in_turn({"plain": lambda: plain.step(1), "ours": lambda: ours.step(1)}, repeats)
    return {
        "plain_s": round(best["plain"], 3),
        "ours_s": round(best["ours"], 3),
        "ratio": round(best["plain"] / best["ours"], 2),
        "losses_apart": abs(first[0] - first[1]),
        "frames": options.batch * options.frames,
        "size": options.size,
        "hardware": hardware(),
        "torch": torch.__version__,
    }


def main(argv: list[str] | None = None) -> int:
    """Print the timings."""
    parser = argparse.ArgumentParser(
        prog="python -m train.bench_mostganv", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    found = measure(PAPER, args.repeats)
    text = json.dumps(found) if args.json else "\n".join(f"{name:20}{value}" for name, value in found.items())
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
