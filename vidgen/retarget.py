"""Retarget a clip onto a character: decode, crop, translate, encode, in constant memory.

    report = retarget(session.translator("NAME"), Path("me.mp4"), Path("character.mp4"))

The picture is translated frame by frame; times, frame rate and sound are those of the source.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from vidgen.errors import VidgenError
from vidgen.faces import Box, FaceFinder, FaceTracker, centre_square, crop, framed, paste
from vidgen.painter import PANELS, Painter, Translator
from vidgen.video_io import ClipWriter, Frame, Source, frame_rate, open_clip

ENDINGS = (".mp4", ".webm")  # written frame by frame and with sound
BATCH = 8  # frames that are translated at once
MAX_PIXELS = 9_000_000  # of a frame of the source: 4K is what phones film, so it is read
MAX_SIDE = 1920  # and scaled down to this, which a face crop does not lose by
MAX_RATE = 120  # frames a second, where the length is limited
MIN_BOX, MAX_BOX = 8, 10_000  # pixels of a box's side
MAX_CONTINUED = 1000  # frames beyond the end
SEARCH_SECONDS = 20.0  # of the beginning, in which the first face must appear
SEARCH_EACH = 10  # frames at the very beginning that are all searched, as a short clip has no more
SEARCH_EVERY = 5  # frames between two searches later
SEARCH_MORE = 4  # searches after the first face, for others beside it
LIVE_SECONDS = 3.0  # over which the rate of a webcam is measured
TITLE = "Synthetic video made with vidgen: not a recording"

Progress = Callable[[int, int | None], None]  # frames done, frames in all where that is known
Cancel = Callable[[], bool]


class Cancelled(VidgenError):  # noqa: N818, as it is no fault
    """Say that the work was stopped on request; no file was written."""

    def __init__(self) -> None:
        super().__init__("Cancelled: nothing was written.")


@dataclass(frozen=True)
class RetargetOptions:
    """Say what to translate and what to show; a wrong value is a VidgenError.

    crop: "auto" follows a face, "none" takes the square in the middle, a Box (pixels of the upright source)
    stays where it is. face: which face to follow, 0 the largest. blend: weight in [0, 1] of the predictor's
    frame against the translated one. paste_back: put the result into the whole frame. panels: pictures side
    by side, of "source", "result", "cycle" (result translated back) and "residual" (what the predictor did
    not foresee). continue_frames: frames that the predictor adds beyond the end. max_seconds: longest source.
    """

    crop: str | Box = "auto"
    face: int = 0
    blend: float = 0.0
    paste_back: bool = False
    panels: tuple[str, ...] = ("result",)
    continue_frames: int = 0
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.crop, str) and self.crop not in ("auto", "none"):
            raise VidgenError(f"crop is {self.crop[:40]!r}: it must be auto, none or a box.")
        if isinstance(self.crop, Box) and not np.isfinite(self.crop).all():
            raise VidgenError("The box must be given by finite numbers: x, y and side.")
        if isinstance(self.crop, Box) and not MIN_BOX <= self.crop.side <= MAX_BOX:
            raise VidgenError(
                f"The box is {self.crop.side:g} pixels wide: draw one of {MIN_BOX} to {MAX_BOX}."
            )
        if self.face < 0:
            raise VidgenError(f"There is no face {self.face + 1}: the largest is face 1.")
        if not 0 <= self.blend <= 1:
            raise VidgenError(f"blend is {self.blend}: it must be between 0 and 1.")
        unknown = [name for name in self.panels if name not in PANELS]
        if unknown or not self.panels:
            raise VidgenError(f"panels must be some of {', '.join(PANELS)}, and not {unknown or 'none'}.")
        if self.paste_back and self.panels != ("result",):
            raise VidgenError("paste_back shows the whole frame: leave the panels at the result alone.")
        if not 0 <= self.continue_frames <= MAX_CONTINUED:
            raise VidgenError(f"continue_frames is {self.continue_frames}: it must be 0 to {MAX_CONTINUED}.")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise VidgenError(f"max_seconds is {self.max_seconds}: it must be more than 0.")


@dataclass(frozen=True)
class RetargetReport:
    """Tell what was written: frames, their rate, the clip's seconds, frames whose crop was held for want of a
    face, whether there is sound, and frames processed a second.
    """

    frames: int
    fps: float
    seconds: float
    misses: int
    sound: bool
    frames_per_second: float


def read_crop(text: str) -> str | Box:
    """Read "auto", "none" or "x,y,w,h" in pixels; a box that is no square becomes the least one around it."""
    if text in ("auto", "none"):
        return text
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError as error:
        raise VidgenError(f"crop is {text[:40]!r}: give auto, none or x,y,w,h in pixels.") from error
    side = max(width, height)
    return Box(x + (width - side) / 2, y + (height - side) / 2, side)


def preview_crop(source: str | Path, face: int = 0) -> tuple[np.ndarray, list[Box]]:
    """Return a frame early in a clip, uint8 [h, w, 3], and the crops around the faces in it, largest first.

    It is the frame from which `retarget` counts the faces; without any the first frame, and no crops. Raises
    VidgenError if there are faces, but not so many that number `face` is among them.
    """
    frame, faces = _first_faces(open_clip(source, MAX_PIXELS), lambda: False)
    if faces:
        _check_face(source, face, faces)
    return frame, [framed(box) for box in faces]


def retarget(
    translator: Translator,
    source: str | Path,
    target: str | Path,
    options: RetargetOptions | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> RetargetReport:
    """Translate a clip and write it as an mp4 or webm, which appears whole or not at all.

    progress is told the frames done and in all; cancelled is asked before each frame, and raises Cancelled.
    Raises VidgenError for a source that cannot be read, is too large or too long, or shows no face where one
    is to be followed.
    """
    options, cancelled = options or RetargetOptions(), cancelled or (lambda: False)
    _check_translator(translator, options)
    target = _check_target(source, target)
    clip = open_clip(source, MAX_PIXELS, MAX_SIDE)
    _check_seconds(clip, clip.seconds or 0.0, options)
    return _Run(translator, clip, target, options, progress or (lambda *_: None), cancelled).report()


class _Run:
    """One clip on its way."""

    def __init__(
        self,
        translator: Translator,
        clip: Source,
        target: Path,
        options: RetargetOptions,
        progress: Progress,
        cancelled: Cancel,
    ) -> None:
        self.clip, self.target, self.options = clip, target, options
        self.progress, self.cancelled = progress, cancelled
        self.painter = Painter(translator, options.blend, options.panels)
        self.size = translator.size
        self.count = self.misses = 0
        self.first = self.last = 0.0

    def report(self) -> RetargetReport:
        begin = time.perf_counter()
        with ExitStack() as exits:
            sound = self.clip.sound()
            if sound:
                exits.enter_context(closing(sound))
                sound.max_seconds = self.options.max_seconds or math.inf
            place = self._placing()
            frames = exits.enter_context(closing(self._frames()))
            head = list(islice(frames, BATCH))
            rate = frame_rate(len(head), head[-1].seconds - head[0].seconds, self.clip.fps)
            writer = ClipWriter(self.target, min(rate, 2 * MAX_RATE), sound=sound, title=TITLE)
            exits.enter_context(writer)
            while head:
                self._write(writer, head, [place(frame) for frame in head])
                head = list(islice(frames, BATCH))
            fps = frame_rate(self.count, self.last - self.first, self.clip.fps)
            self._continue(writer, fps)
        seconds, spent = self.last - self.first + 1 / fps, time.perf_counter() - begin
        return RetargetReport(self.count, fps, seconds, self.misses, sound is not None, self.count / spent)

    def _frames(self) -> Iterator[Frame]:
        for index, frame in enumerate(self.clip):
            if self.cancelled():
                raise Cancelled
            _check_seconds(self.clip, frame.seconds, self.options)
            if self.options.max_seconds and index >= self.options.max_seconds * MAX_RATE:
                raise VidgenError(f"{self.clip.path} has over {MAX_RATE} frames a second: convert it first.")
            self.first = frame.seconds if index == 0 else self.first
            yield frame

    def _placing(self) -> Callable[[Frame], Box]:
        """Return what tells the crop of each frame, one after the other."""
        if self.options.crop == "none":
            return lambda frame: centre_square(*frame.pixels.shape[:2])
        if isinstance(self.options.crop, Box):
            return self._fixed
        tracker = self._tracker()

        def follow(frame: Frame) -> Box:
            box = tracker.step(frame.pixels)
            self.misses += tracker.held
            return box

        return follow

    def _fixed(self, frame: Frame) -> Box:
        box, (height, width) = self.options.crop, frame.pixels.shape[:2]
        box = Box(*(side * frame.scale for side in box))
        if not (-box.side < box.x < width and -box.side < box.y < height):
            raise VidgenError(
                f"The box at {self.options.crop.x:g}, {self.options.crop.y:g} lies outside of the picture: "
                f"it is {width / frame.scale:.0f} x {height / frame.scale:.0f} pixels."
            )
        return box

    def _tracker(self) -> FaceTracker:
        _, faces = _first_faces(self.clip, self.cancelled)
        if not faces:
            raise VidgenError(
                f"No face was found in the first {SEARCH_SECONDS:g} seconds of {self.clip.path.name}: mark "
                "it with a box, or take the whole picture (crop none)."
            )
        _check_face(self.clip.path, self.options.face, faces)
        start = faces.pop(self.options.face)
        return FaceTracker(start=start, others=faces)

    def _write(self, writer: ClipWriter, frames: list[Frame], boxes: list[Box]) -> None:
        crops = np.stack(
            [crop(frame.pixels, box, self.size) for frame, box in zip(frames, boxes, strict=True)]
        )
        panels = self.painter.paint(crops)
        for index, (frame, box) in enumerate(zip(frames, boxes, strict=True)):
            self._add(writer, {name: shown[index] for name, shown in panels.items()}, frame, box)
        total = self.clip.seconds and self.clip.fps and round(self.clip.seconds * self.clip.fps)
        self.progress(self.count, max(self.count, total) if total else None)

    def _add(self, writer: ClipWriter, panels: dict[str, np.ndarray], frame: Frame, box: Box) -> None:
        if self.options.paste_back:
            picture = paste(frame.pixels, box, panels["result"])
        else:
            picture = np.concatenate([panels[name] for name in self.options.panels], axis=1)
        writer.add(picture, frame.seconds)
        self.count, self.last = self.count + 1, frame.seconds
        self._end = frame, box, panels

    def _continue(self, writer: ClipWriter, fps: float) -> None:
        frame, box, panels = self._end
        for _ in range(self.options.continue_frames):
            if self.cancelled():
                raise Cancelled
            later = Frame(frame.pixels, self._end[0].seconds + 1 / fps, frame.scale)
            self._add(writer, self.painter.roll(panels.get("source")), later, box)


class LiveRetarget:
    """Translate the frames of a webcam as they come; one for each visitor. crop is "auto" or "none"."""

    def __init__(self, translator: Translator, blend: float = 0.0, crop: str = "auto") -> None:
        self.options = RetargetOptions(crop=crop, blend=blend)
        self.painter, self.tracker = Painter(translator, blend), FaceTracker()
        self._ends: deque[float] = deque(maxlen=60)

    @property
    def fps(self) -> float:
        """Frames finished a second, over the last seconds; 0 until there are two."""
        ends = [end for end in self._ends if end > self._ends[-1] - LIVE_SECONDS]
        return (len(ends) - 1) / max(1e-6, ends[-1] - ends[0]) if len(ends) > 1 else 0.0

    def step(self, frame: np.ndarray) -> tuple[np.ndarray | None, Box | None]:
        """Return the result, uint8 [s, s, 3], and the crop in `frame`; None, None before the first face."""
        whole = self.options.crop == "none"
        box = centre_square(*frame.shape[:2]) if whole else self.tracker.step(frame)
        if box is None:
            return None, None
        result = self.painter.paint(crop(frame, box, self.painter.translator.size)[None])["result"][0]
        self._ends.append(time.perf_counter())
        return result, box


def _first_faces(clip: Source, cancelled: Cancel) -> tuple[np.ndarray, list[Box]]:
    """Return the frame with most faces, among the first with any and some that follow, and the faces."""
    finder, best, faces, left = FaceFinder(), None, [], SEARCH_MORE + 1
    for index, frame in enumerate(clip):
        if cancelled():
            raise Cancelled
        if left == 0 or (not faces and frame.seconds > SEARCH_SECONDS):
            break
        if index % SEARCH_EVERY and (faces or index > SEARCH_EACH):
            continue
        found = finder.find(frame.pixels)
        if best is None or len(found) > len(faces):
            best, faces = frame.pixels, found
        left -= bool(faces)
    return best, faces


def _check_face(source: str | Path, face: int, faces: list[Box]) -> None:
    if face >= len(faces):
        raise VidgenError(
            f"{Path(source).name} shows {len(faces)} face{'s' * (len(faces) > 1)}, so there is no face "
            f"{face + 1}: choose another."
        )


def _check_translator(translator: Translator, options: RetargetOptions) -> None:
    if "cycle" in options.panels and not translator.reversible:
        raise VidgenError("This model translates one way only: leave the cycle panel out.")


def _check_target(source: str | Path, target: str | Path) -> Path:
    target = Path(target)
    if target.suffix.lower() not in ENDINGS:
        raise VidgenError(f"{target} cannot be written: its name must end in {' or '.join(ENDINGS)}.")
    if target.exists() and Path(source).exists() and target.samefile(source):
        raise VidgenError(f"{target} is the source itself: give another name.")
    return target


def _check_seconds(clip: Source, seconds: float, options: RetargetOptions) -> None:
    if options.max_seconds and seconds > options.max_seconds:
        raise VidgenError(
            f"{clip.path.name} is over {options.max_seconds:g} seconds long, which is the most that is "
            "translated here: cut it."
        )
