"""Avatars: clips of a drawn talking head, as many as one wants, with everything known about each frame.

`CHARACTERS` are made by hand, others at random (`train/data/avatar_identity.py`); how they move stands in
`train/data/avatar_motion.py`, how they are drawn in `train/data/avatar_drawing.py`. Framed like face crops.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from train.data.avatar_drawing import draw
from train.data.avatar_identity import CHARACTERS, Identity, rgb_of
from train.data.avatar_motion import EXPRESSIONS, FACTORS, RANGES, random_motion, scaled
from vidgen.errors import VidgenError

__all__ = [
    "CHARACTERS",
    "EXPRESSIONS",
    "FACTORS",
    "RANGES",
    "AvatarClips",
    "Identity",
    "draw",
    "random_motion",
    "rgb_of",
    "scaled",
    "to_bytes",
]
SPLITS = {"train": 0, "test": 1}
FPS = 25.0


class AvatarClips:
    """Draw clips of avatars, each fully determined by (seed, split, index).

    identities: "random", a new face for each clip, or the name of one of `CHARACTERS`. The motion of a clip
    does not depend on who moves, so clips of two characters with equal seeds show the same performance.
    """

    fps = FPS

    def __init__(
        self,
        count: int,
        size: int = 128,
        length: int = 64,
        seed: int = 0,
        split: str = "train",
        identities: str = "random",
    ) -> None:
        for name, value, least in (
            ("count", count, 1),
            ("size", size, 16),
            ("length", length, 1),
            ("seed", seed, 0),
        ):
            if value < least:
                raise VidgenError(f"avatars: {name} is {value}, but must be at least {least}.")
        if split not in SPLITS:
            raise VidgenError(f"avatars: unknown split '{split}': choose one of {', '.join(SPLITS)}.")
        if identities != "random" and identities not in CHARACTERS:
            names = ", ".join(["random", *CHARACTERS])
            raise VidgenError(f"avatars: unknown character '{identities}': choose one of {names}.")
        self.count, self.size, self.length = count, size, length
        self.seed, self.split, self.identities = seed, split, identities

    def __len__(self) -> int:
        return self.count

    def identity(self, index: int) -> Identity:
        """Say who is seen in a clip."""
        if self.identities != "random":
            return CHARACTERS[self.identities]
        return Identity.random(np.random.default_rng([self.seed, SPLITS[self.split], self._check(index), 1]))

    def factors(self, index: int) -> dict[str, np.ndarray]:
        """Return the time courses behind a clip, factor -> float32 [t], within `RANGES`."""
        rng = np.random.default_rng([self.seed, SPLITS[self.split], self._check(index), 0])
        return random_motion(rng, self.length, self.fps)

    def clip(self, index: int) -> np.ndarray:
        """Draw one clip, uint8 [t, h, w, c]."""
        return self.performed(index, index, np.arange(self.length))

    def frames(self, indices: Sequence[int] | np.ndarray, times: Sequence[int] | np.ndarray) -> np.ndarray:
        """Draw single frames: frame times[i] of clip indices[i], uint8 [n, h, w, c]."""
        known = {int(index): (self.identity(int(index)), self.factors(int(index))) for index in set(indices)}
        people = [known[int(index)][0] for index in indices]
        motion = {
            name: np.stack([known[int(i)][1][name][t] for i, t in zip(indices, times, strict=True)])
            for name in FACTORS
        }
        return to_bytes(draw(people, {name: torch.from_numpy(v) for name, v in motion.items()}, self.size))

    def performed(self, face: int, motion: int, times: np.ndarray) -> np.ndarray:
        """Draw the face of one clip in the motion of another, at whole times [n]: uint8 [n, h, w, c]."""
        courses = {name: torch.from_numpy(course[times]) for name, course in self.factors(motion).items()}
        return to_bytes(draw([self.identity(face)] * len(times), courses, self.size))

    def sample(
        self, rng: np.random.Generator, n: int, length: int | None = None, stride: int = 1
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Draw n random windows of `length` frames, `stride` apart.

        Returns uint8 [n, t, h, w, c] and the factors of each frame, float32 [n, t].
        """
        length = self.length if length is None else length
        span = (length - 1) * stride + 1
        if length < 1 or stride < 1 or span > self.length:
            raise VidgenError(
                f"avatars: {length} frames at stride {stride} do not fit in {self.length}-frame clips."
            )
        indices = rng.integers(len(self), size=n)
        starts = rng.integers(self.length - span + 1, size=n)
        times = starts[:, None] + stride * np.arange(length)
        courses = [self.factors(int(index)) for index in indices]
        factors = {
            name: np.stack([course[name][row] for course, row in zip(courses, times, strict=True)])
            for name in FACTORS
        }
        frames = self.frames(np.repeat(indices, length), times.ravel())
        return rearrange(frames, "(n t) h w c -> n t h w c", n=n), factors

    def _check(self, index: int) -> int:
        if not 0 <= index < self.count:
            raise VidgenError(f"avatars: there is no clip {index}; there are {self.count}.")
        return index


def to_bytes(frames: Tensor) -> np.ndarray:
    """Turn frames [n, c, h, w] in [-1, 1] into uint8 [n, h, w, c]."""
    levels = frames.add(1).mul(127.5).round_().clamp_(0, 255).byte()
    return np.ascontiguousarray(rearrange(levels, "n c h w -> n h w c").cpu().numpy())
