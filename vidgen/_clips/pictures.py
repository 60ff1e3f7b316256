"""Clips made of still pictures: gif, webp, png and jpg strips, folders of frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vidgen._clips.source import STRIP_FPS, Frame, Source, noted_fps, noted_size, parse_note, readable
from vidgen._clips.writer import IMAGE_DESCRIPTION, MAX_STRIP_PIXELS, MIN_GIF_DELAY, NOTE
from vidgen.errors import VidgenError

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")  # the files of a frame folder


class Animation(Source):
    """gif or webp: pictures with durations, brought to a steady rate by repeating the longer ones."""

    def inspect(self) -> None:
        with Image.open(self.path, formats=("GIF", "WEBP")) as image:
            self.check_size(*image.size)
            texts = image.info.get("comment"), image.getexif().get(IMAGE_DESCRIPTION)
            self.note = parse_note(texts[0]) or parse_note(texts[1])
            self.count = getattr(image, "n_frames", 1)
            durations = [self._duration(image, index) for index in range(self.count)]
        self.fps = noted_fps(self.note)
        shortest = MIN_GIF_DELAY * 10 if image.format == "GIF" else 1
        self.period = max(shortest, 1000 / self.fps) if self.fps else float(np.median(durations))
        self.fps = self.fps or 1000 / self.period
        self.repeats = [max(1, round(duration / self.period)) for duration in durations]
        frames = (self.note or {}).get("frames")
        if self.count == 1 and type(frames) is int and frames > 0:  # a frozen clip is stored as one picture
            self.repeats = [frames]

    def _duration(self, image: Image.Image, index: int) -> float:
        image.seek(index)
        image.load()
        milliseconds = image.info.get("duration", 0)
        return milliseconds if milliseconds > 10 or self.note else 100.0  # as browsers play it

    def decode(self) -> Iterator[Frame]:
        shown = 0
        with Image.open(self.path, formats=("GIF", "WEBP")) as image:
            for index, repeats in enumerate(self.repeats):
                image.seek(index)
                pixels = _on_white(image)
                for _ in range(repeats):
                    yield Frame(pixels, shown / self.fps)
                    shown += 1


class Strip(Source):
    """A png or jpg with square frames side by side, or with frames of the size that its note says."""

    def inspect(self) -> None:
        with Image.open(self.path, formats=("PNG", "JPEG")) as image:
            self.check_size(*image.size, limit=max(self.max_pixels, MAX_STRIP_PIXELS))
            self.note = parse_note(image.info.get(NOTE))
            width, height = ImageOps.exif_transpose(image).size
        self.fps = noted_fps(self.note)
        noted = noted_size(self.note)
        self.width = noted[1] if noted and noted[0] == height else height
        self.check_size(self.width, height)
        if width % self.width:
            raise VidgenError(
                f"{self.path} is {width} x {height} pixels and no strip: its frames are square and side by "
                "side, so the width must be a multiple of the height."
            )

    def decode(self) -> Iterator[Frame]:
        with Image.open(self.path, formats=("PNG", "JPEG")) as image:
            strip = _on_white(ImageOps.exif_transpose(image))
        for index in range(strip.shape[1] // self.width):
            frame = strip[:, index * self.width : (index + 1) * self.width]
            yield Frame(np.ascontiguousarray(frame), index / (self.fps or STRIP_FPS))


class Folder(Source):
    """A folder of pictures of one size, in the order of the numbers in their names."""

    def inspect(self) -> None:
        files = [file for file in self.path.iterdir() if file.suffix.lower() in PICTURES and file.is_file()]
        self.files = sorted((file for file in files if not file.name.startswith(".")), key=_natural)
        if not self.files:
            raise VidgenError(f"{self.path} holds no pictures: put {', '.join(PICTURES)} files into it.")

    def decode(self) -> Iterator[Frame]:
        shape = None
        for index, file in enumerate(self.files):
            with readable(file), Image.open(file, formats=("PNG", "JPEG", "WEBP", "BMP")) as image:
                self.check_size(*image.size)
                pixels = _on_white(ImageOps.exif_transpose(image))
            shape = shape or pixels.shape
            if pixels.shape != shape:
                raise VidgenError(
                    f"{file} is {pixels.shape[1]} x {pixels.shape[0]} pixels, but the frames before it are "
                    f"{shape[1]} x {shape[0]}: make them one size."
                )
            yield Frame(pixels, index / STRIP_FPS)


def _natural(file: Path) -> list[tuple[int, int | str]]:
    """Sort frame_10 after frame_9."""
    parts = re.split(r"(\d+)", file.name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


def _on_white(image: Image.Image) -> np.ndarray:
    """Return a picture as uint8 [h, w, 3], what is transparent white."""
    if image.mode == "RGB":
        return np.array(image)
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(white, image).convert("RGB"))
