"""Train the judges of generated clips on real ones: `python -m train.probes sprites --data PATH`.

A judge names a clip's category (MCS), where the data have any, and reads its content and motion factors
(swap error). It sees the training split only; its accuracy is of the test split's characters or people,
stands in its file and goes into the cards (what each sees: train/judged.py). The factors of shapes are
measured in the picture; their judge is for FVD-c. Five to twenty-five minutes on one
core:

    python -m train.probes sprites --data CLONE_OF_THE_LPC_SHEETS
    python -m train.probes actions --data actions.pack        (made as python -m train.prepare --help says)
    python -m train.probes heads --data avatars:random        (draws its own; ten minutes more)
    python -m train.probes shapes --data shapes
    python -m train.probes clouds --data clouds.pack
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from train import command, common
from train.augment import translate
from train.cards import write_whole
from train.judged import TASKS, UNKNOWN, Task
from vidgen.errors import VidgenError
from vidgen.metrics.features import FORMAT, Judge, JudgeConfig, load_judge, read_factors, to_video

TEST_CLIPS = 2048


def augment(video: Tensor, task: Task, generator: torch.Generator) -> Tensor:
    """Shift, tint and speckle clips [n, t, c, h, w], each as a whole, and mirror half where the task may."""
    n = len(video)
    video = translate(video, task.shift, generator)
    if task.flip:
        mirrored = torch.rand(n, 1, 1, 1, 1, generator=generator) < 0.5
        video = torch.where(mirrored, video.flip(-1), video)
    tint = 1 + task.tint * torch.randn(n, 1, 3, 1, 1, generator=generator)
    speckle = 0.1 * torch.rand(n, 1, 1, 1, 1, generator=generator)
    return video * tint + speckle * torch.randn(video.shape, generator=generator)


def train(task: Task, steps: int, batch: int, seed: int) -> Judge:
    """Train a judge with AdamW and a one-cycle learning rate."""
    torch.manual_seed(seed)
    judge, generator = Judge(task.config), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(judge.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.15)
    for index in (bar := tqdm(range(steps), unit="step", mininterval=5)):
        clips, targets = task.train(np.random.default_rng([seed, index]), batch)
        video = augment(to_video(clips), task, generator)
        loss = judge.loss(video, {name: torch.from_numpy(value) for name, value in targets.items()})
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return judge.eval()


def test(judge: Judge, task: Task, count: int, seed: int) -> dict[str, float]:
    """Measure the accuracy of each class head, and the mean error of each value, on the test split."""
    clips, targets = task.test(np.random.default_rng([seed, 1, 0]), count)
    found, scores = read_factors(judge, clips), {}
    for name in judge.config.heads:
        known = targets[name] != UNKNOWN
        scores[name] = float(np.mean(found[name][known] == targets[name][known]))
    for name in judge.config.values:
        scores[name] = float(np.linalg.norm(found[name] - targets[name], axis=-1).mean())
    return scores


def main(argv: Sequence[str] | None = None) -> int:
    """Train and write a judge; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.probes", description=__doc__.split("\n")[0])
    parser.add_argument("dataset", choices=TASKS)
    parser.add_argument(
        "--data",
        required=True,
        help="an LPC clone, a pack of train.prepare, avatars:random, or the word shapes",
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/data"), help="for composed characters")
    parser.add_argument("--out", type=Path, help="default: weights/probes/DATASET.safetensors")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--test-clips", type=int, default=TEST_CLIPS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    default = Path(__file__).parents[1] / "weights" / "probes" / f"{args.dataset}.safetensors"
    return command.run(lambda: make(args, args.out or default))


def make(args: argparse.Namespace, out: Path) -> None:
    """Train, test and write one judge, and say how good it is."""
    if args.steps < 2:
        raise VidgenError(f"--steps is {args.steps}, but must be at least 2.")
    task, started = TASKS[args.dataset](args.data, args.cache), time.monotonic()
    out.parent.mkdir(parents=True, exist_ok=True)
    judge = train(task, args.steps, args.batch, args.seed)
    halve(judge)  # what is tested is what is written
    tests = min(args.test_clips, task.tests or args.test_clips)
    about = task.about | {
        "dataset": args.dataset,
        "test": test(judge, task, tests, args.seed),
        "test_clips": tests,
        "steps": args.steps,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "hardware": common.hardware(),
        "revision": common.revision(),
    }
    write_judge(judge, about, out)
    write_whole(out.with_suffix(".md"), card(out).encode())
    lines = [f"{name:12} {value:.3f}" for name, value in about["test"].items()]
    sys.stdout.write("\n".join([f"{out}, on {tests} test clips:", *lines, ""]))


def halve(judge: Judge) -> None:
    """Round the weights to half precision, in which they are written."""
    judge.load_state_dict({name: value.half().float() for name, value in judge.state_dict().items()})


def write_judge(judge: Judge, about: dict[str, Any], out: Path) -> None:
    """Write a judge in half precision, with what its training measured."""
    half = {name: value.half().contiguous() for name, value in judge.state_dict().items()}
    metadata = {"format": FORMAT, "config": json.dumps(asdict(judge.config)), "about": json.dumps(about)}
    write_whole(out, save(half, metadata))


def card(path: Path) -> str:
    """Word a judge's card from what its file says."""
    judge, about = load_judge(path)
    rows = [
        f"| {name} | {_kind(judge.config, name)} | {value:.3f} |" for name, value in about["test"].items()
    ]
    return f"""# Judge of {about["dataset"]}

A network of {sum(p.numel() for p in judge.parameters()):,} parameters that judges clips of 16 frames at
{judge.config.size} px (`vidgen/metrics/features.py`). It is for measuring models of these data, and of no
other use.

- Trained on real clips of the training split, {about["steps"]} steps in {about["minutes"]} minutes on
  {about["hardware"]}, revision {about["revision"]}, by `python -m train.probes {about["dataset"]}`.
- Tested on {about["test_clips"]} real clips of what is held out ({about["held_out"]}):

| output | kind | accuracy (values: mean error) |
|---|---|---|
{chr(10).join(rows)}

Licence: {about["licence"]}. {about.get("credit", "")}
"""


def _kind(config: JudgeConfig, name: str) -> str:
    return (
        f"{config.heads[name]} classes" if name in config.heads else f"{config.values[name]} values a frame"
    )


if __name__ == "__main__":
    sys.exit(main())
