"""Train the judges of generated clips on real ones: `python -m train.probes sprites --data PATH`.

A judge names a clip's category (MCS), where the data have any, and reads its content and motion factors
(swap error). It sees the training split only; its accuracy is of the test split's characters or people,
stands in its file and goes into the cards. Shapes need no judge: their factors are measured in the picture.
Five minutes on one core:

    python -m train.probes sprites --data CLONE_OF_THE_LPC_SHEETS
    python -m train.probes actions --data actions.pack        (made as python -m train.prepare --help says)
    python -m train.probes heads --data avatars:random        (draws its own; ten minutes more)
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import repeat
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from train import command, common
from train.augment import translate
from train.cards import write_whole
from train.data.avatars import AvatarClips, Identity, rgb_of, scaled
from train.data.heads import RATE, WORD
from vidgen.data.pack import Pack
from vidgen.data.sprites import SpriteClips
from vidgen.errors import VidgenError
from vidgen.metrics.features import FORMAT, Judge, JudgeConfig, load_judge, read_factors, to_video

LENGTH = 16  # frames of a clip
TEST_CLIPS = 2048
UNKNOWN = -100  # a test character's piece that no training character wears: left out
SLOTS = ("skin", "hair", "torso", "legs", "feet")
HEADS = {"train": 1500, "test": 200}  # heads of each split
HEADS_SEED = 1
HEAD_COLOURS = {"skin": 3, "hair": 3, "clothes": 3, "backdrop": 3, "hair_length": 1}
HEAD_MOTION = {
    "pose": ("yaw", "pitch", "roll"),
    "mouth": ("mouth_open", "mouth_wide", "smile"),
    "gaze": ("gaze_x", "gaze_y", "blink"),
}
Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Task:
    """One data set as a judge sees it: draw(rng, n) -> clips uint8 [n, t, h, w, c], target of every head."""

    config: JudgeConfig
    train: Draw
    test: Draw
    about: dict[str, Any]
    tint: float = 0.03  # how far each channel's contrast may be off
    flip: bool = False
    shift: int = 2  # px that a clip may be moved by
    tests: int | None = None  # test clips, where there are only so many


def pieces(layers: dict[str, list[str]]) -> dict[str, str]:
    """Name what a sprite character looks like, without the sex that most file names repeat."""
    body = Path(layers["body"][0])
    clothes = ("torso", "legs", "feet")
    named = {slot: "+".join(_plain(sheet) for sheet in layers[slot]) or "none" for slot in clothes}
    hair = Path(layers["hair"][0]).stem if layers["hair"] else "none"
    return {"sex": body.parent.name, "skin": body.stem, "hair": hair, **named}


def _plain(sheet: str) -> str:
    words = [word for word in Path(sheet).with_suffix("").parts[1:] if word not in ("male", "female")]
    return "/".join(words).replace("_female", "").replace("_male", "")


def sprite_factors(
    clips: SpriteClips, known: dict[str, list[str]], drawn: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Turn drawn factors [n] into a judge's targets; pieces as places in the lists of known ones."""
    label = drawn["label"]
    step = np.floor(drawn["phase"][:, None] + drawn["speed"][:, None] * np.arange(LENGTH))
    phase = 2 * np.pi * step / clips.cycle[label][:, None]
    motion = {
        "category": label,
        "action": label // 4,
        "direction": label % 4,
        "pose": np.stack([np.sin(phase), np.cos(phase)], -1).astype(np.float32),
    }
    worn = [pieces(clips.characters[index]) for index in drawn["character"]]
    return motion | {
        slot: np.array([names.index(row[slot]) if row[slot] in names else UNKNOWN for row in worn])
        for slot, names in known.items()
    }


def sprites(path: str, cache: Path) -> Task:
    """Judge LPC characters: action, direction and the pose in each frame; sex, skin, hair and clothes."""
    splits = {"train": SpriteClips(path, cache, 1500), "test": SpriteClips(path, cache, 150, "test")}
    worn = [pieces(layers) for layers in splits["train"].characters]
    known = {slot: sorted({row[slot] for row in worn}) for slot in ("sex", *SLOTS)}

    def draw(clips: SpriteClips) -> Draw:
        def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            found = clips.draw(rng, n)
            frames = clips.clips(found["character"], found["label"], found["phase"], found["speed"], LENGTH)
            return frames, sprite_factors(clips, known, found)

        return drawn

    config = JudgeConfig(
        heads={
            "category": 20,
            "action": 5,
            "direction": 4,
            **{s: len(v) for s, v in known.items()},
        },
        values={"pose": 2},
        content=tuple(known),
        motion=("action", "direction", "pose"),
    )
    about = {
        "licence": SpriteClips.licence,
        "credit": SpriteClips.credit,
        "held_out": "150 characters",
        "categories": SpriteClips.categories,
        "known": known,
    }
    return Task(config, draw(splits["train"]), draw(splits["test"]), about)


