"""Many clips from one long recording: square windows at regular places, for textures such as clouds or water,
which look alike everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

from vidgen.data.folders import ClipFolder, Source
from vidgen.errors import VidgenError
from vidgen.video_io import read_clip

HELD_OUT = "held out"


@dataclass(frozen=True)
class Grid:
    """Places of windows of `side` px, a quarter of a window apart, in frames of `height` x `width`.

    The lowest `share` of the frame is for testing: windows lie wholly above its edge, or wholly below.
    """

    side: int
    height: int
    width: int
    share: float

    @property
    def edge(self) -> int:
        """Give the row at which the part for testing begins."""
        return (
            self.height - max(math.ceil(self.share * self.height), self.side) if self.share else self.height
        )

    def places(self) -> list[tuple[int, int, bool]]:
        """List the top, the left and whether it is for testing, of every window."""
        step, lefts = max(self.side // 4, 1), self.width - self.side
        bands = [(0, self.edge, False), (self.edge, self.height, True)]
        return [
            (top, left, test)
            for first, last, test in bands
            for top in range(first, last - self.side + 1, step)
            for left in range(0, lefts + 1, step)
        ]


class Windows(ClipFolder):
    """The windows of a recording, a video or a folder of frames, as clips at `size` px.

    side: of a window, px of the recording, at least `size`. share: of the frame, from below, for testing.
    Raises VidgenError for a recording that is broken, too short or too small.
    """

    def __init__(self, path: Path, size: int, side: int, share: float, min_frames: int, fps: float | None):
        if not 16 <= size <= side:
            raise VidgenError(
                f"Windows of {side} px cannot be shown at {size} px: give --windows {size} or more."
            )
        clip = read_clip(path)
        self.frames, rate = clip.frames, fps or clip.fps
        count, height, width, _ = self.frames.shape
        if count < min_frames:
            raise VidgenError(f"{path} has {count} frames, but {min_frames} are needed.")
        grid = Grid(side, height, width, share)
        self.side, self.places = side, grid.places()
        if min(height, width) < side or not self.places or self.places[0][2]:
            raise VidgenError(
                f"{path} shows {width} x {height} px: too little for windows of {side} px on both sides of "
                "the part held out for testing."
            )
        self.rate = rate
        sources = [
            Source(path, f"{path.name}@{left},{top}", 0, HELD_OUT if test else f"{left},{top}")
            for top, left, test in self.places
        ]
        super().__init__(sources, [], size, min_frames, fps)

    def read(self, index: int) -> tuple[np.ndarray, float]:
        """Give a window, averaged down to uint8 [t, size, size, 3], and its frames per second."""
        top, left, _ = self.places[index]
        cut = self.frames[:, top : top + self.side, left : left + self.side]
        if self.side == self.size:
            return cut, self.rate
        video = rearrange(torch.from_numpy(np.ascontiguousarray(cut)), "t h w c -> t c h w").float()
        small = F.interpolate(video, (self.size, self.size), mode="bilinear", antialias=True)
        return rearrange(small.round().clamp(0, 255).byte(), "t c h w -> t h w c").numpy(), self.rate
