"""Time one training step of Recycle-GAN with all its losses against the literal step: `python -m
train.bench_recyclegan [--json]`.

Batch 1, 256 px, six residual blocks, width 64, the paper's losses with cycle and identity. The literal step
translates frame by frame, computes each translated frame anew for each loss, and gathers the discriminators'
gradients in the generators' step only to drop them. Both are in float32 and give the same losses; ours is
also timed in bfloat16.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from train.bench import in_turn
from train.common import hardware
from train.data.triplets import Triplets
from train.recyclegan import Options, RecycleGANTrainer, Side

LITERAL = Options(size=256, blocks=6, loss="recycle+cycle")


def _l1(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean()


def _judged(side: Side, frame: Tensor, truth: float) -> Tensor:
    return (side.d(frame) - truth).square().mean()


def literal_losses(trainer: RecycleGANTrainer, real: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Compute the losses of one direction frame by frame, every network anew for each."""
    here, target = trainer.sides[source], "y" if source == "x" else "x"
    there = trainer.sides[target]
    first, second, third = real[source].unbind(1)

    def translated(frame: Tensor) -> Tensor:
        return there.g(frame)

    def ahead() -> Tensor:
        return there.p(torch.stack([translated(first), translated(second)], 1))

    fooled = [_judged(there, frame, 1) for frame in (translated(first), translated(second), ahead())]
    return {
        "g": torch.stack(fooled).mean(),
        "recurrent": _l1(here.p(torch.stack([first, second], 1)), third),
        "recycle": _l1(here.g(ahead()), third),
        "cycle": (_l1(here.g(translated(first)), first) + _l1(here.g(translated(second)), second)) / 2,
        "identity": _l1(there.g(real[target][:, 0]), real[target][:, 0]),
        "d": 0.5
        * torch.stack(
            [
                _judged(there, fake.detach(), 0) + _judged(there, true, 1)
                for fake, true in zip(
                    (translated(first), translated(second), ahead()), real[target].unbind(1), strict=True
                )
            ]
        ).mean(),
    }


def literal_step(trainer: RecycleGANTrainer, real: dict[str, Tensor]) -> dict[str, float]:
    """Train one step in the literal order; returns the losses, named as the trainer's are."""
    found = {"y": literal_losses(trainer, real, "x"), "x": literal_losses(trainer, real, "y")}
    weights = {"g": 1.0} | {
        name: getattr(trainer.o, name) for name in ("recurrent", "recycle", "cycle", "identity")
    }
    making = sum(weight * losses[name] for losses in found.values() for name, weight in weights.items())
    judging = sum(losses["d"] for losses in found.values())
    trainer.opt_g.zero_grad()
    making.backward()
    trainer.opt_g.step()
    trainer.opt_d.zero_grad()
    judging.backward()
    trainer.opt_d.step()
    return {f"{name}_{side}": loss.item() for side, losses in found.items() for name, loss in losses.items()}


def measure(options: Options = LITERAL, repeats: int = 1) -> dict[str, Any]:
    """Time the steps in turn: seconds each, their ratios, and how far the losses of the first step differ."""
    clip = np.random.default_rng(0).integers(256, size=(3, options.size, options.size, 3), dtype=np.uint8)
    x, y = (Triplets([frames], [1], name, {}) for name, frames in (("x", clip), ("y", clip[::-1])))
    ours = RecycleGANTrainer(options, x, y)
    plain, half = copy.deepcopy(ours), RecycleGANTrainer(dataclasses.replace(options, bfloat16=True), x, y)
    rng = np.random.default_rng([options.seed, 0])  # the batch that `ours` draws for step 0
    real = {
        "x": x.batch(rng, options.batch, options.flip, options.jitter),
        "y": y.batch(rng, options.batch, options.flip),
    }
    literal, mine = literal_step(plain, real), ours.step(0)
    steps = {
        "literal": lambda: literal_step(plain, real),
        "ours": lambda: ours.step(0),
        "bfloat16": lambda: half.step(0),
    }
    best = in_turn(steps, repeats)
    return {
        **{f"{name}_s": round(seconds, 3) for name, seconds in best.items()},
        "ratio": round(best["literal"] / best["ours"], 2),
        "ratio_bfloat16": round(best["literal"] / best["bfloat16"], 2),
        "loss_difference": max(abs(literal[name] - mine[name]) for name in literal),
        "batch": options.batch,
        "size": options.size,
        "hardware": hardware(),
        "torch": torch.__version__,
    }


def main(argv: list[str] | None = None) -> int:
    """Print the timings."""
    parser = argparse.ArgumentParser(prog="python -m train.bench_recyclegan")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--size", type=int, default=LITERAL.size)
    parser.add_argument("--width", type=int, default=LITERAL.width)
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    found = measure(dataclasses.replace(LITERAL, size=args.size, width=args.width), args.repeats)
    text = json.dumps(found) if args.json else "\n".join(f"{name:20}{value}" for name, value in found.items())
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
