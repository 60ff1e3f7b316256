"""Train the reader of avatars' factors: `python -m train.probes_avatars`. A few minutes on one core.

It reads head pose, gaze, lids, brows and mouth off a single frame, whoever the avatar is, and so measures
whether a translation into an avatar moves as it should. Trained on random avatars alone, tested on others
and on the hand-made characters, which it never sees in training.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange

from train import common, probes
from train.cards import write_whole
from train.data.avatars import (
    CHARACTERS,
    FACTORS,
    RANGES,
    AvatarClips,
    Identity,
    draw,
    random_motion,
    scaled,
    to_bytes,
)
from vidgen.errors import VidgenError
from vidgen.evaluation.readers import read_frames
from vidgen.metrics.features import Judge, JudgeConfig, load_judge
from vidgen.metrics.translation import estimate, motion_agreement

OUT = Path(__file__).resolve().parents[1] / "weights" / "probes" / "avatars.safetensors"
CONFIG = JudgeConfig(
    size=64, width=24, dims=128, values=dict.fromkeys(FACTORS, 1), content=(), motion=tuple(FACTORS)
)
BANK = (300, 75)  # clips and frames of random motion to draw from
LEAST_SHARE = 0.05  # of a factor's range: a course that strays less says nothing
TEST_FRAMES = 50  # of a test clip


def motions(rng: np.random.Generator, bank: dict[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    """Draw factors of n frames: half as they come in clips, half each factor by itself over its whole range,
    so that nothing can be read off something else.
    """
    half = n // 2
    found = rng.integers(len(bank["yaw"]), size=half)
    free = {name: rng.uniform(low, high, n - half) for name, (low, high) in RANGES.items()}
    return {name: np.concatenate([bank[name][found], free[name]]).astype(np.float32) for name in FACTORS}


def task(seed: int) -> probes.Task:
    """Give single frames of random avatars, and their factors scaled to -1..1."""
    made = [random_motion(np.random.default_rng([seed, 2, i]), BANK[1]) for i in range(BANK[0])]
    bank = {name: np.concatenate([course[name] for course in made]) for name in FACTORS}

    def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        factors = motions(rng, bank, n)
        people = [Identity.random(rng) for _ in range(n)]
        frames = to_bytes(draw(people, {k: torch.from_numpy(v) for k, v in factors.items()}, CONFIG.size))
        targets = {k: rearrange(v, "n -> n 1 1") for k, v in scaled(factors).items()}
        return rearrange(frames, "n h w c -> n 1 h w c"), targets

    return probes.Task(CONFIG, drawn, drawn, {}, tint=0.1, shift=0)


def agreement(judge: Judge, identities: str, clips: int, seed: int) -> dict[str, float]:
    """Measure, on test clips, the correlation of what is read with the truth in each clip, per factor."""
    source = AvatarClips(clips, 128, TEST_FRAMES, seed, "test", identities)
    truth = [source.factors(i) for i in range(clips)]
    found = [read_frames(judge, source.clip(i)) for i in range(clips)]
    least = {name: LEAST_SHARE * (high - low) for name, (low, high) in RANGES.items()}
    return {name: estimate(values).mean for name, values in motion_agreement(truth, found, least).items()}


def make(args: argparse.Namespace) -> None:
    """Train, test and write the reader, and say how good it is."""
    for name, least in (("steps", 2), ("test_clips", 1)):
        if (value := getattr(args, name)) < least:
            raise VidgenError(f"--{name.replace('_', '-')} is {value}, but must be at least {least}.")
    started = time.process_time()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    judge = probes.train(task(args.seed), args.steps, args.batch, args.seed)
    probes.halve(judge)  # what is tested is what is written
    about = {
        "dataset": "avatars",
        "test": agreement(judge, "random", args.test_clips, args.seed),
        "characters": {
            name: agreement(judge, name, max(args.test_clips // 4, 1), args.seed) for name in CHARACTERS
        },
        "test_clips": args.test_clips,
        "steps": args.steps,
        "minutes": round((time.process_time() - started) / 60, 1),
        "hardware": common.hardware(),
        "revision": common.revision(),
        "licence": "MIT",
    }
    probes.write_judge(judge, about, args.out)
    write_whole(args.out.with_suffix(".md"), card(args.out).encode())
    lines = [f"{name:12} {value:.3f}" for name, value in about["test"].items()]
    sys.stdout.write("\n".join([f"{args.out}, on {args.test_clips} test clips:", *lines, ""]))


def card(path: Path) -> str:
    """Word the reader's card from what its file says."""
    judge, about = load_judge(path)
    others = about["characters"]
    rows = [
        f"| {name} | {value:.3f} | " + " | ".join(f"{other[name]:.3f}" for other in others.values()) + " |"
        for name, value in about["test"].items()
    ]
    return f"""# Reader of avatars

A network of {sum(p.numel() for p in judge.parameters()):,} parameters that reads the factors of an avatar
(`train/data/avatars.py`) off one frame at {judge.config.size} px (`vidgen/metrics/features.py`). It is for
measuring translations into avatars, and of no other use.

- Trained on random avatars, {about["steps"]} steps in {about["minutes"]} minutes of processor time on
  {about["hardware"]}, revision {about["revision"]}, by `python -m train.probes_avatars`.
- Tested on clips of {TEST_FRAMES} frames: {about["test_clips"]} of avatars drawn from another seed, and
  {max(about["test_clips"] // 4, 1)} of each hand-made character. Correlation with the truth within a clip,
  over the clips where a factor strays by {LEAST_SHARE:.0%} of its range:

| factor | held-out avatars | {" | ".join(others)} |
|---|---|{"---|" * len(others)}
{chr(10).join(rows)}

Licence: {about["licence"]}.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Train and write the reader; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.probes_avatars", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--test-clips", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        make(args)
    except VidgenError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
