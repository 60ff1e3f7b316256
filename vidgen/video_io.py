"""Read and write clips, and lay frames out as pictures.

Frames are uint8 [t, h, w, c] RGB here and nowhere else in the library.

    clip = read_clip("walk.mp4")                       # mp4 webm mov avi gif webp, strip, folder of frames
    write_clip("walk.gif", clip.frames, clip.fps)      # mp4 webm gif webp png
    with ClipWriter("long.mp4", 25) as writer:         # constant memory, appears whole or not at all
        for frame in stream_frames("longer.mov"):
            writer.add(frame.pixels)
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
from einops import rearrange
from PIL import Image, ImageOps

from vidgen._clips.files import check_output
from vidgen._clips.opening import open_source
from vidgen._clips.source import STRIP_FPS, Frame, Source, noted_fps
from vidgen._clips.writer import ClipWriter, check_suffix
from vidgen.errors import VidgenError

__all__ = [
    "Clip",
    "ClipWriter",
    "Frame",
    "Source",
    "check_output",
    "check_suffix",
    "filmstrip",
    "frame_rate",
    "jpeg_sheet",
    "open_clip",
    "read_clip",
    "read_recipe",
    "stream_frames",
    "tile",
    "write_clip",
]

MAX_PIXELS = 4_194_304  # of one frame: 4 megapixels
MAX_CLIP_BYTES = 2**30  # that read_clip holds: a small file can decode to many gigabytes
MAX_JPEG_SIDE = 65_500  # of libjpeg


@dataclass(frozen=True)
class Clip:
    """Frames uint8 [t, h, w, 3], frames per second, and the recipe in the file, if it carries one."""

    frames: np.ndarray
    fps: float
    recipe: dict | None = None


def read_clip(
    path: str | os.PathLike,
    *,
    max_frames: int | None = None,
    max_pixels: int = MAX_PIXELS,
    size: int | tuple[int, int] | None = None,
) -> Clip:
    """Read a whole clip, or its first `max_frames` frames.

    Videos (mp4, mov, webm, mkv, avi), animations (gif, webp), strips (png, jpg) of square frames side by
    side, and folders of pictures; turned upright. `size`, a side or (h, w), scales the frames to cover it and
    crops at the centre. Where the file states no rate, the times of the frames give it; strips and folders
    have 12 fps then.
    Raises VidgenError, naming the file, if it is missing, empty, damaged, cut short, without picture, an
    address, of more than `max_pixels` per frame, or of more frames than 1 GiB holds.
    """
    source = open_source(path, max_pixels)
    times, frames, held = [], [], 0
    for frame in islice(_fitted(source, size), max_frames):
        held += frame.pixels.nbytes
        if held > MAX_CLIP_BYTES:
            raise VidgenError(f"{path} has more frames than {MAX_CLIP_BYTES / 2**30:g} GiB: cut it.")
        times.append(frame.seconds)
        frames.append(frame.pixels)
    if not frames:
        raise VidgenError(f"{path} gave no frames: it has none, or max_frames is {max_frames}.")
    fps = noted_fps(source.note) or frame_rate(len(times), times[-1] - times[0], source.fps)
    recipe = (source.note or {}).get("recipe")
    return Clip(np.stack(frames), fps, recipe if isinstance(recipe, dict) else None)


def stream_frames(
    path: str | os.PathLike,
    *,
    max_frames: int | None = None,
    max_pixels: int = MAX_PIXELS,
    size: int | tuple[int, int] | None = None,
) -> Iterator[Frame]:
    """Yield the frames of a clip one by one, each with its time in seconds; only one of a video is in memory.

    Arguments and errors are those of `read_clip`, without its limit on the sum; a file that cannot be opened
    raises at the call, a fault on the way when it is reached.
    """
    return islice(_fitted(open_source(path, max_pixels), size), max_frames)


def open_clip(path: str | os.PathLike, max_pixels: int = MAX_PIXELS, max_side: int | None = None) -> Source:
    """Return a clip to iterate over, as often as one likes, with what the file says of itself: `fps`,
    `seconds` (both may be None), `sound()`. Frames come scaled down to `max_side`. Errors as `stream_frames`.
    """
    return open_source(path, max_pixels, max_side)


def write_clip(
    path: str | os.PathLike, frames: Iterable[np.ndarray], fps: float, recipe: Mapping | None = None
) -> None:
    """Write frames, uint8 [t, h, w, c] or any iterable of [h, w, c], as `ClipWriter` does."""
    with ClipWriter(path, fps, recipe) as writer:
        for frame in frames:
            writer.add(frame)


def read_recipe(path: str | os.PathLike) -> dict:
    """Return the recipe that an mp4, webm, gif, webp or png carries, as it was given to the writer.

    Raises VidgenError for a file without one, and for files that cannot be read.
    """
    recipe = (open_source(path, MAX_PIXELS).note or {}).get("recipe")
    if not isinstance(recipe, dict):
        raise VidgenError(f"{path} carries no recipe: only clips exported here do, and some sites strip it.")
    return recipe


def tile(clips: np.ndarray, gap: int = 2, shade: int = 255) -> np.ndarray:
    """Lay clips, uint8 [rows, columns, t, h, w, c], out as one film, [t, H, W, c], `gap` pixels apart."""
    spaced = np.pad(clips, [(0, 0)] * 3 + [(0, gap)] * 2 + [(0, 0)], constant_values=shade)
    film = rearrange(spaced, "rows columns t h w c -> t (rows h) (columns w) c")
    return film[:, : film.shape[1] - gap, : film.shape[2] - gap]


def filmstrip(frames: np.ndarray, count: int | None = None, gap: int = 0, shade: int = 255) -> np.ndarray:
    """Lay `count` evenly spaced frames of uint8 [t, h, w, c], first and last too, side by side: [h, W, c]."""
    count = len(frames) if count is None else min(count, len(frames))
    chosen = frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]
    return tile(chosen[None, :, None], gap, shade)[0]


def jpeg_sheet(frames: np.ndarray, quality: int = 95) -> bytes:
    """Encode uint8 [t, h, w, c] as one JPEG, the frames one below the other."""
    sheet = rearrange(frames, "t h w c -> (t h) w c")
    if sheet.shape[0] > MAX_JPEG_SIDE:
        raise VidgenError(
            f"{len(frames)} frames are {sheet.shape[0]} pixels high; at most {MAX_JPEG_SIDE} fit."
        )
    image = Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)
    buffer = io.BytesIO()
    # 4:4:4: colours do not bleed from one frame into the next.
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def _fitted(frames: Iterable[Frame], size: int | tuple[int, int] | None) -> Iterator[Frame]:
    if size is None:
        yield from frames
        return
    height, width = (size, size) if isinstance(size, int) else size
    for pixels, seconds, _ in frames:
        if pixels.shape[:2] != (height, width):
            fitted = ImageOps.fit(Image.fromarray(pixels), (width, height), Image.Resampling.LANCZOS)
            pixels = np.array(fitted)
        yield Frame(pixels, seconds)


def frame_rate(count: int, span: float, stated: float | None) -> float:
    """Return frames per second, from the seconds between the first and the last of `count` frames, or the
    stated rate if it agrees within a tenth.
    """
    measured = (count - 1) / span if span > 0 else None
    if stated and (measured is None or abs(stated / measured - 1) < 0.1):
        return stated
    return measured or STRIP_FPS
