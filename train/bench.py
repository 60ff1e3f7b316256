"""Time one training step of the paper's configuration against the literal step: `python -m train.bench
[--json]`.

Both do the same work on the same data: image batch and video batch of 32, 64 px, 16 frames, width 64. The
literal step renders anew for each discriminator and each update, gathers the discriminators' gradients in the
generator's step only to drop them, and computes in float32. Ours renders once, freezes the discriminators in
the generator's step, and computes in bfloat16 with channels last.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange

from train import losses
from train.common import hardware
from train.data.sources import Batch, ShapeSource, Source, open_source
from train.mocogan import PRESETS, MoCoGANTrainer, Options


class OneBatch:
    """A source that always gives the same batch, so that only the step is timed."""

    name = "one batch"

    def __init__(self, size: int, length: int, batch: int) -> None:
        source = ShapeSource(size, length, count=batch)
        self.categories = source.categories
        self.fixed = source.batch(np.random.default_rng(0), batch, length, 1)

    def batch(self, rng: np.random.Generator, n: int, length: int, references: int) -> Batch:  # noqa: ARG002
        """Give the batch."""
        return self.fixed

    def about(self) -> dict[str, Any]:
        """Describe nothing: no weights are written."""
        return {}


def new_clips(trainer: MoCoGANTrainer, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Render a batch of clips with random codes: video [n, t, c, h, w] and its labels [n]."""
    made = trainer.generate(batch, adversarial=True)
    return made["video"], made["label"]


def one_frame(video: torch.Tensor) -> torch.Tensor:
    """Pick a random frame of each clip: [n, t, c, h, w] -> [n, c, h, w]."""
    return video[torch.arange(len(video)), torch.randint(video.shape[1], (len(video),))]


def new_frames(trainer: MoCoGANTrainer, batch: Batch) -> torch.Tensor:
    """Render one random frame for each of n random paths: [n, c, h, w]."""
    o, n = trainer.o, len(batch.video)
    codes = torch.randn(n, o.content_dim), torch.randn(n, 1 + o.length, o.motion_dim)
    times, label = torch.randint(o.length, (n, 1)).float(), torch.randint(trainer.g.num_labels, (n,))
    return rearrange(trainer.g(*codes, times, label), "n 1 c h w -> n c h w")


def literal_step(trainer: MoCoGANTrainer, batch: Batch) -> None:
    """Train one step in the literal order: D_I, D_V, then the generator, each with passes of its own."""
    loss_i = losses.discriminator_loss(
        trainer.d_image(one_frame(batch.video))[0],
        trainer.d_image(new_frames(trainer, batch).detach())[0],
        trainer.o.loss,
    )
    real, classes = trainer.d_video(batch.video)
    fake = trainer.d_video(new_clips(trainer, batch)[0].detach())[0]
    loss_v = losses.discriminator_loss(real, fake, trainer.o.loss) + losses.category_loss(
        classes, batch.label
    )
    trainer.opt_d.zero_grad()
    loss_i.backward()
    loss_v.backward()
    trainer.opt_d.step()
    video, label = new_clips(trainer, batch)
    logit, classes = trainer.d_video(video)
    loss = losses.generator_loss(trainer.d_image(new_frames(trainer, batch))[0], trainer.o.loss)
    loss = loss + losses.generator_loss(logit, trainer.o.loss) + losses.category_loss(classes, label)
    trainer.opt_g.zero_grad()
    loss.backward()
    trainer.opt_g.step()


def measure(options: Options, repeats: int = 3) -> dict[str, Any]:
    """Time both steps in turn, best of `repeats`: seconds each and their ratio."""
    source = OneBatch(options.size, options.length, options.batch)
    plain = MoCoGANTrainer(dataclasses.replace(options, bfloat16=False), source)
    ours = MoCoGANTrainer(options, source)
    steps = {"literal": lambda: literal_step(plain, source.fixed), "ours": lambda: ours.step(0)}
    best = in_turn(steps, repeats)
    return {
        "literal_s": round(best["literal"], 3),
        "ours_s": round(best["ours"], 3),
        "ratio": round(best["literal"] / best["ours"], 2),
        "batch": options.batch,
        "size": options.size,
        "hardware": hardware(),
        "torch": torch.__version__,
    }


def in_turn(steps: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Time steps in turn, so that another load on the machine meets them alike; best of `repeats`, in
    seconds.
    """
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(1 + repeats):  # the first round also warms up
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def reading(source: Source, options: Options, seconds: float = 2.0) -> float:
    """Count the batches that a source gives in a second."""

    def draw(step: int) -> None:
        source.batch(np.random.default_rng([0, step, 0]), options.batch, options.length, options.references)

    draw(0)  # maps the pack
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        draw(done := done + 1)
    return done / (time.perf_counter() - started)


def main(argv: list[str] | None = None) -> int:
    """Print the timings."""
    parser = argparse.ArgumentParser(prog="python -m train.bench", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--data", help="also time reading from this data, as in train.mocogan")
    parser.add_argument("--cache", type=Path, default=Path("runs/data"), help="where packed data goes")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    options = Options(**{**PRESETS["paper"], "batch": args.batch})
    found = {}
    if args.data:
        source = open_source(args.data, args.cache, size=options.size, length=options.length, stride=1)
        found["batches_read_per_s"] = round(reading(source, options), 1)
    found |= measure(options, args.repeats)
    text = json.dumps(found) if args.json else "\n".join(f"{name:20}{value}" for name, value in found.items())
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
