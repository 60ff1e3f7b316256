"""Three consecutive frames of a stream, as Recycle-GAN trains on: from a pack, a video, a folder of videos or
frames, the authors' strips of three frames, or an avatar (`avatars:NAME`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from train.data.avatars import AvatarClips
from train.data.faces import FaceFolder
from train.data.sources import described, to_video
from vidgen.data.folders import open_clips
from vidgen.data.pack import Pack
from vidgen.data.pack import pack as make_pack
from vidgen.errors import VidgenError

AVATARS = "avatars:"
CROPS = ("auto", "none")
LOAD = 286 / 256  # the papers load at 286 px and crop 256


class Triplets:
    """Draw triplets from clips, uint8 [t, h, w, c] each, all of one size.

    strides: for each clip, the step from frame to frame of a triplet. about: title, licence, credit, fps of
    the triplets.
    """

    def __init__(
        self, clips: Sequence[np.ndarray], strides: Sequence[int], name: str, about: dict[str, Any]
    ) -> None:
        self.clips, self.name, self.about = clips, name, about
        self.strides = [
            min(stride, (len(clip) - 1) // 2) for clip, stride in zip(clips, strides, strict=True)
        ]
        if not clips or min(self.strides) < 1:
            raise VidgenError(f"{name} has a clip of fewer than three frames: leave it out.")
        self.size = clips[0].shape[1]

    def frames(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n triplets: uint8 [n, 3, h, w, c]; clips and starts are uniform."""
        drawn = []
        for index in rng.integers(len(self.clips), size=n):
            clip, stride = self.clips[index], self.strides[index]
            start = int(rng.integers(len(clip) - 2 * stride))
            drawn.append(clip[start : start + 2 * stride + 1 : stride])
        return np.stack(drawn)

    def batch(self, rng: np.random.Generator, n: int, flip: bool = True, jitter: float = 0.0) -> Tensor:
        """Draw n triplets [n, 3, c, h, w] in [-1, 1], cropped from a larger picture, and half of them
        mirrored.

        jitter: how far brightness, contrast and saturation stray, 0 to 1. A triplet's frames share all of it.
        """
        video = to_video(self.frames(rng, n))
        video = torch.stack([_cropped(clip, rng) for clip in video])
        if flip:
            mirrored = torch.from_numpy(rng.random(n) < 0.5)
            video = torch.where(rearrange(mirrored, "n -> n 1 1 1 1"), video.flip(-1), video)
        return _jittered(video, rng, jitter) if jitter else video


def _cropped(clip: Tensor, rng: np.random.Generator) -> Tensor:
    """Enlarge a clip [t, c, h, w] and take a random window of its own size."""
    size = clip.shape[-1]
    larger = F.interpolate(clip, (round(size * LOAD),) * 2, mode="bilinear", align_corners=False)
    y, x = rng.integers(larger.shape[-1] - size + 1, size=2)
    return larger[:, :, y : y + size, x : x + size]


def _jittered(video: Tensor, rng: np.random.Generator, amount: float) -> Tensor:
    draws = torch.from_numpy(rng.uniform(-amount, amount, (3, len(video)))).to(video.dtype)
    bright, contrast, colour = (rearrange(row, "n -> n 1 1 1 1") for row in draws)
    grey = video.mean(2, keepdim=True)
    video = grey + (video - grey) * (1 + colour)
    return (video * (1 + contrast) + bright).clamp(-1, 1)


def open_triplets(
    path: str,
    cache: Path,
    *,
    size: int,
    fps: float = 12.5,
    crop: str = "none",
    split: str = "train",
    clips: int = 80,
) -> Triplets:
    """Open a stream of frames at `size` px; triplets are at most `fps` frames a second apart.

    path: a pack, a video, a folder that `train.prepare` reads, or "avatars:NAME", of which `clips` clips are
    drawn. crop: "auto" crops a video or folder to the largest face, "none" takes the middle square.
    """
    if crop not in CROPS:
        raise VidgenError(f"crop is {crop!r}; choose one of {', '.join(CROPS)}.")
    if path.startswith(AVATARS):
        return _avatars(path.removeprefix(AVATARS), cache, size, fps, split, clips)
    found = Path(path).expanduser()
    about = described(found)
    if not found.exists():
        raise VidgenError(f"{path} is neither a video, nor a pack, nor a folder of clips, nor avatars:NAME.")
    if found.suffix != ".pack":
        source = open_clips(found, size, min_frames=3)
        source = FaceFolder(source) if crop == "auto" else source
        cache.mkdir(parents=True, exist_ok=True)
        found = cache / f"{found.resolve().stem}-{size}-{crop}.pack"
        make_pack(source, found, test_share=0.0 if len(source) < 2 else 0.1)
    pack = Pack(found, split)
    if pack.size != size:
        raise VidgenError(f"{path} holds frames of {pack.size} px; prepare it with --size {size}.")
    strides = [max(round(rate / fps), 1) for rate in pack.rates]
    return Triplets([pack.mapped(i) for i in range(len(pack))], strides, pack.path.stem, about | {"fps": fps})


def _avatars(name: str, cache: Path, size: int, fps: float, split: str, clips: int) -> Triplets:
    """Draw an avatar's clips once and keep them in `cache`."""
    kept = cache / f"avatar-{name}-{split}-{clips}-{size}.npy"
    source = AvatarClips(clips, size, length=50, split=split, identities=name)
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part.npy")
        np.save(part, np.stack([source.clip(i) for i in range(clips)]))
        part.replace(kept)
    frames = np.load(kept, mmap_mode="r")
    about = {
        "title": f"avatar {name.capitalize()}",
        "licence": "MIT",
        "credit": "Avatars: drawn by train/data/avatars.py.",
        "fps": fps,
    }
    return Triplets(list(frames), [max(round(source.fps / fps), 1)] * clips, f"avatars:{name}", about)
