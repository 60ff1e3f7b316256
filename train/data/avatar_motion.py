"""How avatars move: the factors of a frame and their random time courses.

Angles are in degrees: yaw turns to the right of the picture, pitch looks down, roll tilts to the right.
Gaze, brows and mouth are strengths; shifts are in half frames. What a head of a video call does: it looks
ahead most of the time, talks in bursts, blinks every few seconds, nods, and now and then shows a feeling.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# The least and the most of each factor.
RANGES: dict[str, tuple[float, float]] = {
    "yaw": (-30.0, 30.0),
    "pitch": (-14.0, 14.0),
    "roll": (-12.0, 12.0),
    "gaze_x": (-1.0, 1.0),
    "gaze_y": (-1.0, 1.0),
    "blink": (0.0, 1.0),
    "brow": (-1.0, 1.0),
    "frown": (-1.0, 1.0),
    "mouth_open": (0.0, 1.0),
    "mouth_wide": (-1.0, 1.0),
    "smile": (-1.0, 1.0),
    "shift_x": (-0.1, 0.1),
    "shift_y": (-0.1, 0.1),
    "scale": (0.9, 1.1),
}
FACTORS = tuple(RANGES)
# The six basic expressions (Ekman), as what they add to the factors at full strength.
EXPRESSIONS: dict[str, dict[str, float]] = {
    "happiness": {"smile": 1.0, "mouth_open": 0.3, "mouth_wide": 0.4, "brow": 0.2, "blink": 0.12},
    "sadness": {"smile": -0.8, "frown": -0.9, "brow": 0.1, "gaze_y": 0.5, "pitch": 4.0, "blink": 0.2},
    "anger": {"frown": 1.0, "brow": -0.5, "smile": -0.5, "mouth_wide": -0.2, "pitch": 3.0},
    "surprise": {"brow": 1.0, "mouth_open": 0.8, "mouth_wide": -0.5, "blink": -0.3, "pitch": -3.0},
    "fear": {"brow": 0.8, "frown": -0.8, "mouth_open": 0.35, "mouth_wide": 0.5, "smile": -0.3, "blink": -0.3},
    "disgust": {
        "frown": 0.7,
        "smile": -0.6,
        "mouth_wide": 0.3,
        "mouth_open": 0.12,
        "blink": 0.35,
        "roll": 3.0,
    },
}


def scaled(factors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scale factors from `RANGES` to -1..1."""
    middle = {name: (low + high) / 2 for name, (low, high) in RANGES.items()}
    return {name: (factors[name] - middle[name]) / (RANGES[name][1] - middle[name]) for name in FACTORS}


def random_motion(rng: np.random.Generator, frames: int, fps: float = 25.0) -> dict[str, np.ndarray]:
    """Draw the time courses of all factors, float32 [t] each, within `RANGES`."""
    time = np.arange(frames) / fps
    gaze = _glances(rng, time)
    talk = _talk(rng, time)
    course = {
        "yaw": rng.normal(0, 6) + 8.0 * _drift(rng, time, 2.5) + 1.5 * _drift(rng, time, 0.5),
        "pitch": rng.normal(0, 2)
        + 3.0 * _drift(rng, time, 2.0)
        + _nods(rng, time)
        + 0.8 * _drift(rng, time, 0.4),
        "roll": rng.normal(0, 2) + 3.0 * _drift(rng, time, 2.5) + 0.5 * _drift(rng, time, 0.5),
        "gaze_x": gaze[0],
        "gaze_y": gaze[1],
        "blink": 0.06 * _drift(rng, time, 3.0),
        "brow": 0.2 * _drift(rng, time, 1.0),
        "frown": 0.15 * _drift(rng, time, 1.5),
        "mouth_open": talk[0],
        "mouth_wide": talk[1],
        "smile": rng.uniform(0.0, 0.35) + 0.15 * _drift(rng, time, 2.0),
        "shift_x": rng.normal(0, 0.02) + 0.02 * _drift(rng, time, 2.5),
        "shift_y": rng.normal(0, 0.02) + 0.015 * _drift(rng, time, 2.5),
        "scale": 1 + rng.normal(0, 0.03) + 0.012 * _drift(rng, time, 3.0),
    }
    course["gaze_x"] = course["gaze_x"] - 0.02 * course["yaw"]  # eyes stay with the camera
    for factor, value in _feelings(rng, time).items():
        course[factor] = course[factor] + value
    course["blink"] = np.maximum(course["blink"], _blinks(rng, time))
    return {name: np.clip(course[name], *RANGES[name]).astype(np.float32) for name in FACTORS}


