"""What each judge of `train.probes` sees: real clips, and what is true of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from einops import repeat
from tqdm import tqdm

from train.data.avatars import AvatarClips, Identity, rgb_of, scaled
from train.data.heads import RATE, WORD
from vidgen.data.pack import Pack
from vidgen.data.shapes import CROSSING, ShapeClips
from vidgen.data.sprites import SpriteClips
from vidgen.errors import VidgenError
from vidgen.metrics.features import JudgeConfig
from vidgen.metrics.flow import flow
from vidgen.metrics.shapes import shape_motion

LENGTH = 16  # frames of a clip
UNKNOWN = -100  # a test character's piece that no training character wears: left out
SLOTS = ("skin", "hair", "torso", "legs", "feet")
SHAPES = {"train": 20_000, "test": 4096}  # shapes of each split
WHITE = 150  # the least a channel has where a cloud is, of 255
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


def shapes(path: str, cache: Path) -> Task:  # noqa: ARG001 (drawn on the spot: there is nothing to pack)
    """Judge drawn shapes: form, colour and size; where they are in each frame."""
    if path != "shapes":
        raise VidgenError(f"The judge of shapes draws its own clips: give --data shapes, not {path}.")

    def draw(split: str) -> Draw:
        clips = ShapeClips(SHAPES[split], JudgeConfig.size, CROSSING, split=split)

        def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            what, how = rng.integers(len(clips), size=(2, n))
            frames = clips.bouncing(what, rng.integers(2 * CROSSING - 2, size=n), LENGTH, how)
            known = clips.factors(what)
            extent, half = known["size"][:, None] / clips.size, clips.size / 2
            still = {"colour": known["colour"] / 127.5 - 1, "size": 8 * extent - 1}  # a fifth of the frame
            targets = {name: repeat(np.float32(v), "n d -> n t d", t=LENGTH) for name, v in still.items()}
            place = np.float32(shape_motion(frames)["trajectory"] / half - 1)
            return frames, targets | {"form": known["shape"], "position": place}

        return drawn

    config = JudgeConfig(
        heads={"form": 2},
        values={"colour": 3, "size": 1, "position": 2},
        content=("form", "colour", "size"),
        motion=("position",),
    )
    about = {"licence": "MIT", "held_out": f"{SHAPES['test']:,} shapes"}
    return Task(config, draw("train"), draw("test"), about, tint=0.01, shift=0)


def cloud_factors(clips: np.ndarray) -> dict[str, np.ndarray]:
    """Measure clouds in clips, uint8 [n, t, h, w, c]: float32 [n, t, d] each, scaled to about -1..1.

    colour: mean of the frame [3]; cover: its share that is white [1]; grain: how much neighbouring pixels
    differ [1]; drift: mean optical flow to the next frame, in pairs of px, x and y [2]; the last frame has
    none [nan].
    """
    white = (clips.min(-1) > WHITE).mean((2, 3))
    grain = np.abs(np.diff(clips.mean(-1), axis=-1)).mean((2, 3)) / 16
    drift = np.stack([flow(clip).mean((1, 2)) for clip in clips]) / 2
    drift = np.concatenate([drift, np.full_like(drift[:, :1], np.nan)], 1)
    colour = clips.mean((2, 3)) / 127.5 - 1
    found = {"colour": colour, "cover": 2 * white[..., None] - 1, "grain": grain[..., None], "drift": drift}
    return {name: np.float32(value) for name, value in found.items()}


def _starts(frames: int) -> range:
    """List where clips of a recording begin, a quarter of a clip apart."""
    return range(0, frames - LENGTH + 1, LENGTH // 4)


def clouds(path: str, cache: Path) -> Task:  # noqa: ARG001 (the pack is its own cache)
    """Judge clouds: colour, cover, grain and drift in each frame, and whether time runs forwards."""

    def draw(split: str) -> Draw:
        pack = Pack(path, split)
        every = tqdm(range(len(pack)), desc=f"clouds to {split}", unit="window", mininterval=5)
        wholes = (pack.window(index, 0, len(pack.mapped(index))) for index in every)
        windows = [(whole, cloud_factors(whole[None])) for whole in wholes]
        cuts = [(at, slice(first, first + LENGTH)) for at in windows for first in _starts(len(at[0]))]
        frames = np.stack([whole[cut] for (whole, _), cut in cuts])
        known = {name: np.stack([told[name][0, cut] for (_, told), cut in cuts]) for name in cuts[0][0][1]}
        known["drift"][:, -1] = np.nan  # to a frame that the clip does not show

        def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            found = rng.choice(len(frames), n, replace=n > len(frames))
            backwards = rng.random(n) < 0.5
            clips, targets = frames[found].copy(), {name: value[found] for name, value in known.items()}
            clips[backwards] = clips[backwards, ::-1]
            for value in targets.values():
                value[backwards] = value[backwards, ::-1]
            drift = targets["drift"]  # a step is that of two frames: turned round, it is the earlier one's
            drift[backwards, :-1] = -drift[backwards, 1:]
            drift[:, -1] = drift[:, -2]
            return clips, targets | {"order": backwards.astype(int)}

        return drawn

    config = JudgeConfig(
        heads={"order": 2},
        values={"colour": 3, "cover": 1, "grain": 1, "drift": 2},
        content=("colour", "cover", "grain"),
        motion=("drift",),
    )
    about = {"licence": "MIT", "held_out": "the lowest part of the pictures"}
    return Task(config, draw("train"), draw("test"), about, tint=0.01, shift=0, tests=200)


TASKS: dict[str, Callable[[str, Path], Task]] = {
    "sprites": sprites,
    "actions": actions,
    "heads": heads,
    "shapes": shapes,
    "clouds": clouds,
}
