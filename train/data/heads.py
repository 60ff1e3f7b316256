"""Drawn talking heads as clips to pack: each face in one clip or several, each clip with its own motion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from train.data import avatars
from train.data.avatars import AvatarClips
from vidgen.data.folders import ClipFolder, Source
from vidgen.data.pack import Pack
from vidgen.errors import VidgenError
from vidgen.evaluation.real import SWAPS, Chosen

WORD = "avatars:"
RATE = 2  # of the avatars' frames, one is kept: 12.5 a second
TESTS = 10  # one face in so many is for testing


class Heads(ClipFolder):
    """`count` faces in clips of `length` frames at `size` px; name: "random", or a character, always the same
    face. Each training face is in `performances` clips with different motions, so that content can be told
    from motion; each test face is in one.

    Raises VidgenError for an unknown name, or a number out of range.
    """

    def __init__(self, name: str, count: int, size: int, length: int, performances: int = 1) -> None:
        if count < 2:
            raise VidgenError(f"--count is {count}, but one face is to train on and one for testing.")
        if performances < 1:
            raise VidgenError(f"--performances is {performances}, but must be at least 1.")
        tests = max(count // TESTS, 1)
        path = Path(avatars.__file__)  # what draws them is what they are
        self.drawn, listed = [], []
        for split, faces, each in (("train", count - tests, performances), ("test", tests, 1)):
            clips = AvatarClips(faces * each, size, RATE * length, split=split, identities=name)
            for motion in range(faces * each):
                face, take = motion % faces, motion // faces
                self.drawn.append((clips, face, motion))
                own = f"{split} {face}"
                whose = "" if name == "random" else f"{name}, "  # a pack of somebody else is another one
                listed.append(Source(path, f"{whose}{own} ({take + 1})" if take else f"{whose}{own}", 0, own))
        self.tests = [f"test {index}" for index in range(tests)]
        super().__init__(listed, [], size, length, None)

    def read(self, index: int) -> tuple[np.ndarray, float]:
        """Draw one clip: uint8 [t, h, w, c], and its frames per second."""
        clips, face, motion = self.drawn[index]
        return clips.performed(face, motion, np.arange(0, clips.length, RATE)), clips.fps / RATE


def head_swaps(
    pack: Pack, length: int, stride: int = 1
) -> Callable[[np.random.Generator, int], dict[str, Chosen]] | None:
    """Mix faces and motions of a pack's test heads, drawn anew, into the sets of `SWAPS`: clips of `length`
    frames, `stride` apart. None where the pack holds other heads than these.
    """
    whole, span = int(pack.lengths.max()), (length - 1) * stride + 1
    heads = AvatarClips(len(pack), pack.size, RATE * whole, split="test")
    if not np.array_equal(heads.performed(0, 0, np.arange(1)), pack.window(0, 0, 1)):
        return None

    def drawn(faces: np.ndarray, motions: np.ndarray, starts: np.ndarray) -> np.ndarray:
        times = [RATE * np.arange(start, start + span, stride) for start in starts]
        each = zip(faces, motions, times, strict=True)
        return np.stack([heads.performed(int(face), int(motion), at) for face, motion, at in each])

    def swaps(rng: np.random.Generator, n: int) -> dict[str, Chosen]:
        faces, motions = rng.integers(len(heads), size=(2, 3, n))
        starts = rng.integers(whole - span + 1, size=(3, n))
        return {
            name: Chosen((faces[what], motions[how], starts[how]), drawn)
            for name, (what, how) in SWAPS.items()
        }

    return swaps
