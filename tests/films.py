"""Films that the tests make: faces from weights/examples on a plain ground, with sound, odd times, a turn.

Also the translator that the tests use in place of a trained one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np

from vidgen.video_io import read_clip

EXAMPLES = Path(__file__).parents[1] / "weights" / "examples"
SOUND_RATE = 48_000


class Inverter:
    """A translator that inverts colours, and predicts that the last frame stays."""

    def __init__(self, size: int = 64, reversible: bool = True) -> None:
        self.size, self.reversible = size, reversible
        self.calls: list[str] = []

    def translate(self, frames: np.ndarray) -> np.ndarray:
        assert frames.shape[1:] == (self.size, self.size, 3)
        self.calls.append(f"translate {len(frames)}")
        return 255 - frames

    def predict(self, previous: np.ndarray) -> np.ndarray:
        assert previous.shape == (2, self.size, self.size, 3)
        self.calls.append("predict")
        return previous[1]

    def back(self, frames: np.ndarray) -> np.ndarray:
        self.calls.append(f"back {len(frames)}")
        return 255 - frames


@cache
def person(name: str = "expressions") -> np.ndarray:
    """Return the frames of an example, uint8 [t, 128, 128, 3]."""
    return read_clip(EXAMPLES / f"{name}.mp4").frames


def ground(height: int = 240, width: int = 320) -> np.ndarray:
    """Return a plain grey-blue picture, a little lighter at the bottom."""
    shade = np.linspace(90, 130, height)[:, None, None] + np.array([0, 5, 20])
    return np.broadcast_to(shade, (height, width, 3)).astype(np.uint8)


def place(frame: np.ndarray, picture: np.ndarray, x: int, y: int, side: int) -> np.ndarray:
    """Return a copy of a frame with a picture scaled to a square at (x, y), cut off at the frame's edges."""
    height, width = frame.shape[:2]
    frame, picture = frame.copy(), cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    left, top, right, bottom = max(0, x), max(0, y), min(width, x + side), min(height, y + side)
    if left < right and top < bottom:
        frame[top:bottom, left:right] = picture[top - y : bottom - y, left - x : right - x]
    return frame


def talking(count: int = 20, height: int = 240, width: int = 320, side: int = 160) -> np.ndarray:
    """Return frames with one face in the middle: uint8 [t, h, w, 3]."""
    x, y, faces = (width - side) // 2, (height - side) // 2, person()
    return np.stack([place(ground(height, width), faces[i % len(faces)], x, y, side) for i in range(count)])


def write_film(
    path: Path,
    frames: Sequence[np.ndarray] | np.ndarray,
    *,
    times: Sequence[float] | None = None,
    rate: float = 25,
    codec: str | None = None,
    sound: str | None = None,
    sound_seconds: float | None = None,
    aspect: Fraction = Fraction(1),
    **muxing: str,
) -> Path:
    """Write a film as another program would. times: seconds of each frame. sound: a codec, which hums.
    aspect: width to height of a pixel."""
    codec = codec or ("libvpx" if path.suffix == ".webm" else "libx264")
    with av.open(str(path), "w", options=muxing) as container:
        stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.sample_aspect_ratio = aspect
        stream.options = {"preset": "ultrafast"} if codec == "libx264" else {}
        track = container.add_stream(sound, rate=SOUND_RATE, layout="mono") if sound else None
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = round(1000 * (index / rate if times is None else times[index]))
            picture.time_base = Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if track is not None:
            _hum(container, track, sound_seconds or len(frames) / rate)
    return path


def _hum(container: av.container.OutputContainer, track: av.AudioStream, seconds: float) -> None:
    wave = np.sin(np.arange(round(seconds * SOUND_RATE)) * 2 * np.pi * 440 / SOUND_RATE) * 0.3
    resampler = av.AudioResampler(format=track.codec_context.format, layout="mono", rate=SOUND_RATE)
    for start in range(0, len(wave), 960):
        piece = np.ascontiguousarray(wave[None, start : start + 960], np.float32)
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
        for converted in resampler.resample(frame):
            container.mux(track.encode(converted))
    container.mux(track.encode(None))


def turn(path: Path, quarters: int) -> Path:
    """Let an mp4 be shown turned clockwise by so many quarters, as a phone notes how it was held."""
    data = bytearray(path.read_bytes())
    matrix = data.find(b"tkhd") + 4 + 40
    one = 1 << 16
    cosine, sine = [(one, 0), (0, one), (-one, 0), (0, -one)][quarters % 4]
    data[matrix : matrix + 36] = struct.pack(">9i", cosine, sine, 0, -sine, cosine, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def times_of(path: Path, kind: str = "video") -> list[float]:
    """Return the times of the frames of a film, seen by another reader."""
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(**{kind: 0})]


def packets_of(path: Path, kind: str = "audio") -> list[bytes]:
    """Return the bytes of the packets of a track."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(**{kind: 0}) if packet.size]


def peak_memory() -> int:
    """Give the most memory that this process ever had, in KiB.

    Not `ru_maxrss`, which begins with the memory of the process that started it.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
