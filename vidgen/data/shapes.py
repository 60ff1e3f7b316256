"""Shape motion: discs and squares of random size and colour that cross a black frame along a random curve.

Our own generator after the description in the MoCoGAN paper (Tulyakov et al. 2018, section 4), fitted to
the authors' frame strips: 32 frames of 64 px; folder 0 moves from the bottom to the top, folder 1 from the
right to the left. Start and end touch opposite edges at the same height. The path is a quartic Bezier curve
whose three inner control points are uniform over the frame (that fit leaves 0.27 px, the rounding to whole
pixels; a cubic leaves 0.70). Sizes there are 8, 10, 12 or 14 px and colours are uniform. Ours has any size
and anti-aliased positions between pixels. A clip always spans the whole crossing: 32 frames move like the
authors' strips, 16 frames like every second frame of them.

`python -m vidgen.data.shapes STRIPS` measures both (on the authors' 8,000 strips, every eighth):

                strips     ours
    area mean   113.04   112.46   px of 64 x 64
    area std     47.46    48.39
    speed mean    2.06     2.06   px a frame
    speed std     1.26     1.26
    colour mean 126.88   128.84   0..255
    colour std   74.14    73.12
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import comb
from pathlib import Path

import numpy as np
from einops import rearrange

from vidgen.errors import VidgenError
from vidgen.video_io import read_clip

CATEGORIES = ["bottom-to-top", "right-to-left"]
SHAPES = ["disc", "square"]
SPLITS = {"train": 0, "test": 1}
SIZE_RANGE = (7 / 64, 15 / 64)  # mean and spread of the authors' 8, 10, 12, 14 px
MARGIN = 1 / 64  # the authors' shapes start and end one pixel off the edge
DARKEST = 32  # the brightest channel is at least this, so that no shape is lost in the black
CROSSING = 32  # frames in which a shape crosses the picture, as in the authors' strips
DRAWS = 14  # uniform numbers behind one clip


class ShapeClips:
    """Draw shape-motion clips, each fully determined by (seed, split, index).

    Labels are the direction of motion, as in the authors' folders: 0 bottom-to-top, 1 right-to-left.
    """

    fps = 12.0  # a crossing of 16 frames takes 1.3 s

    def __init__(
        self, count: int, size: int = 64, length: int = 16, seed: int = 0, split: str = "train"
    ) -> None:
        for name, value, least in (
            ("count", count, 1),
            ("size", size, 16),
            ("length", length, 1),
            ("seed", seed, 0),
        ):
            if value < least:
                raise VidgenError(f"shapes: {name} is {value}, but must be at least {least}.")
        if split not in SPLITS:
            raise VidgenError(f"shapes: unknown split '{split}': choose one of {', '.join(SPLITS)}.")
        self.size, self.length, self.seed, self.split = size, length, seed, split
        self._draws = np.stack(
            [np.random.default_rng([seed, SPLITS[split], i]).random(DRAWS) for i in range(count)]
        )
        self.categories = list(CATEGORIES)
        self.labels = (self._draws[:, 0] >= 0.5).astype(np.int64)
        self.content_ids = [f"{split}-{seed}-{i}" for i in range(count)]
        self.lengths = np.full(count, length, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._draws)

    def factors(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """Return what each clip was drawn from.

        shape [n] (0 disc, 1 square), size [n] px (diameter or side), colour [n, 3] 0..255, direction [n]
        (label), and trajectory [n, t, 2] (x, y of the centre in px; a pixel's own centre is at +0.5).
        """
        u = self._draws[np.asarray(indices, dtype=np.int64)]
        low, high = SIZE_RANGE
        extent = self.size * (low + (high - low) * u[:, 2])
        return {
            "shape": (u[:, 1] >= 0.5).astype(np.int64),
            "size": extent,
            "colour": _colour(u[:, 3:6]),
            "direction": (u[:, 0] >= 0.5).astype(np.int64),
            "trajectory": self._trajectory(u, extent),
        }

    def clip(self, index: int) -> np.ndarray:
        """Render one clip, uint8 [t, h, w, c]."""
        return self.batch([index])[0]

    def batch(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Render clips, uint8 [n, t, h, w, c]."""
        return self._render(self.factors(indices))

    def sample(
        self, rng: np.random.Generator, n: int, length: int | None = None, stride: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw n random windows of `length` frames, `stride` apart: uint8 [n, t, h, w, c] and labels [n]."""
        length = self.length if length is None else length
        span = (length - 1) * stride + 1
        if length < 1 or stride < 1 or span > self.length:
            raise VidgenError(
                f"shapes: {length} frames at stride {stride} do not fit in {self.length}-frame clips."
            )
        indices = rng.integers(len(self), size=n)
        starts = rng.integers(self.length - span + 1, size=n)
        factors = self.factors(indices)
        times = starts[:, None] + stride * np.arange(length)
        factors["trajectory"] = factors["trajectory"][np.arange(n)[:, None], times]
        return self._render(factors), self.labels[indices]

    def bouncing(
        self, indices: np.ndarray, starts: np.ndarray, length: int, paths: np.ndarray | None = None
    ) -> np.ndarray:
        """Render windows of shapes that go back the way they came, for ever: uint8 [n, t, h, w, c].

        starts [n]: the first frame, within a there and back of 2 * self.length - 2 frames. paths: take the
        trajectories of these clips instead, in their own direction.
        """
        factors = self.factors(indices)
        walked = factors["trajectory"] if paths is None else self.factors(paths)["trajectory"]
        times = (starts[:, None] + np.arange(length)) % (2 * self.length - 2)
        times = np.minimum(times, 2 * self.length - 2 - times)
        factors["trajectory"] = walked[np.arange(len(walked))[:, None], times]
        return self._render(factors)

    def _trajectory(self, u: np.ndarray, extent: np.ndarray) -> np.ndarray:
        """Return the centres [n, t, 2] along a quartic Bezier curve that stays inside the frame."""
        near = extent / 2 + MARGIN * self.size
        far = self.size - near
        inside = (
            near[:, None] + (far - near)[:, None] * u[:, 6:13]
        )  # one side value, then three points (main, side)
        inner = rearrange(inside[:, 1:], "n (knot d) -> n knot d", d=2)
        start, end = np.stack([far, inside[:, 0]], -1), np.stack([near, inside[:, 0]], -1)
        knots = np.concatenate([start[:, None], inner, end[:, None]], axis=1)
        path = np.einsum("tk,nka->nta", _bernstein(self.length, degree=4), knots)  # (main, side)
        horizontal = u[:, 0] >= 0.5
        return np.where(horizontal[:, None, None], path, path[..., ::-1])

    def _render(self, factors: dict[str, np.ndarray]) -> np.ndarray:
        cover = _coverage(factors["trajectory"], factors["size"], factors["shape"], self.size)
        colour = factors["colour"].astype(np.float32)[:, None, None, None]
        return (cover[..., None] * colour + 0.5).astype(np.uint8)


def _colour(u: np.ndarray) -> np.ndarray:
    colour = np.floor(256 * u).astype(np.uint8)
    rows, brightest = np.arange(len(colour)), colour.argmax(1)
    colour[rows, brightest] = np.maximum(colour[rows, brightest], DARKEST)
    return colour


def _bernstein(length: int, degree: int) -> np.ndarray:
    """Return the Bezier weights [t, degree + 1] at `length` even times from 0 to 1."""
    time = np.linspace(0.0, 1.0, length)
    return np.stack(
        [comb(degree, k) * (1 - time) ** (degree - k) * time**k for k in range(degree + 1)], axis=1
    )


def _coverage(centres: np.ndarray, extent: np.ndarray, shape: np.ndarray, size: int) -> np.ndarray:
    """Return the share of each pixel that the shape covers, float32 [n, t, h, w] in 0..1.

    Exact for squares; for discs, the distance to the rim, one pixel soft.
    """
    grid = np.arange(size, dtype=np.float32) + 0.5
    half = (extent / 2).astype(np.float32)[:, None, None]
    x = grid - centres[..., 0, None].astype(np.float32)  # [n, t, w]
    y = grid - centres[..., 1, None].astype(np.float32)
    cover = np.empty((*x.shape[:2], size, size), dtype=np.float32)
    square = shape == 1
    inside_x, inside_y = (np.clip(half - np.abs(axis) + 0.5, 0, 1)[square] for axis in (x, y))
    cover[square] = inside_y[..., :, None] * inside_x[..., None, :]
    radius = np.sqrt((y**2)[~square][..., :, None] + (x**2)[~square][..., None, :])
    cover[~square] = np.clip(half[~square][..., None] - radius + 0.5, 0, 1)
    return cover


def statistics(clips: np.ndarray) -> dict[str, float]:
    """Measure shape clips, uint8 [n, t, h, w, c]: area in px, speed in px per frame, colour in 0..255."""
    bright = clips.max(-1).astype(np.float32)
    peak = bright.max((1, 2, 3))
    weight = bright / peak[:, None, None, None]
    area = weight.sum((2, 3))
    grid = np.arange(clips.shape[2], dtype=np.float32) + 0.5
    x, y = (weight.sum(axis) @ grid / area for axis in (2, 3))
    speed = np.hypot(np.diff(x, axis=1), np.diff(y, axis=1))
    colour = clips.max((1, 2, 3)).astype(np.float32)
    figures = {"area": area, "speed": speed, "colour": colour}
    return {
        f"{name} {how}": float(getattr(np, how)(v)) for name, v in figures.items() for how in ("mean", "std")
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures of the authors' strips beside those of as many clips of ours."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 1 or not (files := sorted(Path(arguments[0]).rglob("*.png"))[::8]):
        sys.stderr.write("usage: python -m vidgen.data.shapes FOLDER (of the authors' shape strips, PNG)\n")
        return 2
    theirs = statistics(np.stack([read_clip(file).frames for file in files]))
    ours = statistics(ShapeClips(len(files), length=32).batch(range(len(files))))
    sys.stdout.write(f"{'':12} {'strips':>8} {'ours':>8}\n")
    for name, value in theirs.items():
        sys.stdout.write(f"{name:12} {value:8.2f} {ours[name]:8.2f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