def _drift(rng: np.random.Generator, time: np.ndarray, period: float) -> np.ndarray:
    """Wander smoothly about zero with unit spread: sines of random phase, `period` seconds and slower."""
    rates = rng.uniform(0.25, 1.0, 6) / period
    phases = rng.uniform(0, 2 * np.pi, 6)
    return np.sin(2 * np.pi * rates * time[:, None] + phases).sum(1) / np.sqrt(3)


def _moments(rng: np.random.Generator, time: np.ndarray, gap: float, least: float) -> np.ndarray:
    """Draw when something happens: `gap` seconds apart on average, never less than `least`."""
    end = float(time[-1])
    waits = least + rng.exponential(gap - least, 2 + int(3 * (end + gap) / gap))
    moments = np.cumsum(waits) - gap * rng.random() - least
    return moments[moments < end]


def _ramp(time: np.ndarray, start: float, length: float) -> np.ndarray:
    """Rise smoothly from 0 at `start` to 1, `length` seconds later."""
    part = np.clip((time - start) / length, 0, 1)
    return part * part * (3 - 2 * part)


def _blinks(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Close the lids in 0.1 s, hold them for a frame or so, open them in 0.16 s; every 3 s."""
    lids = np.zeros(len(time))
    for start in _moments(rng, time, 3.0, 0.6):
        close = _ramp(time, start, 0.10) - _ramp(time, start + 0.14, 0.16)
        lids = np.maximum(lids, close)
    return lids


def _glances(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Look ahead, now and then quickly somewhere else and back: [2, t]."""
    gaze = np.zeros((2, len(time)))
    now = np.zeros(2)
    for start in _moments(rng, time, 1.6, 0.4):
        then = rng.normal(0, 0.12, 2) if rng.random() < 0.6 else rng.normal(0, (0.6, 0.35))
        gaze += (then - now)[:, None] * _ramp(time, start, 0.06)
        now = then
    return gaze


def _talk(rng: np.random.Generator, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Open and spread the mouth in syllables of 0.1 to 0.3 s, in bursts with pauses between."""
    opened, wide = np.zeros(len(time)), np.zeros(len(time))
    eager = rng.uniform(0.5, 1.2)
    speaking, now, end = rng.random() < 0.75, 0.0, float(time[-1]) + 0.5
    while now < end:
        until = now + rng.uniform(0.8, 4.0) if speaking else now + rng.uniform(0.4, 2.0)
        while speaking and now < until:
            length = rng.uniform(0.12, 0.32)
            bump = np.exp(-(((time - now - length / 2) / (0.36 * length)) ** 2))
            opened += eager * rng.beta(1.6, 2.2) * bump
            wide += 1.1 * rng.uniform(-0.8, 0.7) * bump
            now += length
        now, speaking = until, not speaking
    return opened, wide


def _nods(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Dip the head once to three times in a row, every six seconds: pitch in degrees."""
    pitch = np.zeros(len(time))
    for start in _moments(rng, time, 6.0, 2.0):
        count, period, depth = int(rng.integers(1, 4)), rng.uniform(0.35, 0.6), rng.uniform(2, 7)
        part = np.clip((time - start) / period, 0, count)
        pitch += depth * (1 - np.cos(2 * np.pi * part)) / 2
    return pitch


def _feelings(rng: np.random.Generator, time: np.ndarray) -> dict[str, np.ndarray]:
    """Show a basic expression with onset, apex and release, every five seconds: what each factor gains."""
    gains: dict[str, np.ndarray] = {}
    for start in _moments(rng, time, 5.0, 2.5):
        name = str(rng.choice([*EXPRESSIONS, *["happiness"] * 4, "surprise"]))  # people smile most
        onset, apex, release = rng.uniform(0.2, 0.5), rng.uniform(0.4, 2.0), rng.uniform(0.3, 0.8)
        course = _ramp(time, start, onset) - _ramp(time, start + onset + apex, release)
        strength = rng.uniform(0.4, 1.0)
        for factor, value in EXPRESSIONS[name].items():
            gains[factor] = gains.get(factor, 0.0) + strength * value * course
    return gains
