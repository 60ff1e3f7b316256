"""What a trainer draws from: batches of real clips, their categories, and reference frames of the same
subjects.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from train.distributed import Team
from vidgen.data.folders import open_clips
from vidgen.data.pack import Pack
from vidgen.data.pack import pack as make_pack
from vidgen.data.shapes import CROSSING, ShapeClips
from vidgen.data.sprites import SpriteClips
from vidgen.errors import VidgenError


@dataclass(frozen=True)
class Batch:
    """Real clips: video [n, t, c, h, w] in [-1, 1], label [n], references [n, f, c, h, w] of the same
    subjects.
    """

    video: Tensor
    label: Tensor
    references: Tensor

    def to(self, device: torch.device) -> Batch:
        """Copy to a device."""
        return Batch(self.video.to(device), self.label.to(device), self.references.to(device))


class Source(Protocol):
    """A data set as the trainers see it."""

    name: str
    categories: list[str]
    mirrors: bool  # whether a mirrored clip is one of the same category

    def batch(self, rng: np.random.Generator, n: int, length: int, references: int) -> Batch:
        """Draw n clips of `length` frames with `references` single frames of each one's subject."""
        ...

    def about(self) -> dict[str, Any]:
        """Describe the data for the weights file: title, categories, fps, clip length, licence, credit."""
        ...


def to_video(frames: np.ndarray, size: int | None = None) -> Tensor:
    """Turn uint8 [n, t, h, w, c] into float [n, t, c, h, w] in [-1, 1], at `size` px where given.

    Smaller by averaging, larger by repeating pixels, as suits drawn pictures.
    """
    video = rearrange(torch.from_numpy(np.ascontiguousarray(frames)), "n t h w c -> n t c h w").float()
    video = video / 127.5 - 1
    if size in (None, video.shape[-1]):
        return video
    mode = "area" if size < video.shape[-1] else "nearest"
    resized = F.interpolate(rearrange(video, "n t c h w -> (n t) c h w"), (size, size), mode=mode)
    return rearrange(resized, "(n t) c h w -> n t c h w", n=len(video))


class SpriteSource:
    """LPC characters; the references show the same character in other categories."""

    name, mirrors = "sprites", False

    def __init__(
        self, root: str | Path, cache: Path, length: int, size: int = 64, stride: int = 1, count: int = 1500
    ) -> None:
        self.clips, self.length = SpriteClips(root, cache, count=count), length
        self.size, self.stride = size, stride
        self.categories = self.clips.categories

    def batch(self, rng: np.random.Generator, n: int, length: int, references: int) -> Batch:
        """Draw n clips."""
        span = (length - 1) * self.stride + 1
        video, label, others = self.clips.sample_pairs(rng, n, span, references)
        video = video[:, :: self.stride]
        return Batch(to_video(video, self.size), torch.from_numpy(label), to_video(others, self.size))

    def about(self) -> dict[str, Any]:
        """Describe the data."""
        return {
            "title": "LPC sprites",
            "data": "sprites",
            "categories": self.categories,
            "category_axes": self.clips.category_axes,
            "fps": self.clips.fps / self.stride,
            "clip_length": self.length,
            "licence": self.clips.licence,
            "credit": self.clips.credit,
        }


class ShapeSource:
    """Shapes that cross the frame and come back; the references show the same shape on other paths."""

    name, mirrors = "shapes", True

    def __init__(self, size: int, length: int, stride: int = 1, count: int = 20_000) -> None:
        self.clips, self.length, self.stride = ShapeClips(count, size, CROSSING), length, stride
        self.categories = ["vertical", "horizontal"]

    def batch(self, rng: np.random.Generator, n: int, length: int, references: int) -> Batch:
        """Draw n clips."""
        chosen = rng.integers(len(self.clips), size=n)
        span = (length - 1) * self.stride + 1
        video = self.clips.bouncing(chosen, rng.integers(2 * CROSSING - 2, size=n), span)[:, :: self.stride]
        others = [
            self.clips.bouncing(
                chosen, rng.integers(2 * CROSSING - 2, size=n), 1, paths=rng.integers(len(self.clips), size=n)
            )
            for _ in range(references)
        ]
        return Batch(
            to_video(video), torch.from_numpy(self.clips.labels[chosen]), to_video(np.concatenate(others, 1))
        )

    def about(self) -> dict[str, Any]:
        """Describe the data."""
        return {
            "title": "moving shapes",
            "data": "shapes",
            "categories": self.categories,
            "fps": 16.0 / self.stride,
            "clip_length": self.length,
            "licence": "MIT",
            "credit": "Shapes: drawn by vidgen/data/shapes.py.",
        }


