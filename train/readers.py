"""What `train.evaluate` needs of a data set: real clips, and a way to read factors off any clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from einops import reduce

from train.data.sources import CROSSING
from vidgen.data.pack import Pack
from vidgen.data.shapes import ShapeClips
from vidgen.data.sprites import SpriteClips
from vidgen.errors import VidgenError
from vidgen.metrics import shapes
from vidgen.metrics.features import Judge, clip_features, load_judge, read_factors

PROBES = Path(__file__).resolve().parents[1] / "weights" / "probes"
# Of three contents and three motions, which make the four sets of clips behind a swap error.
SWAPS = {"base": (0, 0), "motion": (0, 1), "content": (1, 0), "other": (2, 2)}
CHUNK = 64  # clips read together, to bound the memory
Factors = dict[str, np.ndarray]
Draw = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Reader:
    """Read clips uint8 [n, t, h, w, c]: named factors, some content, some motion, one the category."""

    read: Callable[[np.ndarray], Factors]
    content: tuple[str, ...]
    motion: tuple[str, ...]
    tests: dict[str, float] = field(default_factory=dict)  # accuracy on real test clips, by factor
    about: str = ""
    judge: Judge | None = None

    def factors(self, clips: np.ndarray) -> Factors:
        """Read all factors, a few clips at a time."""
        parts = [self.read(clips[i : i + CHUNK]) for i in range(0, len(clips), CHUNK)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def features(self, clips: np.ndarray) -> np.ndarray | None:
        """Describe clips by the judge's features, where there is one."""
        return None if self.judge is None else clip_features(self.judge, clips)


@dataclass(frozen=True)
class Real:
    """Real clips: draws from both splits, a set of `SWAPS` where contents and motions can be mixed, and test
    clips with their categories where no judge has been tested on them.
    """

    train: Draw
    test: Draw
    swaps: Callable[[np.random.Generator, int], dict[str, np.ndarray]] | None = None
    labelled: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]] | None = None


def read_frames(judge: Judge, clip: np.ndarray) -> Factors:
    """Read values off each frame of a clip by itself: uint8 [t, h, w, c] -> name -> float32 [t].

    Frames that are a multiple of the judge's size are averaged down to it.
    """
    factor, rest = divmod(clip.shape[1], judge.config.size)
    if rest or clip.shape[1] != clip.shape[2]:
        raise VidgenError(f"The judge reads frames of {judge.config.size} px, not {clip.shape[1]}.")
    small = reduce(clip, "t (h a) (w b) c -> t 1 h w c", _mean, a=factor, b=factor)
    return {name: value[:, 0, 0] for name, value in read_factors(judge, small).items()}


def _mean(block: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.round(block.mean(axes)).astype(np.uint8)


def _read_shapes(clips: np.ndarray) -> Factors:
    return shapes.shape_content(clips) | shapes.shape_motion(clips) | {"category": shapes.shape_axis(clips)}


def open_reader(kind: str, judge: Path | None = None) -> Reader:
    """Find what reads the clips of a data set: the picture itself for shapes, else the shipped judge."""
    if kind == "shapes":
        about = "Factors are measured in the picture (`vidgen/metrics/shapes.py`); no network is involved."
        return Reader(_read_shapes, ("colour", "size", "form"), ("trajectory",), about=about)
    network, made = load_judge(judge or PROBES / f"{kind}.safetensors")
    about = (
        f"Factors are read by a network of {sum(p.numel() for p in network.parameters()):,} parameters "
        f"(`weights/probes/{kind}.safetensors`), trained for {made['steps']} steps on real clips of the "
        f"training split only (revision {made['revision']}) and tested on {made['test_clips']} real clips of "
        f"held-out subjects ({made['held_out']}): category accuracy {made['test']['category']:.1%}."
    )
    config = network.config
    return Reader(
        lambda c: read_factors(network, c), config.content, config.motion, made["test"], about, network
    )


def open_real(
    kind: str, data: str | None, cache: Path, length: int, stride: int, size: int = 64
) -> Real | None:
    """Open the real clips of a data set; None where they need a path and there is none.

    length in frames; size in px, for shapes, which are drawn at any.
    """
    if kind == "shapes":
        if data not in (None, "shapes"):
            raise VidgenError(f"Real shapes are drawn on the spot: leave out --data {data}.")
        return _shapes(length, size)
    if data is None:
        return None
    if kind == "sprites":
        return _sprites(data, cache, length)
    return _pack(data, length, stride)


def _pack(data: str, length: int, stride: int) -> Real:
    packs = [Pack(data, split) for split in ("train", "test")]
    draws = [lambda rng, n, pack=pack: pack.sample(rng, n, length, stride)[0] for pack in packs]
    return Real(*draws)


def _shapes(length: int, size: int, count: int = 4096) -> Real:
    splits = {split: ShapeClips(count, size, CROSSING, split=split) for split in ("train", "test")}

    def starts(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(2 * CROSSING - 2, size=n)

    def draw(split: str) -> Draw:
        return lambda rng, n: splits[split].bouncing(rng.integers(count, size=n), starts(rng, n), length)

    def swaps(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        shapes_, paths = rng.integers(count, size=(2, 3, n))
        begin = [starts(rng, n) for _ in range(3)]
        return {
            name: splits["test"].bouncing(shapes_[what], begin[how], length, paths[how])
            for name, (what, how) in SWAPS.items()
        }

    def category(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = rng.integers(count, size=n)
        return splits["test"].bouncing(chosen, starts(rng, n), length), splits["test"].labels[chosen]

    return Real(draw("train"), draw("test"), swaps, category)


def _sprites(data: str, cache: Path, length: int) -> Real:
    splits = {"train": SpriteClips(data, cache, 1500), "test": SpriteClips(data, cache, 150, "test")}

    def render(clips: SpriteClips, drawn: dict[str, Any]) -> np.ndarray:
        return clips.clips(drawn["character"], drawn["label"], drawn["phase"], drawn["speed"], length)

    def swaps(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        drawn = [splits["test"].draw(rng, n) for _ in range(3)]
        return {
            name: render(splits["test"], {**drawn[how], "character": drawn[what]["character"]})
            for name, (what, how) in SWAPS.items()
        }

    draws = [lambda rng, n, clips=clips: render(clips, clips.draw(rng, n)) for clips in splits.values()]
    return Real(*draws, swaps)


def check_kind(kind: str | None, name: str) -> str:
    """Say which data set a model is of, or that its file does not say."""
    if not kind:
        raise VidgenError(
            f"{name} does not say what it was trained on; give --kind sprites, shapes or a judge's name."
        )
    return kind
