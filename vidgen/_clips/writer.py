"""Write clips: mp4 and webm frame by frame in constant memory; gif, webp and png strips at the end.

Each file carries a note, {"vidgen": 1, "fps", "frames", "size": [h, w], "recipe"}, as JSON: in the `comment`
tag of a container, the comment extension of a gif, the EXIF image description of a webp, the text chunk
`vidgen` of a png. "frames" is 0 in containers, whose header is written before the count is known.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vidgen._clips.files import replacing, reported
from vidgen._clips.sound import Sound
from vidgen.errors import VidgenError

NOTE = "vidgen"  # keyword of the png chunk, and the key that tells our notes from other comments
IMAGE_DESCRIPTION = 0x010E  # EXIF
MAX_BUFFER = 2**30  # bytes of frames that gif, webp and png keep until the end
MAX_STRIP_PIXELS = 2**26  # of a whole strip
TICKS = 90_000  # a second, in files whose frames come with their times: the usual rates divide it
LARGE = 2**19  # pixels of a frame from which on speed counts more than the last bytes
MIN_GIF_DELAY = 2  # hundredths of a second: browsers play shorter delays at 10


class ClipWriter:
    """Write frames to one .mp4, .webm, .gif, .webp or .png (strip) file; use it in a `with` statement.

    The file appears when the block ends; after an error in the block nothing is left. `fps` is in (0, 240],
    `recipe` any JSON-able mapping. A gif plays at 50 fps at most. Raises VidgenError for an unknown ending, a
    bad fps, an unwritable path, a full disk, no frames, or more frames than a gif, webp or png can hold.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        fps: float,
        recipe: Mapping | None = None,
        *,
        sound: Sound | None = None,
        title: str = "",
    ) -> None:
        self.path = check_suffix(path)
        self.fps = _checked_fps(fps)
        self.recipe = None if recipe is None else dict(recipe)
        self.sound, self.title, self.timed = sound, title, False
        self._exits = ExitStack()

    def __enter__(self) -> ClipWriter:
        temporary = self._exits.enter_context(replacing(self.path))
        make = ENCODERS[self.path.suffix.lower()]
        self._encoder = make(temporary, self)
        self.frames, self.size = 0, (0, 0)
        return self

    def add(self, frame: np.ndarray, seconds: float | None = None) -> None:
        """Append one frame, uint8 [h, w, c] with c 1 or 3, of the same size as the first.

        seconds: when an mp4 or webm shows it; None for the steady rate. Give it for all frames or for none.
        """
        assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[-1] in (1, 3), frame.shape
        if self.frames == 0:
            self.size, self.timed = frame.shape[:2], seconds is not None
        assert frame.shape[:2] == self.size, (frame.shape, self.size)
        frame = np.repeat(frame, 3, axis=-1) if frame.shape[-1] == 1 else frame
        with reported(self.path):
            self._encoder.add(np.ascontiguousarray(frame), seconds)
        self.frames += 1

    def note(self) -> str:
        """Return the JSON note that goes into the file; ASCII only."""
        known = {
            "fps": None if self.timed else self.fps,
            "frames": self.frames,
            "size": list(self.size),
            "recipe": self.recipe,
        }
        return json.dumps({NOTE: 1, **known}, allow_nan=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            with self._exits:
                self._finish()
        else:
            self._encoder.abandon()
            self._exits.__exit__(kind, error, trace)

    def _finish(self) -> None:
        try:
            if self.frames == 0:
                raise VidgenError(f"{self.path} was not written because the clip has no frames.")
            with reported(self.path):
                self._encoder.close()
        except BaseException:
            self._encoder.abandon()
            raise


class _Container:
    """Encode mp4 (h264) or webm (vp9), 4:2:0, as the frames come."""

    def __init__(self, temporary: Path, writer: ClipWriter) -> None:
        self.temporary, self.writer = temporary, writer
        self.webm = writer.path.suffix.lower() == ".webm"
        self.container: av.container.OutputContainer | None = None
        self.pts = -1

    def _open(self, height: int, width: int) -> None:
        kind, options = ("webm", {}) if self.webm else ("mp4", {"movflags": "+faststart"})
        self.container = av.open(str(self.temporary), "w", format=kind, options=options)
        self.container.metadata["comment"] = self.writer.note()
        if self.writer.title:
            self.container.metadata["title"] = self.writer.title
        rate = Fraction(self.writer.fps).limit_denominator(1001)
        self.stream = self.container.add_stream("libvpx-vp9" if self.webm else "libx264", rate=rate)
        self.stream.width, self.stream.height = width + width % 2, height + height % 2
        self.stream.pix_fmt = "yuv420p"
        self.stream.options = {"crf": "20", "b": "0", "cpu-used": "4"} if self.webm else {"crf": "14"}
        if height * width > LARGE:
            self.stream.options |= (
                {"cpu-used": "8", "deadline": "realtime"} if self.webm else {"preset": "veryfast"}
            )
        self.tick = Fraction(1, TICKS) if self.writer.timed else 1 / rate
        self.stream.codec_context.time_base = self.tick
        self.stream.codec_context.thread_count = 1  # a small picture gains nothing from more
        self.stream.codec_context.color_range = 1  # say "MPEG range, BT.601" so that no player has to guess
        self.stream.codec_context.colorspace = 6
        if self.writer.sound:
            self.writer.sound.begin(self.container)

    def add(self, frame: np.ndarray, seconds: float | None) -> None:
        height, width = frame.shape[:2]
        if self.container is None:
            self._open(height, width)
        # 4:2:0 needs even sizes: the last row or column is repeated, and the note says what to cut off again.
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(even, format="rgb24")
        if seconds is None:
            self.pts, picture.duration = self.writer.frames, 1
        else:
            self.pts = max(self.pts + 1, round(seconds * TICKS))
        picture.pts, picture.time_base = self.pts, self.tick
        self.container.mux(self.stream.encode(picture))
        if self.writer.sound:
            self.writer.sound.mux_until(seconds)

    def close(self) -> None:
        self.container.mux(self.stream.encode(None))
        if self.writer.sound:
            self.writer.sound.mux_until(math.inf)
        self.container.close()

    def abandon(self) -> None:
        if self.container is not None:
            with suppress(OSError, av.FFmpegError):  # the disk may still be full, and the file goes anyway
                self.container.close()


class _Pictures:
    """Keep the frames, then save them in one go with Pillow."""

    def __init__(self, temporary: Path, writer: ClipWriter) -> None:
        self.temporary, self.writer = temporary, writer
        self.pictures: list[Image.Image] = []
        self.bytes = 0

    def add(self, frame: np.ndarray, _seconds: float | None) -> None:
        self.bytes += frame.nbytes
        if self.bytes > MAX_BUFFER:
            raise VidgenError(
                f"{self.writer.path} would hold over {MAX_BUFFER / 2**30:g} GiB of frames: write an .mp4."
            )
        self.pictures.append(self.kept(Image.fromarray(frame)))

    def kept(self, picture: Image.Image) -> Image.Image:
        return picture

    def abandon(self) -> None:
        self.pictures.clear()


class _Gif(_Pictures):
    def kept(self, picture: Image.Image) -> Image.Image:
        return picture.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)

    def close(self) -> None:
        delays = _delays(len(self.pictures), 100 / self.writer.fps)
        durations = [max(MIN_GIF_DELAY, delay) * 10 for delay in delays]
        first, *rest = self.pictures
        options = {"duration": durations, "loop": 0, "comment": self.writer.note().encode("ascii")}
        try:
            first.save(self.temporary, "GIF", save_all=True, append_images=rest, disposal=1, **options)
        except struct.error as error:  # equal frames become one, with the sum of their delays in 16 bits
            raise VidgenError(f"{self.writer.path} would stand still for over 655 s: use .mp4.") from error


