"""Read the factors of shape-motion clips off the picture: one bright shape on black. No network, numpy only.

Clips are uint8 [n, t, h, w, c]; positions are in px, a pixel's own centre at +0.5, x first.
"""

from __future__ import annotations

import numpy as np

RIM = 0.5  # a pixel belongs to the shape when it is at least half as bright as the brightest of the frame
BLACK = 16  # a frame with no pixel above this level shows no shape
FULL = 0.89  # a disc fills 79% of the square around it, a square all of it


def shape_masks(clips: np.ndarray) -> np.ndarray:
    """Mark the shape's pixels: bool [n, t, h, w]."""
    bright = clips.max(-1)
    peak = bright.max((-2, -1), keepdims=True)
    return (bright >= RIM * peak) & (peak > BLACK)


def shape_colours(clips: np.ndarray) -> np.ndarray:
    """Average the colour over the shape's pixels of each frame: [n, t, 3] in 0..255; black where none is.

    The outermost pixel of the shape is left out where anything is left without it: it is mixed with the black
    around it as the shape lies between pixels, and would report movement as a change of colour.
    """
    mask = shape_masks(clips)
    inner = _erode(mask)
    mask = np.where(inner.any((-2, -1), keepdims=True), inner, mask)
    area = mask.sum((-2, -1))[..., None]
    return np.einsum("nthwc,nthw->ntc", clips.astype(np.float32), mask.astype(np.float32)) / np.maximum(
        area, 1
    )


def _erode(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(1, 1), (1, 1)])
    sides = (padded[..., :-2, 1:-1], padded[..., 2:, 1:-1], padded[..., 1:-1, :-2], padded[..., 1:-1, 2:])
    return np.logical_and.reduce((mask, *sides))


def shape_fill(clips: np.ndarray) -> np.ndarray:
    """Measure how much of the rectangle around it the shape fills, [n, t]: all for a square, 79% for a disc,
    little for specks all over the frame; 0 where there is none.
    """
    mask = shape_masks(clips)
    box = mask.any(-1).sum(-1) * mask.any(-2).sum(-1)
    return mask.sum((-2, -1)) / np.maximum(box, 1)


def shape_content(clips: np.ndarray) -> dict[str, np.ndarray]:
    """Read what is in each clip: colour [n, 3], size [n, 1] px of side, form int64 [n] (0 disc, 1 square)."""
    area = shape_masks(clips).sum((-2, -1)).astype(np.float64)
    filled = np.median(shape_fill(clips), axis=1)
    return {
        "colour": shape_colours(clips).mean(1),
        "size": np.sqrt(area).mean(1, keepdims=True),
        "form": (filled >= FULL).astype(np.int64),
    }


def shape_motion(clips: np.ndarray) -> dict[str, np.ndarray]:
    """Read how it moves: trajectory [n, t, 2] of the shape's centre; the frame's where there is none."""
    mask = shape_masks(clips).astype(np.float32)
    area = mask.sum((-2, -1))
    height, width = mask.shape[-2:]
    x, y = mask.sum(-2) @ (np.arange(width) + 0.5), mask.sum(-1) @ (np.arange(height) + 0.5)
    middle = np.array([width, height]) / 2
    centre = np.stack([x, y], -1) / np.maximum(area, 1)[..., None]
    return {"trajectory": np.where(area[..., None] > 0, centre, middle)}


def shape_axis(clips: np.ndarray) -> np.ndarray:
    """Tell along which axis each shape goes farther: int64 [n], 0 vertical, 1 horizontal, -1 nowhere."""
    reach = np.ptp(shape_motion(clips)["trajectory"], axis=1)
    return np.where(reach.max(1) < 1, -1, (reach[:, 0] > reach[:, 1]).astype(np.int64))
