"""Real clips to measure against: of packs and folders, or drawn on the spot; train and test split apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from einops import reduce

from vidgen.data.folders import open_clips
from vidgen.data.pack import Pack
from vidgen.data.pack import pack as make_pack
from vidgen.data.shapes import CROSSING, ShapeClips
from vidgen.data.sprites import CELL, SpriteClips
from vidgen.errors import VidgenError

# Of three contents and three motions, which make the four sets of clips behind a swap error.
SWAPS = {"base": (0, 0), "motion": (0, 1), "content": (1, 0), "other": (2, 2)}
CHUNK = 64  # clips in memory together, at most ...
CHUNK_BYTES = 2**26  # ... and bytes of them
SHAPES = 4096  # shapes of each split
WINDOWS = 256  # different clips that tell how clips of a length are
TRAINED, HELD_OUT = 1500, 150  # characters of each split
Columns = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Chosen:
    """Clips that are chosen and not yet drawn, so that any number of them takes little memory.

    columns: what each clip is drawn from, [n] each. draw: columns -> uint8 [n, t, h, w, c].
    """

    columns: Columns
    draw: Callable[..., np.ndarray]

    def __len__(self) -> int:
        return len(self.columns[0])

    def parts(self, size: int = CHUNK) -> Iterator[np.ndarray]:
        """Draw `size` clips at a time: uint8 [n, t, h, w, c]."""
        for first in range(0, len(self), size):
            yield self.draw(*(column[first : first + size] for column in self.columns))

    def clips(self) -> np.ndarray:
        """Draw all clips at once."""
        return self.draw(*self.columns)

    def key(self) -> str:
        """Name the choice by a hash of it."""
        return hashlib.sha256(b"".join(np.ascontiguousarray(c).tobytes() for c in self.columns)).hexdigest()


Choose = Callable[[np.random.Generator, int], Chosen]


@dataclass(frozen=True)
class Real:
    """The real clips of a data set.

    train, test: choose n clips of a split. content: split -> a hash of what its clips are drawn from.
    swaps: choose the sets of `SWAPS`, where contents and motions can be mixed. labelled: choose test clips
    with their categories, where no judge has been tested on them. longest: frames at which the test
    split still has `WINDOWS` different clips, and the training split one, where clips are recorded; None
    where they are drawn.
    """

    train: Choose
    test: Choose
    content: Callable[[str], str]
    swaps: Callable[[np.random.Generator, int], dict[str, Chosen]] | None = None
    labelled: Callable[[np.random.Generator, int], tuple[Chosen, np.ndarray]] | None = None
    longest: int | None = None

    def split(self, name: str) -> Choose:
        """Give the choice from a split by its name."""
        return {"train": self.train, "test": self.test}[name]


def chunk(frames: int, size: int) -> int:
    """Count the clips that may be in memory together."""
    return int(np.clip(CHUNK_BYTES // (frames * size * size * 3), 1, CHUNK))


def kind_of(data: str) -> str | None:
    """Tell drawn data from its path: "shapes", "sprites" for an LPC clone, else None."""
    if data == "shapes":
        return "shapes"
    return "sprites" if (Path(data).expanduser() / "body").is_dir() else None


def open_real(
    kind: str, data: str | None, cache: Path, length: int, stride: int, size: int = 64
) -> Real | None:
    """Open the real clips of a data set; None where they need a path and there is none.

    length in frames, `stride` apart; size in px, of shapes, which are drawn at any, and of folders of clips,
    which are packed into `cache` first.
    """
    if kind == "shapes":
        if data not in (None, "shapes"):
            raise VidgenError(f"Real shapes are drawn on the spot: leave out --data {data}.")
        return _shapes(length, size)
    if data is None:
        return None
    if kind == "sprites":
        if CELL % size:
            raise VidgenError(f"The sprites are drawn at {CELL} px; the model draws {size} px.")
        return _sprites(data, cache, length, size)
    return _pack(packed(data, cache, size), length, stride)


def packed(data: str, cache: Path, size: int) -> Path:
    """Give the pack of a data set; a folder of clips is packed into `cache`, unless it has been."""
    found = Path(data).expanduser()
    if not found.is_dir():
        return found
    cache.mkdir(parents=True, exist_ok=True)
    place = hashlib.sha256(str(found.resolve()).encode()).hexdigest()[:8]
    out = cache / f"{found.resolve().name}-{place}-{size}.pack"
    make_pack(open_clips(found, size), out)
    return out


def _pack(data: Path, length: int, stride: int) -> Real:
    packs = {split: Pack(data, split) for split in ("train", "test")}
    span = (length - 1) * stride + 1

    def choose(split: str) -> Choose:
        pack = packs[split]

        def chosen(rng: np.random.Generator, n: int) -> Chosen:
            long = np.flatnonzero(pack.lengths >= span)
            if not len(long):
                raise VidgenError(
                    f"{data} has no {split} clip of {length} frames at stride {stride}: the longest has "
                    f"{pack.lengths.max()}."
                )
            indices = long[rng.integers(len(long), size=n)]
            starts = rng.integers(pack.lengths[indices] - span + 1)
            return Chosen((indices, starts), lambda i, s: pack.windows(i, s, length, stride))

        return chosen

    @lru_cache
    def content(split: str) -> str:
        return f"{split} {file_hash(data)} {span} {stride}"

    longest = min(
        _longest(packs["test"].lengths, stride), (int(packs["train"].lengths.max()) - 1) // stride + 1
    )
    return Real(choose("train"), choose("test"), content, longest=longest)


def _longest(lengths: np.ndarray, stride: int) -> int:
    """Find how many frames, `stride` apart, windows of clips of some lengths [n] may have, for `WINDOWS` of
    them to be different; 0 where there are never so many.
    """
    for frames in range((int(lengths.max()) - 1) // stride + 1, 0, -1):
        if np.maximum(lengths - (frames - 1) * stride, 0).sum() >= WINDOWS:
            return frames
    return 0


def _shapes(length: int, size: int) -> Real:
    splits = {split: ShapeClips(SHAPES, size, CROSSING, split=split) for split in ("train", "test")}

    def starts(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(2 * CROSSING - 2, size=n)

    def bouncing(split: str) -> Callable[..., np.ndarray]:
        return lambda shapes, starts, paths=None: splits[split].bouncing(shapes, starts, length, paths)

    def choose(split: str) -> Choose:
        return lambda rng, n: Chosen((rng.integers(SHAPES, size=n), starts(rng, n)), bouncing(split))

    def swaps(rng: np.random.Generator, n: int) -> dict[str, Chosen]:
        shapes, paths = rng.integers(SHAPES, size=(2, 3, n))
        begin = [starts(rng, n) for _ in range(3)]
        return {
            name: Chosen((shapes[what], begin[how], paths[how]), bouncing("test"))
            for name, (what, how) in SWAPS.items()
        }

    def labelled(rng: np.random.Generator, n: int) -> tuple[Chosen, np.ndarray]:
        chosen = choose("test")(rng, n)
        return chosen, splits["test"].labels[chosen.columns[0]]

    def content(split: str) -> str:
        shown = bouncing(split)(np.arange(8), np.arange(8))  # what draws them is part of what they are
        return f"{split} {SHAPES} {hashlib.sha256(shown.tobytes()).hexdigest()}"

    return Real(choose("train"), choose("test"), content, swaps, labelled)


def _sprites(data: str, cache: Path, length: int, size: int) -> Real:
    @lru_cache
    def opened(split: str) -> SpriteClips:
        return SpriteClips(data, cache, TRAINED if split == "train" else HELD_OUT, split)

    def drawn(split: str) -> Callable[..., np.ndarray]:
        return lambda *columns: averaged(opened(split).clips(*columns, length), size)

    def choose(split: str) -> Choose:
        return lambda rng, n: Chosen(tuple(opened(split).draw(rng, n).values()), drawn(split))

    def swaps(rng: np.random.Generator, n: int) -> dict[str, Chosen]:
        columns = [choose("test")(rng, n).columns for _ in range(3)]
        return {
            name: Chosen((columns[what][0], *columns[how][1:]), drawn("test"))  # the character comes first
            for name, (what, how) in SWAPS.items()
        }

    @lru_cache
    def content(split: str) -> str:
        return f"{split} {length} {size} {file_hash(opened(split).pack)}"

    return Real(choose("train"), choose("test"), content, swaps)


def averaged(clips: np.ndarray, size: int) -> np.ndarray:
    """Bring clips, uint8 [n, t, h, w, c], down to a size that divides theirs."""
    if (block := clips.shape[2] // size) == 1:
        return clips
    pattern = "t (h a) (w b) c -> t h w c"
    small = [reduce(clip.astype(np.float32), pattern, "mean", a=block, b=block) for clip in clips]
    return np.stack(small).round().astype(np.uint8)


def file_hash(path: Path) -> str:
    """Hash the content of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
