"""Who an avatar is: the numbers and colours behind one talking head, hand-made or drawn at random.

Lengths are in half frames (the frame reaches from -1 to 1, y downwards); colours are "#rrggbb".
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, fields

import numpy as np

SKINS = ("#fbe0cf", "#f6cfae", "#eab98f", "#d49a6a", "#b57a4c", "#8f5a37", "#6b4128", "#553221")
HAIRS = ("#1f1a1c", "#3a2620", "#5b3a26", "#8a5a33", "#b98144", "#dcb166", "#a8482c", "#8d8d93", "#e8e4de")
EYES = ("#4a2e1c", "#6d4526", "#5f7a3a", "#3f7f73", "#3d73a8", "#6b7f8f")
FRAMES = ("#2b2b33", "#5a3a28", "#7b2e3b", "#c9a24a")
HAIR = ("hairline", "fringe", "part", "sides", "volume", "back", "bun", "wave")
HAIRCUTS: dict[str, dict[str, float]] = {
    name: dict(zip(HAIR, numbers, strict=True))
    for name, numbers in {
        "crop": (-0.60, 0.05, 0.30, -0.12, 0.07, 0.00, 0.00, 0.000),
        "quiff": (-0.66, 0.10, -0.50, -0.15, 0.13, 0.00, 0.00, 0.000),
        "fringe": (-0.54, 0.14, -0.90, 0.05, 0.09, 0.00, 0.00, 0.000),
        "curls": (-0.66, 0.05, 0.00, 0.00, 0.17, 0.00, 0.00, 0.022),
        "bob": (-0.69, 0.17, -0.35, 0.62, 0.10, 0.50, 0.00, 0.000),
        "long": (-0.66, 0.20, 0.10, 0.75, 0.09, 1.10, 0.00, 0.000),
        "waves": (-0.64, 0.18, 0.30, 0.65, 0.12, 0.85, 0.00, 0.020),
        "bun": (-0.63, 0.08, 0.00, -0.02, 0.06, 0.00, 0.15, 0.000),
        "shaved": (-0.66, 0.02, 0.00, -0.18, 0.02, 0.00, 0.00, 0.000),
    }.items()
}  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """Describe one avatar; the defaults are of an ordinary face.

    width, jaw, chin: half widths of head and jaw, and how far the chin is below the middle of the head.
    eye_*, brow_*, nose, mouth, lips: sizes and places of features; beard, blush, freckles, glasses, stripes:
    strengths 0..1. hairline, fringe, sides: heights on the head, -1 (top) to 1 (chin); part: where it parts,
    -1 to 1; volume, back, bun: how far hair stands out, reaches down behind, and a knot's radius; wave: depth
    of curls. neckline: 0 round to 1 pointed.
    """

    width: float = 0.485
    jaw: float = 0.37
    chin: float = 0.60
    eye_apart: float = 0.205
    eye_size: float = 0.125
    eye_tilt: float = 0.08
    eye_open: float = 1.0
    lashes: float = 0.4
    brow_height: float = 0.20
    brow_thick: float = 0.026
    brow_arch: float = 0.03
    nose: float = 1.0
    mouth: float = 0.165
    lips: float = 0.7
    beard: float = 0.0
    blush: float = 0.4
    freckles: float = 0.0
    glasses: float = 0.0
    hairline: float = -0.52
    fringe: float = 0.08
    part: float = 0.3
    sides: float = -0.12
    volume: float = 0.08
    back: float = 0.0
    bun: float = 0.0
    wave: float = 0.0
    neck: float = 0.2
    neckline: float = 0.0
    stripes: float = 0.0
    skin_colour: str = "#f6cfae"
    hair_colour: str = "#5b3a26"
    eye_colour: str = "#5f7a3a"
    lip_colour: str = "#d97c74"
    shirt_colour: str = "#e8705f"
    collar_colour: str = "#f7efe6"
    frame_colour: str = "#2b2b33"
    sky_colour: str = "#cfe8e4"
    ground_colour: str = "#a9d3cc"

    @classmethod
    def random(cls, rng: np.random.Generator) -> Identity:
        """Draw an identity."""
        names = [f.name for f in fields(cls) if f.name in SPREADS]
        shape = {name: float(rng.uniform(*SPREADS[name])) for name in names}
        cut = HAIRCUTS[str(rng.choice(list(HAIRCUTS)))]
        hair = {name: value * float(rng.uniform(0.9, 1.1)) for name, value in cut.items()}
        if rng.random() < 0.5:
            hair["part"] = -hair["part"]
        skin = str(rng.choice(SKINS))
        some = {
            "beard": (rng.random() < 0.2 and hair["back"] == 0) * float(rng.uniform(0.3, 0.9)),
            "glasses": float(rng.random() < 0.2),
            "freckles": (rng.random() < 0.2) * float(rng.uniform(0.3, 0.8)),
            "stripes": float(rng.random() < 0.25),
            "neckline": float(rng.random() < 0.5) * float(rng.uniform(0.5, 1.0)),
        }
        return cls(**shape, **hair, **some, **_colours(rng, skin))


SPREADS = {
    "width": (0.45, 0.52),
    "jaw": (0.31, 0.41),
    "chin": (0.56, 0.64),
    "eye_apart": (0.19, 0.22),
    "eye_size": (0.112, 0.136),
    "eye_tilt": (-0.05, 0.2),
    "eye_open": (0.85, 1.08),
    "lashes": (0.1, 1.0),
    "brow_height": (0.185, 0.22),
    "brow_thick": (0.018, 0.034),
    "brow_arch": (0.0, 0.05),
    "nose": (0.8, 1.2),
    "mouth": (0.14, 0.19),
    "lips": (0.4, 1.0),
    "blush": (0.1, 0.6),
    "neck": (0.17, 0.23),
}


def _colours(rng: np.random.Generator, skin: str) -> dict[str, str]:
    hue = float(rng.random())
    light = float(rng.uniform(0.62, 0.97))
    cloth = hex_of(float(rng.random()), float(rng.uniform(0.25, 0.75)), float(rng.uniform(0.35, 0.95)))
    white = str(rng.choice(["#f7efe6", "#fdfbf7", cloth]))
    return {
        "skin_colour": skin,
        "hair_colour": str(rng.choice(HAIRS)),
        "eye_colour": str(rng.choice(EYES)),
        "lip_colour": str(rng.choice(["#dc827a", "#d06a6c", "#bf6f62", "#b0555a"])),
        "shirt_colour": cloth,
        "collar_colour": white,
        "frame_colour": str(rng.choice(FRAMES)),
        "sky_colour": hex_of(hue, float(rng.uniform(0.03, 0.30)), light),
        "ground_colour": hex_of(hue, float(rng.uniform(0.12, 0.42)), light * float(rng.uniform(0.75, 0.95))),
    }


def rgb_of(colour: str) -> tuple[float, float, float]:
    """Read a colour such as "#f6cfae": red, green and blue, 0..1."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def hex_of(hue: float, saturation: float, value: float) -> str:
    """Write a colour, each part 0..1, as "#rrggbb"."""
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return f"#{red:02x}{green:02x}{blue:02x}"


CHARACTERS: dict[str, Identity] = {
    "mia": Identity(
        **HAIRCUTS["bob"],
        neck=0.165,
        lips=0.75,
        chin=0.585,
        lashes=0.9,
        blush=0.55,
        freckles=0.5,
        skin_colour="#f8d3b4",
        hair_colour="#8a4a2b",
        eye_colour="#4f8a4b",
        lip_colour="#df7a72",
        shirt_colour="#f2b134",
        collar_colour="#fff6e3",
        sky_colour="#bfe6e0",
        ground_colour="#8fcfc8",
    ),
    "theo": Identity(
        **HAIRCUTS["curls"],
        width=0.49,
        jaw=0.385,
        chin=0.615,
        eye_size=0.118,
        brow_thick=0.03,
        brow_height=0.205,
        nose=1.15,
        mouth=0.175,
        lips=0.8,
        beard=0.9,
        blush=0.25,
        neck=0.225,
        skin_colour="#a86f47",
        hair_colour="#2a1c1a",
        eye_colour="#5a3620",
        lip_colour="#9c4f46",
        shirt_colour="#3f63b5",
        collar_colour="#f4f1ea",
        sky_colour="#ffe0b8",
        ground_colour="#fbc48d",
        neckline=0.8,
    ),
}
