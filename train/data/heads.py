"""Drawn talking heads as clips to pack: a new face for each, with an identity's motion of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from train.data import avatars
from train.data.avatars import AvatarClips
from vidgen.data.folders import ClipFolder, Source
from vidgen.errors import VidgenError

WORD = "avatars:"
RATE = 2  # of the avatars' frames, one is kept: 12.5 a second
TESTS = 10  # one clip in so many is for testing


class Heads(ClipFolder):
    """`count` clips of `length` frames at `size` px; name: "random", or a character, always the same face.

    Raises VidgenError for an unknown name, or a number out of range.
    """

    def __init__(self, name: str, count: int, size: int, length: int) -> None:
        if count < 2:
            raise VidgenError(f"--count is {count}, but one clip is to train on and one for testing.")
        tests = max(count // TESTS, 1)
        split = {"train": count - tests, "test": tests}
        self.drawn = [
            (AvatarClips(number, size, RATE * length, split=part, identities=name), index)
            for part, number in split.items()
            for index in range(number)
        ]
        path = Path(avatars.__file__)  # what draws them is what they are
        self.tests = [f"test {index}" for index in range(tests)]
        names = [f"train {index}" for index in range(count - tests)] + self.tests
        super().__init__([Source(path, each, 0, each) for each in names], [], size, length, None)

    def read(self, index: int) -> tuple[np.ndarray, float]:
        """Draw one clip: uint8 [t, h, w, c], and its frames per second."""
        clips, number = self.drawn[index]
        times = np.arange(0, clips.length, RATE)
        return clips.frames(np.full(len(times), number), times), clips.fps / RATE
