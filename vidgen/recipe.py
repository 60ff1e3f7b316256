"""A recipe: the few numbers that a clip depends on. Clips are exported with theirs inside, and rendered
again from it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vidgen.errors import VidgenError

MAX_SEED = 2**31 - 1
MAX_FRAMES = 1024
PLAYBACKS = ("forward", "reverse", "loop", "freeze")
DIRECTIONS = 6
# Lowest and highest value of each number.
RANGES: dict[str, tuple[float, float]] = {
    "content_seed": (0, MAX_SEED),
    "motion_seed": (0, MAX_SEED),
    "content_to": (0, MAX_SEED),
    "content_mix": (0, 1),
    "motion_to": (0, MAX_SEED),
    "motion_mix": (0, 1),
    "splice_seed": (0, MAX_SEED),
    "splice_at": (0, MAX_FRAMES),
    "directions": (-3, 3),
    "pad": (-3, 3),
    "strength": (0, 2),
    "smoothness": (0, 1),
    "speed": (0.1, 4),
    "category": (0, 1000),
    "category_to": (0, 1000),
    "category_at": (0, MAX_FRAMES),
    "frames": (1, MAX_FRAMES),
    "fps": (1, 60),
    "truncation": (0, 1),
}
OPTIONAL = ("content_to", "motion_to", "splice_seed", "category", "category_to")
VECTORS = {"directions": DIRECTIONS, "pad": 2}
FLOATS = ("content_mix", "motion_mix", "strength", "smoothness", "speed", "fps", "truncation")


@dataclass(frozen=True)
class Recipe:
    """Everything that a clip depends on; JSON-able, and a seed means the same clip everywhere.

    content_to, content_mix: a second content and the share of it, 0 to 1; motion_to, motion_mix likewise.
    splice_seed, splice_at: the frames from that one on take the motion of another seed.
    directions: how far to move the content along the model's six named directions; pad: along the drag pad's
    two.
    strength: scale of the motion about the clip's mean pose, 0 = still. smoothness: low-pass of the motion
    noise, 0 to 1.
    speed: training frames per native frame time. playback: forward, reverse, loop (there and back) or freeze.
    category: index, None = drawn from the motion seed; category_to from frame category_at on. fps: frames per
    second of the clip; more of them show the same motion in finer steps.
    """

    model: str = "mocogan-sprites"
    content_seed: int = 0
    motion_seed: int = 0
    content_to: int | None = None
    content_mix: float = 0.0
    motion_to: int | None = None
    motion_mix: float = 0.0
    splice_seed: int | None = None
    splice_at: int = 0
    directions: tuple[float, ...] = (0.0,) * DIRECTIONS
    pad: tuple[float, float] = (0.0, 0.0)
    strength: float = 1.0
    smoothness: float = 0.0
    speed: float = 1.0
    playback: str = "forward"
    category: int | None = None
    category_to: int | None = None
    category_at: int = 0
    frames: int = 16
    fps: float = 12.0
    truncation: float = 1.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            object.__setattr__(self, name, _checked(name, value, clamp=False))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, clamp: bool = True) -> Recipe:
        """Build from untrusted values. Numbers outside their range are clamped, or refused where `clamp` is
        False.

        An unknown key, a number that is not finite or a value of another type is a VidgenError either way.
        """
        if not isinstance(values, Mapping):
            raise VidgenError("A recipe must be a JSON object.")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise VidgenError(f"A recipe has no field {str(name)[:40]!r}; known: {', '.join(known)}.")
        return cls(**{name: _checked(name, value, clamp) for name, value in values.items()})

    @classmethod
    def from_json(cls, text: str, *, clamp: bool = True) -> Recipe:
        """Build from JSON text."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise VidgenError("The recipe is not valid JSON.") from error
        return cls.from_dict(values, clamp=clamp)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, JSON-able."""
        values = dataclasses.asdict(self)
        return values | {name: list(values[name]) for name in VECTORS}

    def to_json(self) -> str:
        """Give compact JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    def replace(self, **changes: Any) -> Recipe:
        """Copy with changes, which are checked."""
        return dataclasses.replace(self, **changes)


def _checked(name: str, value: Any, clamp: bool) -> Any:
    if name == "model":
        if not isinstance(value, str) or not 0 < len(value) <= 1024:
            raise VidgenError("model must be a name or a path.")
        return value
    if name == "playback":
        if value not in PLAYBACKS:
            raise VidgenError(f"playback is {str(value)[:40]!r}; choose one of {', '.join(PLAYBACKS)}.")
        return value
    if value is None and name in OPTIONAL:
        return None
    if name in VECTORS:
        if not isinstance(value, list | tuple) or len(value) != VECTORS[name]:
            raise VidgenError(f"{name} must be a list of {VECTORS[name]} numbers.")
        return tuple(float(_number(name, item, clamp)) for item in value)
    number = _number(name, value, clamp)
    return float(number) if name in FLOATS else number


def _number(name: str, value: Any, clamp: bool) -> int | float:
    low, high = RANGES[name]
    whole = name not in FLOATS and name not in VECTORS
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise VidgenError(f"{name} must be a number, not {str(value)[:40]!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise VidgenError(f"{name} is {value}; it must be a finite number from {low:g} to {high:g}.")
    if whole and isinstance(value, float) and not value.is_integer():
        raise VidgenError(f"{name} is {value}; it must be a whole number.")
    if not low <= value <= high:
        if not clamp:
            raise VidgenError(f"{name} is {_short(value)}; choose {low:.10g} to {high:.10g}.")
        value = min(max(value, low), high)
    return int(value) if whole else value


def _short(value: int | float) -> str:
    """Write a number that may have more digits than a float, or a sentence, can hold."""
    if abs(value) < 1e300:
        return f"{value:.10g}"
    return f"{'beyond -' if value < 0 else 'beyond '}1e300"