class PackSource:
    """Clips of a pack; the references show the same subject, in other clips where there are any.

    about: description for the weights file; with `"mirrored_pairs": true`, the odd ones of numbered files are
    mirror images of the even ones, as in the authors' actions, and only alike clips serve each other as
    references.
    """

    def __init__(self, pack: Pack, length: int, stride: int, about: dict[str, Any]) -> None:
        self.pack, self.length, self.stride, self.name = pack, length, stride, pack.path.stem
        self.categories, self._about = pack.categories, about
        self.mirrors = not pack.categories or bool(about.get("mirrored_pairs"))
        shortest, need = int(pack.lengths.min()), (length - 1) * stride + 1
        if shortest < need:
            name = pack.names[int(pack.lengths.argmin())]
            raise VidgenError(
                f"{name} has {shortest} frames; {length} frames at stride {stride} need {need}."
            )
        ids = np.array(
            [
                f"{own} {is_mirrored(name, about)}"
                for own, name in zip(pack.content_ids, pack.names, strict=True)
            ]
        )
        self.same = [np.flatnonzero(ids == own) for own in ids]

    def batch(self, rng: np.random.Generator, n: int, length: int, references: int) -> Batch:
        """Draw n clips."""
        chosen = rng.integers(len(self.pack), size=n)
        span = (length - 1) * self.stride + 1
        starts = rng.integers(self.pack.lengths[chosen] - span + 1)
        video = np.stack(
            [self.pack.window(i, start, length, self.stride) for i, start in zip(chosen, starts, strict=True)]
        )
        others = [[self._frame(rng, rng.choice(self.same[i])) for _ in range(references)] for i in chosen]
        return Batch(to_video(video), torch.from_numpy(self.pack.labels[chosen]), to_video(np.stack(others)))

    def _frame(self, rng: np.random.Generator, index: int) -> np.ndarray:
        return self.pack.window(index, int(rng.integers(self.pack.lengths[index])), 1)[0]

    def about(self) -> dict[str, Any]:
        """Describe the data."""
        own = {"categories": self.categories, "fps": self.pack.fps / self.stride, "clip_length": self.length}
        return own | self._about


def is_mirrored(name: str, about: dict[str, Any]) -> bool:
    """Tell whether a clip is the mirror image of the one before it."""
    if not about.get("mirrored_pairs"):
        return False
    if not Path(name).stem.isdigit():
        raise VidgenError(f"{name}: mirrored_pairs needs numbered files; take it out of the pack's JSON.")
    return int(Path(name).stem) % 2 == 1


def described(path: Path) -> dict[str, Any]:
    """Read the description beside a pack: title, licence, credit, mirrored_pairs; all optional."""
    found, own = path.with_suffix(".json"), {"title": path.stem, "licence": "unknown"}
    if not found.exists():
        return own
    try:
        about = json.loads(found.read_text())
    except (OSError, ValueError) as error:
        raise VidgenError(f"{found} is not valid JSON ({error}).") from error
    if not isinstance(about, dict):
        raise VidgenError(f"{found} must hold a JSON object with title, licence, credit.")
    return own | about


def open_source(
    path: str, cache: Path, *, size: int, length: int, stride: int, team: Team | None = None
) -> Source:
    """Open an LPC clone, the word "shapes", a pack, tar shards, of which each process of the team reads its
    own, or a folder of clips, which is packed into `cache` first.
    """
    from train.data.shards import ShardSource, holds_shards  # which stands on this file

    if path == "shapes":
        return ShapeSource(size, length, stride)
    if holds_shards(path):
        source = ShardSource(path, length, stride, team)
        _check_size(path, source.size, size)
        return source
    found = Path(path).expanduser()
    if (found / "body").is_dir():
        return SpriteSource(found, cache, length, size, stride)
    if not found.exists():
        raise VidgenError(
            f"{path} is neither an LPC clone, nor a pack, nor a folder of clips or shards, "
            "nor the word shapes."
        )
    about = described(found)
    if found.is_dir():
        clips = open_clips(found, size, min_frames=(length - 1) * stride + 1)
        cache.mkdir(parents=True, exist_ok=True)
        found = cache / f"{found.resolve().name}-{size}.pack"
        make_pack(clips, found)
    pack = Pack(found, "train")
    _check_size(path, pack.size, size)
    return PackSource(pack, length, stride, about)


def _check_size(path: str, found: int, size: int) -> None:
    if found != size:
        raise VidgenError(
            f"{path} holds frames of {found} px; prepare it with --size {size} or train with --size {found}."
        )
