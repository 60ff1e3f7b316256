"""Colours for numbers laid over a clip: where each motion style acts, as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from einops import rearrange, repeat
from PIL import Image, ImageDraw, ImageFont

from vidgen.video_io import tile

# Viridis (Smith and van der Walt, 2015, CC0) at equal steps: equal steps look equal, in grey too.
VIRIDIS = np.array(
    [
        (68, 1, 84),
        (72, 40, 120),
        (62, 74, 137),
        (49, 104, 142),
        (38, 130, 142),
        (31, 158, 137),
        (53, 183, 121),
        (109, 205, 89),
        (180, 222, 44),
        (253, 231, 37),
    ]
)
SHARE = 0.4, 0.9  # of the colour in an overlay, from no heat to most; the rest is the picture, in grey
DIM = 0.7  # of the grey: a white picture must not look hot
GREY = np.array([0.299, 0.587, 0.114])  # of red, green and blue (BT.601)
LETTERS = 12  # height of a label, in pixels


def colours(heat: np.ndarray) -> np.ndarray:
    """Turn numbers in [0, 1], of any shape, into levels: uint8 [..., 3], dark blue to yellow."""
    place = np.linspace(0, 1, len(VIRIDIS))
    return np.stack([np.interp(heat, place, channel) for channel in VIRIDIS.T], -1).round().astype(np.uint8)


def overlaid(clip: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay each map over the grey clip: uint8 [t, h, w, c], heat [t, k, h, w] in [0, 1] -> uint8 [k, t, h, w,
    3].
    """
    weights = GREY if clip.shape[-1] == 3 else np.ones(1)
    grey = rearrange(DIM * clip @ weights, "t h w -> t h w 1")
    maps = []
    for style in range(heat.shape[1]):
        share = np.interp(heat[:, style], (0, 1), SHARE)[..., None]
        maps.append((share * colours(heat[:, style]) + (1 - share) * grey).round().astype(np.uint8))
    return np.stack(maps)


def with_overlays(clip: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Put the clip before its overlays, in colours up to its strongest heat: uint8 [t, h, w, c], heat [t, k,
    h, w], not negative -> uint8 [1 + k, t, h, w, 3].
    """
    coloured = np.broadcast_to(clip, (*clip.shape[:3], 3))
    return np.concatenate([coloured[None], overlaid(clip, heat / max(heat.max(), 1e-9))])


def labelled(clips: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Lay clips out as one film, in as many columns as rows or one more, each under its label: uint8 [n, t,
    h, w, 3] -> [t, H, W, 3], white between.
    """
    heads = np.stack([_label(text, clips.shape[3]) for text in labels])
    cells = np.concatenate([repeat(heads, "n h w c -> n t h w c", t=clips.shape[1]), clips], 2)
    columns = math.ceil(math.sqrt(len(cells)))
    cells = np.pad(cells, [(0, -len(cells) % columns)] + [(0, 0)] * 4, constant_values=255)
    return tile(rearrange(cells, "(rows columns) ... -> rows columns ...", columns=columns))


def _label(text: str, width: int) -> np.ndarray:
    """Write dark on white: uint8 [LETTERS, width, 3]."""
    image = Image.new("RGB", (width, LETTERS), "white")
    font = ImageFont.load_default(LETTERS - 2)
    ImageDraw.Draw(image).text((1, LETTERS // 2), text, "black", font, anchor="lm")
    return np.array(image)
