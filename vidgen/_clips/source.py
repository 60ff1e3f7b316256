"""What every kind of clip file has in common when it is read.

Nothing here trusts a file: no other file or address is followed, only known containers and codecs are
opened, sizes are checked before anything is decoded, and damage leaves as a VidgenError naming the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from vidgen._clips.files import readable
from vidgen._clips.sound import Sound
from vidgen._clips.writer import NOTE
from vidgen.errors import VidgenError

STRIP_FPS = 12.0  # of strips and folders that do not say
MAX_NOTE = 2**16  # characters


class Frame(NamedTuple):
    """One picture, uint8 [h, w, 3], its time in seconds, and its side as a share of the file's."""

    pixels: np.ndarray
    seconds: float
    scale: float = 1.0


class Source:
    """A clip that can be read any number of times from the start: iterate for Frames.

    `note` is what vidgen wrote into the file, or None; `fps` is the rate that the file states, or None, and
    `seconds` its length, or None. Frames come scaled down to `max_side` on the longer side, if that is given.
    """

    note: dict | None = None
    fps: float | None = None
    seconds: float | None = None

    def __init__(self, path: Path, max_pixels: int, max_side: int | None = None) -> None:
        self.path, self.max_pixels, self.max_side = path, max_pixels, max_side
        with readable(path):
            self.inspect()

    def inspect(self) -> None:
        raise NotImplementedError

    def decode(self) -> Iterator[Frame]:
        raise NotImplementedError

    def sound(self) -> Sound | None:
        """Return the sound of the clip, to be muxed with its pictures and closed, or None if it has none."""
        return None

    def __iter__(self) -> Iterator[Frame]:
        with readable(self.path):
            for frame in self.decode():
                yield self._scaled(frame)

    def _scaled(self, frame: Frame) -> Frame:
        before = frame.pixels.shape[:2]
        height, width = self.shape_within(*before)
        if (height, width) == before:
            return frame
        pixels = Image.fromarray(frame.pixels).resize((width, height), Image.Resampling.BOX)
        return Frame(np.array(pixels), frame.seconds, height / before[0])

    def shape_within(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that a frame has when it is scaled down to `max_side`."""
        if not self.max_side or max(height, width) <= self.max_side:
            return height, width
        scale = self.max_side / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def check_size(self, width: int, height: int, limit: int | None = None) -> None:
        limit = limit or self.max_pixels
        if width * height > limit:
            raise VidgenError(
                f"{self.path} is {width} x {height} pixels, and {limit / 1e6:.1f} megapixels are allowed: "
                "scale it down first."
            )


def parse_note(text: object) -> dict | None:
    """Return the note that vidgen put into a file, or None if this text is something else."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if not isinstance(text, str) or len(text) > MAX_NOTE:
        return None
    try:
        note = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return note if isinstance(note, dict) and note.get(NOTE) == 1 else None


def noted_fps(note: dict | None) -> float | None:
    """Return the frame rate in a note, if it is a sane one."""
    fps = (note or {}).get("fps")
    return float(fps) if isinstance(fps, (int, float)) and 0 < fps <= 240 else None


def noted_size(note: dict | None) -> tuple[int, int] | None:
    size = (note or {}).get("size")
    if isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size):
        return size[0], size[1]
    return None
