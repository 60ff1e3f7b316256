"""Shots: a video read frame by frame, thinned to a rate, cropped, and split where the picture jumps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from train.data.faces import MAX_SIDE
from vidgen._clips.source import noted_fps
from vidgen.data.strips import IMAGE_SUFFIXES
from vidgen.faces import FaceTracker, crop
from vidgen.video_io import frame_rate, open_clip, stream_frames

MEMORY = 1 << 29  # bytes of a shot; a longer one is split
THUMB = 8  # px of the side at which frames are compared
JUMP = 0.12  # a cut changes the thumbnail by this share of the range of brightness, at least,
SURPRISE = 4.0  # and by so many times what is usual
USUAL = 16  # in so many frames before it


@dataclass(frozen=True)
class Plan:
    """How clips are read: px of a frame's side, fewest frames of a shot, frames a second (of pictures, and at
    most of videos), whether to follow faces and to split at cuts, most frames of a shot, and frames to leave
    out at the start; 0 frames: no limit.
    """

    size: int = 64
    min_frames: int = 16
    fps: float | None = None
    faces: bool = False
    cuts: bool = True
    piece: int = 0
    skip: int = 0

    @property
    def longest(self) -> int:
        """Give the most frames of a shot."""
        return self.piece or max(MEMORY // (self.size**2 * 3), self.min_frames)


class Rate:
    """The frames a second of a clip, known when it has been read."""

    def __init__(self, path: Path, fps: float | None) -> None:
        self.still = path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES - {".webp"}
        self.asked, self.times = fps, []
        self.source = open_clip(path)

    def keeps(self, seconds: float) -> bool:
        """Tell whether the frame at a time is kept: of videos, no more than were asked for."""
        if self.asked and not self.still and self.times:
            due = self.times[0] + len(self.times) / self.asked
            if seconds < due - 0.25 / self.asked:
                return False
        self.times.append(seconds)
        return True

    def measured(self) -> float:
        """Give the rate of the frames that were kept."""
        if self.still and self.asked:
            return self.asked
        stated = noted_fps(self.source.note) or self.source.fps
        stated = min(stated, self.asked) if stated and self.asked else stated
        return stated or frame_rate(len(self.times), self.times[-1] - self.times[0], None)


def frames_of(path: Path, plan: Plan, rate: Rate) -> Iterator[np.ndarray]:
    """Read a clip's frames, uint8 [h, w, c], square; with `faces`, from the first frame with a face on."""
    if not plan.faces:
        for frame in stream_frames(path, size=plan.size):
            if rate.keeps(frame.seconds):
                yield frame.pixels
        return
    tracker = FaceTracker()
    for frame in open_clip(path, max_side=MAX_SIDE):
        if rate.keeps(frame.seconds) and (box := tracker.step(frame.pixels)) is not None:
            yield crop(frame.pixels, box, plan.size)


def shots(frames: Iterable[np.ndarray], plan: Plan) -> Iterator[np.ndarray]:
    """Split frames at cuts: uint8 [t, h, w, c] each."""
    shot: list[np.ndarray] = []
    changes: deque[float] = deque(maxlen=USUAL)
    before = None
    for index, frame in enumerate(frames):
        if index < plan.skip:
            continue
        thumb = _thumb(frame)
        cut = before is not None and plan.cuts and _is_cut(change := _change(before, thumb), changes)
        if cut or len(shot) == plan.longest:
            yield np.stack(shot)
            shot, changes = [], deque(maxlen=USUAL)
        elif before is not None and plan.cuts:
            changes.append(change)
        shot.append(frame)
        before = thumb
    if shot:
        yield np.stack(shot)


def _thumb(frame: np.ndarray) -> np.ndarray:
    small = Image.fromarray(frame).resize((THUMB, THUMB), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255


def _change(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.abs(one - two).mean())


def _is_cut(change: float, before: deque[float]) -> bool:
    """Tell a cut from fast motion, which the frames before share; a shot's second frame is never cut off."""
    return len(before) >= 2 and change > JUMP and change > SURPRISE * float(np.median(before))
