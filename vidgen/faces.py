"""Find, follow, crop and paste back a face.

    tracker = FaceTracker()
    box = tracker.step(frame)                 # None until a face has been seen
    small = crop(frame, box, 128)             # framed as the translators' training faces are
    whole = paste(frame, box, small)

Frames are uint8 [h, w, 3] RGB and upright. Boxes are in pixels of the frame they were found in.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

# How a face that the cascade finds lies in a training crop: `python -m train.framing FOLDER` measures it.
FACE_SHARE = 0.61  # side of the face, as a share of the crop's
FACE_CENTRE = (0.50, 0.49)  # centre of the face, as shares of the crop from its left and top

CASCADE = "haarcascade_frontalface_alt2.xml"
SEARCH_SIDE = 320  # pixels that the longer side of a frame is scaled to for the search
SMALLEST = 0.12  # smallest face, as a share of the frame's shorter side
SCALE_STEP, NEIGHBOURS = 1.2, 3  # of the cascade
EVERY = 5  # frames between two searches
PATIENCE = 3  # searches without the face before another one may take its place
MOST_OTHERS = 8  # faces that are remembered as not the one to follow
OVERLAP = 0.25  # intersection over union that makes two boxes one face
SLACK = 0.06  # a face may move so far in its crop before the crop follows, as a share of the crop's side
SCALE_SLACK = 0.12  # and grow or shrink so much
FOLLOW = 0.15  # share of the way beyond the slack that the crop makes up for in a frame
FEATHER = 0.12  # width of the soft edge of a pasted face, as a share of its side


class Box(NamedTuple):
    """A square in pixels of a frame, by its left upper corner; it may reach beyond the frame."""

    x: float
    y: float
    side: float


class FaceFinder:
    """Find frontal faces, upright to about 20 degrees, with OpenCV's cascade; may be shared by threads."""

    def __init__(self) -> None:
        self._cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / CASCADE))
        self._lock = threading.Lock()

    def find(self, frame: np.ndarray) -> list[Box]:
        """Return the boxes of the faces themselves (not the wider crops), the largest first."""
        gray = cv2.cvtColor(_shrunk(frame), cv2.COLOR_RGB2GRAY)
        scale = frame.shape[1] / gray.shape[1]
        smallest = max(20, round(SMALLEST * min(gray.shape)))
        with self._lock:
            found = self._cascade.detectMultiScale(gray, SCALE_STEP, NEIGHBOURS, minSize=(smallest, smallest))
        boxes = [Box(float(x * scale), float(y * scale), float(side * scale)) for x, y, side, _ in found]
        return sorted(boxes, key=lambda box: (-box.side, box.x))


class FaceTracker:
    """Follow one face from frame to frame and frame it for a translator.

    The face is searched in every fifth frame. The crop rests while the face stays near its middle, as the
    training crops did, and follows smoothly when it does not. Where the face is not found the last crop
    is held; after three searches a face that no one else had takes its place.

    start: the face to follow; None for the largest that is found first. others: faces not to follow.
    `held` tells whether the last search missed the face.
    """

    def __init__(
        self, finder: FaceFinder | None = None, start: Box | None = None, others: Sequence[Box] = ()
    ) -> None:
        self.finder = finder or FaceFinder()
        self.held = True
        self._others = list(others)
        self._seen: deque[Box] = deque(maxlen=3)
        self._misses = self._steps = 0
        self._crop: Box | None = None
        if start is not None:
            self._jump(start)

    def step(self, frame: np.ndarray) -> Box | None:
        """Return the crop for the next frame, or None as long as no face has been seen."""
        if self._steps % EVERY == 0:
            self._look(frame)
        self._steps += 1
        if self._crop is not None:
            self._crop = _followed(self._crop, framed(_median(self._seen)))
        return self._crop

    def _look(self, frame: np.ndarray) -> None:
        found = self.finder.find(frame)
        face = _take(found, self._seen[-1]) if self._seen else None
        self._others = [_take(found, other) or other for other in self._others]
        self._misses = 0 if face else self._misses + 1
        if face:
            self._others = (self._others + found)[-MOST_OTHERS:]
            self._seen.append(face)
        elif found and (not self._seen or self._misses >= PATIENCE):
            face = found[0]
            self._others = found[1:]
            self._jump(face)
        self.held = face is None

    def _jump(self, face: Box) -> None:
        self._seen.clear()
        self._seen.append(face)
        self._misses = 0
        self._crop = framed(face)


def framed(face: Box) -> Box:
    """Widen the box of a face to the crop in which the translators expect it."""
    side = face.side / FACE_SHARE
    x = face.x + face.side / 2 - FACE_CENTRE[0] * side
    y = face.y + face.side / 2 - FACE_CENTRE[1] * side
    return Box(x, y, side)