class _Webp(_Pictures):
    def close(self) -> None:
        exif = Image.Exif()
        exif[IMAGE_DESCRIPTION] = self.writer.note()
        delays = _delays(len(self.pictures), 1000 / self.writer.fps)
        first, *rest = self.pictures
        options = {"duration": delays, "loop": 0, "quality": 90, "exif": exif.tobytes()}
        first.save(self.temporary, "WEBP", save_all=True, append_images=rest, **options)


class _Strip(_Pictures):
    def close(self) -> None:
        (width, height), count = self.pictures[0].size, len(self.pictures)
        if width * height * count > MAX_STRIP_PIXELS:
            raise VidgenError(
                f"{self.writer.path} would have {width * height * count / 1e6:.0f} megapixels, but a strip "
                f"may have {MAX_STRIP_PIXELS / 1e6:.0f}: write fewer frames or an .mp4."
            )
        strip = Image.new("RGB", (width * count, height))
        for index, picture in enumerate(self.pictures):
            strip.paste(picture, (index * width, 0))
        text = PngInfo()
        text.add_itxt(NOTE, self.writer.note())
        strip.save(self.temporary, "PNG", pnginfo=text)


ENCODERS = {".mp4": _Container, ".webm": _Container, ".gif": _Gif, ".webp": _Webp, ".png": _Strip}


def check_suffix(path: str | os.PathLike) -> Path:
    """Return the path if its ending names a format that can be written, or raise VidgenError."""
    path = Path(path)
    if path.suffix.lower() not in ENCODERS:
        raise VidgenError(f"{path} cannot be written: its name must end in {', '.join(ENCODERS)}.")
    return path


def _checked_fps(fps: float) -> float:
    if not (math.isfinite(fps) and 0 < fps <= 240):
        raise VidgenError(f"A clip cannot play at {fps} frames per second: choose more than 0, at most 240.")
    return float(fps)


def _delays(count: int, period: float) -> list[int]:
    """Return whole delays that keep the time exactly on average: 12 fps in a gif is 8, 9, 8, 8, 9, 8 ..."""
    edges = [round(index * period) for index in range(count + 1)]
    return [max(1, end - start) for start, end in zip(edges, edges[1:], strict=False)]
