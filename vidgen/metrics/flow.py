"""Motion of a face measured in the picture by dense optical flow, with no network: real or drawn alike.

Frames are square crops, uint8 [t, s, s, c], framed as the translators' are: the face in the middle. Flow:
Farneback 2003, opencv's. Flat areas say nothing about motion, so pixels weigh by the contrast around them.
"""

from __future__ import annotations

import cv2
import numpy as np

# Boxes (left, top, right, bottom) as shares of the frame's side.
HEAD = (0.28, 0.20, 0.72, 0.62)
EYES = (0.32, 0.38, 0.68, 0.48)
MOUTH = (0.34, 0.56, 0.66, 0.84)
FACE = (0.24, 0.18, 0.76, 0.86)
GRID = 8  # cells a side that dense flow is averaged over


def flow(clip: np.ndarray) -> np.ndarray:
    """Measure optical flow from each frame to the next: float32 [t - 1, h, w, 2], x and y in px."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip]
    window = max(clip.shape[1] // 10, 5)
    pairs = zip(grey, grey[1:], strict=False)
    fields = [cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, window, 3, 5, 1.1, 0) for a, b in pairs]
    return np.stack(fields) if fields else np.zeros((0, *clip.shape[1:3], 2), np.float32)


def contrast(clip: np.ndarray) -> np.ndarray:
    """Measure how much there is to see around each pixel of each frame: float32 [t, h, w]."""
    weights = []
    for frame in clip:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
        edges = cv2.Sobel(grey, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(grey, cv2.CV_32F, 0, 1) ** 2
        weights.append(cv2.GaussianBlur(np.minimum(edges, 1e4), (0, 0), frame.shape[0] / 64))
    return np.stack(weights) if weights else np.zeros(clip.shape[:3], np.float32)


def motion_courses(clip: np.ndarray) -> dict[str, np.ndarray]:
    """Measure how a face moves from frame to frame: name -> float64 [t - 1].

    head_x, head_y: its shift (a turn or a nod moves it like a shift), in frame sides; roll: its rotation,
    in radians; mouth: how much the mouth's surroundings stretch upright, beyond what the head does; eyes: the
    loss of contrast where the eyes are, as lids close.
    """
    fields, weights = flow(clip) / clip.shape[1], contrast(clip[:-1])
    head = _affine(fields, weights, HEAD)
    mouth = _affine(fields, weights, MOUTH)
    rows, columns = _slices(EYES, clip.shape[1])
    return {
        "head_x": head[:, 0, 0],
        "head_y": head[:, 0, 1],
        "roll": (head[:, 1, 1] - head[:, 2, 0]) / 2,
        "mouth": mouth[:, 2, 1] - head[:, 2, 1],
        "eyes": -np.diff(clip[:, rows, columns].mean(-1).std((1, 2))),
    }


def flow_cells(clip: np.ndarray) -> np.ndarray:
    """Average the flow of a clip over the cells of a grid on the face: float32 [(t - 1) cells 2], one row."""
    rows, columns = _slices(FACE, clip.shape[1])
    cells = [
        cv2.resize(field[rows, columns], (GRID, GRID), interpolation=cv2.INTER_AREA) for field in flow(clip)
    ]
    return np.stack(cells).ravel() if cells else np.zeros(0, np.float32)


def _affine(fields: np.ndarray, weights: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
    """Fit flow = constant + by x + by y in a box by least squares: [t, 3, 2], around the box's middle."""
    rows, columns = _slices(box, fields.shape[1])
    y, x = np.mgrid[rows, columns] / fields.shape[1]
    basis = np.stack([np.ones_like(x), x - x.mean(), y - y.mean()], -1).reshape(-1, 3)
    found = []
    for field, weight in zip(fields[:, rows, columns], weights[:, rows, columns], strict=True):
        w = weight.reshape(-1, 1) + 1e-3 * weight.mean() + 1e-9
        found.append(np.linalg.solve(basis.T @ (w * basis), basis.T @ (w * field.reshape(-1, 2))))
    return np.stack(found) if found else np.zeros((0, 3, 2))


def _slices(box: tuple[float, ...], size: int) -> tuple[slice, slice]:
    left, top, right, bottom = (round(edge * size) for edge in box)
    return slice(top, bottom), slice(left, right)