def centre_square(height: int, width: int) -> Box:
    """Return the largest square in the middle of a frame."""
    side = min(height, width)
    return Box((width - side) / 2, (height - side) / 2, side)


def crop(frame: np.ndarray, box: Box, size: int) -> np.ndarray:
    """Cut a box out of a frame and scale it: uint8 [size, size, 3]. Beyond the frame its edge is repeated."""
    step = max(1, int(box.side / size))  # averaged first, as a warp alone would skip pixels
    height, width = frame.shape[:2]
    left, right = _span(box.x, box.side, width, step)
    top, bottom = _span(box.y, box.side, height, step)
    part = frame[top:bottom, left:right]
    if step > 1:
        shape = max(1, (right - left) // step), max(1, (bottom - top) // step)
        part = cv2.resize(part[: shape[1] * step, : shape[0] * step], shape, interpolation=cv2.INTER_AREA)
    scale = size * step / box.side
    # Pixel centres are at halves: the middle of the box falls on the middle of the crop.
    shift_x = ((left - box.x) / step + 0.5) * scale - 0.5
    shift_y = ((top - box.y) / step + 0.5) * scale - 0.5
    matrix = np.array([[scale, 0, shift_x], [0, scale, shift_y]])
    return cv2.warpAffine(part, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def paste(frame: np.ndarray, box: Box, face: np.ndarray) -> np.ndarray:
    """Return a copy of a frame with a square picture, uint8 [s, s, 3], put into a box with a soft edge."""
    height, width = frame.shape[:2]
    left, right = _span(box.x, box.side, width, 1)
    top, bottom = _span(box.y, box.side, height, 1)
    scale = box.side / len(face)
    shift = (box.x - left + scale / 2 - 0.5, box.y - top + scale / 2 - 0.5)
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    shape = (right - left, bottom - top)
    picture = cv2.warpAffine(face, matrix, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(_soft_square(len(face)), matrix, shape, flags=cv2.INTER_LINEAR)[..., None]
    pasted = frame.copy()
    part = pasted[top:bottom, left:right]
    part[:] = np.rint(part + share * (picture.astype(np.float32) - part)).astype(np.uint8)
    return pasted


def _soft_square(size: int) -> np.ndarray:
    """Return a mask [size, size]: 1 within, falling smoothly to 0 at the edge."""
    edge = (np.minimum(np.arange(size), np.arange(size)[::-1]) / (FEATHER * size)).clip(0, 1)
    ramp = edge * edge * (3 - 2 * edge)
    return np.outer(ramp, ramp).astype(np.float32)


def _span(start: float, side: float, end: int, step: int) -> tuple[int, int]:
    """Return the pixels of an axis that a box needs, within the frame, on a grid of `step`, never none."""
    first = int(np.clip(np.floor(start) - step, 0, end - 1)) // step * step
    last = int(np.clip(np.ceil(start + side) + step, first + 1, end))
    return first, last


def _shrunk(frame: np.ndarray) -> np.ndarray:
    scale = SEARCH_SIDE / max(frame.shape[:2])
    if scale >= 1:
        return frame
    shape = [max(1, round(side * scale)) for side in frame.shape[1::-1]]
    return cv2.resize(frame, shape, interpolation=cv2.INTER_AREA)


def _take(found: list[Box], box: Box) -> Box | None:
    """Remove and return the box that overlaps most with a given one, if any does enough."""
    best = max(found, key=lambda other: overlap(box, other), default=None)
    if best is None or overlap(box, best) < OVERLAP:
        return None
    found.remove(best)
    return best


def overlap(one: Box, other: Box) -> float:
    """Return the intersection of two boxes over their union."""
    width = min(one.x + one.side, other.x + other.side) - max(one.x, other.x)
    height = min(one.y + one.side, other.y + other.side) - max(one.y, other.y)
    both = max(0.0, width) * max(0.0, height)
    return both / (one.side**2 + other.side**2 - both)


def _median(boxes: Sequence[Box]) -> Box:
    """Return the box of the median centre and side."""
    x, y, side = np.median([(box.x + box.side / 2, box.y + box.side / 2, box.side) for box in boxes], axis=0)
    return Box(x - side / 2, y - side / 2, side)


def _followed(box: Box, aim: Box) -> Box:
    """Move a crop towards another by a part of the way that goes beyond the slack."""
    grown = _beyond(float(np.log(aim.side / box.side)), SCALE_SLACK)
    side = box.side * float(np.exp(FOLLOW * grown))
    slack = SLACK * box.side
    x = box.x + box.side / 2 + FOLLOW * _beyond(aim.x + aim.side / 2 - box.x - box.side / 2, slack)
    y = box.y + box.side / 2 + FOLLOW * _beyond(aim.y + aim.side / 2 - box.y - box.side / 2, slack)
    return Box(x - side / 2, y - side / 2, side)


def _beyond(way: float, slack: float) -> float:
    return way - float(np.clip(way, -slack, slack))
