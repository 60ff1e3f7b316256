"""What every kind of clip file has in common when it is read.

Nothing here trusts a file: no other file or address is followed, only known containers and codecs are
opened, sizes are checked before anything is decoded, and damage leaves as a VidgenError naming the file.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from vidgen._clips.writer import NOTE
from vidgen.errors import VidgenError

STRIP_FPS = 12.0  # of strips and folders that do not say
MAX_NOTE = 2**16  # characters
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,  # Pillow's for a broken PNG
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
    av.FFmpegError,
    Image.DecompressionBombError,
)


class Frame(NamedTuple):
    """One picture, uint8 [h, w, 3], and its time in seconds."""

    pixels: np.ndarray
    seconds: float


class Source:
    """A clip that can be read any number of times from the start: iterate for Frames.

    `note` is what vidgen wrote into the file, or None; `fps` is the rate that the file states, or None.
    """

    note: dict | None = None
    fps: float | None = None

    def __init__(self, path: Path, max_pixels: int) -> None:
        self.path, self.max_pixels = path, max_pixels
        with readable(path):
            self.inspect()

    def inspect(self) -> None:
        raise NotImplementedError

    def decode(self) -> Iterator[Frame]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Frame]:
        with readable(self.path):
            yield from self.decode()

    def check_size(self, width: int, height: int, limit: int | None = None) -> None:
        limit = limit or self.max_pixels
        if width * height > limit:
            raise VidgenError(
                f"{self.path} is {width} x {height} pixels, and {limit / 1e6:.1f} megapixels are allowed: "
                "scale it down first."
            )


@contextmanager
def readable(path: str | os.PathLike) -> Iterator[None]:
    """Turn whatever a decoder raises over a bad file into a VidgenError that names the file."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise VidgenError(f"{path} cannot be read: it is damaged or of another kind.") from error
    except DAMAGE as error:
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
        raise VidgenError(f"{path} cannot be read ({reason[:120]}): it is damaged or cut short.") from error


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