def actions(path: str, cache: Path) -> Task:  # noqa: ARG001 (the pack is its own cache)
    """Judge packed clips by class: Weizmann's actions, or anybody's; 16 frames at stride 1 or 2."""
    splits = {split: Pack(path, split) for split in ("train", "test")}
    categories = splits["train"].categories
    if len(categories) < 2:
        raise VidgenError(f"{path} has {len(categories)} classes, but a judge needs at least 2.")

    def draw(pack: Pack) -> Draw:
        def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            halves = [pack.sample(rng, n // 2, LENGTH, 1), pack.sample(rng, n - n // 2, LENGTH, 2)]
            clips, labels = (np.concatenate(part) for part in zip(*halves, strict=True))
            return clips, {"category": labels}

        return drawn

    config = JudgeConfig(heads={"category": len(categories)}, motion=("category",))
    people = sorted(set(splits["test"].content_ids))
    held_out = f"contents {', '.join(people)}"
    about = {"licence": "research only", "held_out": held_out, "categories": categories}
    return Task(config, draw(splits["train"]), draw(splits["test"]), about, tint=0.1, flip=True, shift=4)


def head_factors(identity: Identity) -> dict[str, np.ndarray]:
    """Say what a drawn head looks like: colours [3] and hair's length [1], scaled to about -1..1; glasses."""
    skies = [rgb_of(identity.sky_colour), rgb_of(identity.ground_colour)]
    colours = {
        "skin": rgb_of(identity.skin_colour),
        "hair": rgb_of(identity.hair_colour),
        "clothes": rgb_of(identity.shirt_colour),
        "backdrop": np.mean(skies, axis=0),
    }
    shown = {name: np.float32(2 * np.array(colour) - 1) for name, colour in colours.items()}
    return shown | {
        "hair_length": np.float32([2 * identity.back - 1]),
        "glasses": np.array(int(identity.glasses > 0)),
    }


def heads(path: str, cache: Path) -> Task:  # noqa: ARG001 (drawn anew: there is nothing to pack)
    """Judge drawn heads: pose, face and gaze in each frame; colours, length of hair, glasses. The heads are
    of another seed than those that `train.prepare` draws.
    """
    if path != f"{WORD}random":
        raise VidgenError(f"The judge of heads draws its own clips: give --data {WORD}random, not {path}.")

    def draw(split: str) -> Draw:
        clips = AvatarClips(HEADS[split], JudgeConfig.size, RATE * LENGTH, HEADS_SEED, split)
        times = np.arange(0, clips.length, RATE)
        every = tqdm(range(len(clips)), desc=f"heads to {split}", unit="clip", mininterval=5)
        frames = np.stack([clips.frames(np.full(LENGTH, index), times) for index in every])
        courses = [scaled(clips.factors(index)) for index in range(len(clips))]
        looks = [head_factors(clips.identity(index)) for index in range(len(clips))]
        known = {name: np.stack([look[name] for look in looks]) for name in looks[0]}
        known |= {
            group: np.stack([np.stack([c[name][times] for name in names], -1) for c in courses])
            for group, names in HEAD_MOTION.items()
        }

        def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            found = rng.choice(len(clips), n, replace=n > len(clips))
            targets = {name: value[found] for name, value in known.items()}
            still = {name: repeat(targets[name], "n d -> n t d", t=LENGTH) for name in HEAD_COLOURS}
            return frames[found], targets | still

        return drawn

    config = JudgeConfig(
        heads={"glasses": 2},
        values=HEAD_COLOURS | {group: len(names) for group, names in HEAD_MOTION.items()},
        content=("glasses", *HEAD_COLOURS),
        motion=tuple(HEAD_MOTION),
    )
    about = {"licence": "MIT", "held_out": f"{HEADS['test']} heads"}
    return Task(config, draw("train"), draw("test"), about, tint=0.01, tests=HEADS["test"])


TASKS: dict[str, Callable[[str, Path], Task]] = {"sprites": sprites, "actions": actions, "heads": heads}


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
        "--data", required=True, help="an LPC clone, a pack of train.prepare, or avatars:random"
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
