"""Draw talking heads with signed distances, many at once, at any size and on any device.

Coordinates are in half frames: -1 to 1, x to the right, y down. The face is painted onto a sphere as wide
and high as the head: each pixel looks up where on the sphere it falls, the sphere is turned by the pose, and
features are flat shapes there, so that they move and foreshorten together. Edges are one pixel soft.

Letters in shapes: n frames, h w pixels. Numbers of a frame are [n, 1, 1], colours [n, 3, 1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

import torch
from torch import Tensor

from train.data.avatar_identity import Identity

CHUNK_PIXELS = 16 * 128 * 128  # painted together: few enough to stay in the cache
CENTRE_Y = -0.09  # of the head
HEIGHT = 0.66  # of the sphere
PIVOT_Y = 0.62  # the head rolls about the neck
EYE_Y, NOSE_Y, MOUTH_Y = -0.07, 0.17, 0.40  # on the sphere, below the middle of the head
WHITE, BLACK, LASH = (0.99, 0.985, 0.97), (0.07, 0.05, 0.06), (0.16, 0.10, 0.10)
INSIDE, TEETH, TONGUE = (0.36, 0.09, 0.11), (0.99, 0.98, 0.95), (0.88, 0.42, 0.44)


@torch.no_grad()
def draw(
    identities: Sequence[Identity],
    motion: Mapping[str, Tensor],
    size: int = 128,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Draw one frame per identity; motion: factor -> [n]. Returns [n, 3, size, size] in [-1, 1]."""
    n = len(identities)
    step = max(1, CHUNK_PIXELS // size**2)
    parts = []
    for start in range(0, n, step):
        people = _table(identities[start : start + step], device)
        pose = {
            name: torch.as_tensor(value[start : start + step], dtype=torch.float32, device=device)[
                :, None, None
            ]
            for name, value in motion.items()
        }
        parts.append(_Head(people, pose, size).picture())
    return torch.cat(parts)


def _table(identities: Sequence[Identity], device: str | torch.device) -> dict[str, Tensor]:
    """Stack identities: numbers [n, 1, 1], colours [n, 3, 1, 1] in 0..1."""
    table = {}
    for field in fields(Identity):
        values = [getattr(identity, field.name) for identity in identities]
        if field.name.endswith("_colour"):
            rgb = [[int(v[i : i + 2], 16) / 255 for i in (1, 3, 5)] for v in values]
            table[field.name] = torch.tensor(rgb, device=device)[:, :, None, None]
        else:
            table[field.name] = torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]
    return table


def _ellipse(x: Tensor, y: Tensor, rx: Tensor | float, ry: Tensor | float) -> Tensor:
    """Distance to an ellipse around the origin, exact on its rim to first order."""
    u, v = x / rx, y / ry
    k0 = (u * u + v * v).sqrt_().clamp_(min=1e-3)
    u, v = u / rx, v / ry
    k1 = (u * u + v * v).sqrt_().clamp_(min=1e-6)
    return k0 * (k0 - 1) / k1


def _blend(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Join two shapes with a fillet of size k."""
    h = (k - (a - b).abs()).clamp_(min=0) / k
    return torch.minimum(a, b) - h * h * (k / 4)


def _step(low: float | Tensor, high: float | Tensor, x: Tensor) -> Tensor:
    """Go smoothly from 0 at `low` to 1 at `high`."""
    t = ((x - low) / (high - low)).clamp_(0, 1)
    return t * t * (3 - 2 * t)


class _Head:
    """One batch of heads being painted, from the back to the front."""

    def __init__(self, who: dict[str, Tensor], pose: dict[str, Tensor], size: int) -> None:
        self.who, self.pose, self.size = who, pose, size
        device = who["width"].device
        grid = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
        self.soft = size / 2 / pose["scale"]  # pixels per half frame of the head
        self.x, self.y = grid[None, None, :], grid[None, :, None]
        self.image = torch.empty(len(who["width"]), 3, size, size, device=device)
        self.shade = 0.62 * who["skin_colour"] + 0.38 * who["skin_colour"] ** 2 * self._rgb((0.95, 0.55, 0.5))
        self._place()

    def picture(self) -> Tensor:
        """Paint everything; [n, 3, h, w] in [-1, 1]."""
        self._background()
        self._back_hair()
        self._body()
        self._ears()
        self._skin()
        self._cheeks()
        self._nose()
        self._mouth()
        self._eyes()
        self._front_hair()
        self._brows()
        self._glasses()
        return self.image.clamp_(0, 1).mul_(2).sub_(1)

    # where things are

    def _place(self) -> None:
        """Undo shift, scale and roll (head coordinates hx, hy), then turn the sphere (px, py, pz)."""
        pose, who = self.pose, self.who
        x = (self.x - pose["shift_x"]) / pose["scale"]
        y = (self.y - pose["shift_y"]) / pose["scale"]
        self.bx, self.by = x.expand(-1, self.size, -1), y.expand(-1, -1, self.size)
        roll = torch.deg2rad(pose["roll"])
        cos, sin = torch.cos(roll), torch.sin(roll)
        down = y - PIVOT_Y
        self.hx = x * cos + down * sin
        self.hy = down * cos - x * sin + (PIVOT_Y - CENTRE_Y)
        yaw, pitch = torch.deg2rad(pose["yaw"]), torch.deg2rad(pose["pitch"])
        self.sin_yaw, self.sin_pitch = torch.sin(yaw), torch.sin(pitch)
        width = who["width"] * 1.04
        p, q = self.hx / width, self.hy / HEIGHT
        z = (1 - p * p - q * q).clamp_(min=0).sqrt_()
        self.normal = (p, q, z)
        self.px = p * torch.cos(yaw) - z * self.sin_yaw
        turned = p * self.sin_yaw + z * torch.cos(yaw)
        self.py = q * torch.cos(pitch) - turned * self.sin_pitch
        self.pz = q * self.sin_pitch + turned * torch.cos(pitch)
        self.fx, self.fy = self.px * width, self.py * HEIGHT  # on the face, in half frames
        self.side = torch.sign(self.fx)
        self.outline = self._outline()

    def _outline(self) -> Tensor:
        """Distance to the head: a skull and a jaw that leads when the head turns and drops with the mouth."""
        who, pose = self.who, self.pose
        drop = 0.06 * pose["mouth_open"]
        skull = _ellipse(self.hx + 0.02 * self.sin_yaw, self.hy + 0.10, who["width"], 0.52)
        low = who["chin"] + drop - 0.05 * self.sin_pitch.abs() + 0.16 * self.sin_pitch
        high = -0.16
        jaw = _ellipse(
            self.hx - 0.14 * self.sin_yaw,
            self.hy - (low + high) / 2,
            who["jaw"] * (1 - 0.03 * drop),
            (low - high) / 2,
        )
        return _blend(skull, jaw, 0.16)

    # painting

    def _rgb(self, colour: tuple[float, float, float]) -> Tensor:
        return torch.tensor(colour, device=self.x.device)[None, :, None, None]

    def _cover(self, distance: Tensor) -> Tensor:
        """Share of each pixel inside a shape."""
        return (0.5 - distance * self.soft).clamp_(0, 1)

    def _evened(self, field: Tensor) -> Tensor:
        """Divide a field by its slope where that is above 1: its edge is then one pixel soft."""
        down, right = torch.gradient(field, dim=(1, 2))
        return field / torch.hypot(down, right).mul_(self.soft).clamp_(min=1)

    def _paint(self, colour: Tensor | tuple[float, float, float], alpha: Tensor) -> None:
        if isinstance(colour, tuple):
            colour = self._rgb(colour)
        self.image.lerp_(colour.expand_as(self.image), alpha[:, None].expand_as(self.image))

    def _background(self) -> None:
        low = _step(-1.0, 1.2, self.y + 0.15 * self.x)
        sky, ground = self.who["sky_colour"], self.who["ground_colour"]
        self.image.copy_(sky + (ground - sky) * low[:, None])
        glow = (1 - ((self.x - 0.1) ** 2 + (self.y + 0.25) ** 2)).clamp_(min=0)
        self._paint((1.0, 1.0, 1.0), (0.35 * glow * glow).expand(len(self.image), -1, -1))

    def _hair_tone(self, amount: float) -> Tensor:
        """Darken (below 1) or lighten (above 1) the hair's colour."""
        hair = self.who["hair_colour"]
        return hair * amount if amount <= 1 else hair + (1 - hair) * (amount - 1)

    def _ripple(self) -> Tensor:
        """Waves of curly hair along its rim."""
        angle = torch.atan2(self.hy + 0.1, self.hx)
        return self.who["wave"] * torch.sin(17 * angle)

    def _back_hair(self) -> None:
        """Hair behind the neck, which hangs down and swings against the turn; a bun on top."""
        who = self.who
        half = torch.deg2rad(self.pose["roll"]) * 0.5
        x = self.hx + (self.hy - 0.1) * torch.sin(half) + 0.09 * self.sin_yaw
        length, wide = who["back"], who["width"] + who["volume"] * 0.75
        bottom = self.hy - (length - 0.12)
        wide = wide + 0.03 * torch.sin(9 * self.hy) * (who["wave"] > 0)
        dx, dy = x.abs() - (wide - 0.16), torch.maximum(bottom, -(self.hy + 0.25))
        box = (
            torch.sqrt(dx.clamp(min=0) ** 2 + dy.clamp(min=0) ** 2)
            + torch.maximum(dx, dy).clamp(max=0)
            - 0.16
        )
        skull = _ellipse(x, self.hy + 0.10, who["width"] + who["volume"] * 0.55, 0.50 + who["volume"])
        nape = _ellipse(self.hx, self.hy + 0.10, who["width"] + 0.02, 0.50)
        short = torch.maximum(nape, self.hy - 0.10 - 0.5 * who["sides"])
        hair = torch.where(length > 0, _blend(box, skull, 0.18), short)
        self._paint(self._hair_tone(0.68), self._cover(hair))
        knot = who["bun"]
        bun = torch.sqrt((self.hx + 0.12 * self.sin_yaw) ** 2 + (self.hy + 0.66 + 0.4 * knot) ** 2) - knot
        self._paint(self._hair_tone(0.85), self._cover(bun + (knot <= 0) * 9.0))

    def _body(self) -> None:
        """Neck with the head's shadow, shoulders, shirt and collar."""
        who, pose = self.who, self.pose
        x, y = self.bx, self.by
        roll = torch.deg2rad(pose["roll"])
        top = torch.sin(roll) * 0.35 + 0.05 * self.sin_yaw
        along = ((0.95 - y) / 0.75).clamp(0, 1)
        lean = x - top * along
        shoulders = 0.74 + 0.34 * x * x - 0.10 * torch.exp(-((x / 0.3) ** 2))
        body = (shoulders - y) * 0.9
        neck = torch.maximum(lean.abs() - who["neck"] - 0.05 * _step(0.6, 0.9, y), (0.1 - y))
        skin = who["skin_colour"]
        self._paint(skin * 0.93, self._cover(neck))
        shadow = _step(0.17, -0.02, self.outline) * self._cover(neck)
        self._paint(self.shade * 0.93, 0.85 * shadow)
        shirt = who["shirt_colour"]
        lit = 1.0 - 0.16 * _step(0.0, 0.9, x + 0.2 * y)
        stripes = who["stripes"] * 0.5 * _step(-0.15, 0.15, torch.sin(26 * (y - 0.3 * x * x)))
        tone = shirt * lit[:, None]
        tone = tone + (who["collar_colour"] - tone) * stripes[:, None]
        inside = self._cover(body)
        wide = who["neck"] + 0.06
        u = (x.abs() / wide).clamp(max=1.5)
        depth = 0.10 + 0.17 * who["neckline"]
        curve = torch.lerp(1 - u * u, 1 - u, who["neckline"])
        opening = y - (0.69 + depth * curve)
        self._paint(tone, inside * self._cover(-opening))
        collar = (opening - 0.035).abs() - (0.035 + 0.01 * who["neckline"])
        self._paint(
            who["collar_colour"] * (lit[:, None] * 0.5 + 0.5),
            inside * self._cover(torch.maximum(collar * 0.8, u * wide - wide * 1.25)),
        )

    def _ears(self) -> None:
        """Two ears behind the cheeks; the one turned towards us comes forward."""
        for side in (-1.0, 1.0):
            x = (
                self.hx
                - side * (self.who["width"] * 0.985 - 0.03 * side * self.sin_yaw)
                + 0.05 * self.sin_yaw
            )
            y = self.hy - 0.04 + 0.12 * self.sin_pitch
            x = x + side * 0.10 * y
            bare = 1 - _step(0.1, 0.3, self.who["sides"])
            ear = _ellipse(x, y, 0.085, 0.135)
            self._paint(self.who["skin_colour"] * 0.95, bare * self._cover(ear))
            self._paint(self.shade, 0.55 * bare * self._cover(_ellipse(x + side * 0.012, y, 0.045, 0.085)))

    def _skin(self) -> None:
        """The face, lit from the upper left, with a beard where there is one."""
        self.face = self._cover(self.outline)
        p, q, z = self.normal
        skin = self.who["skin_colour"]
        dark = _step(0.25, 1.05, 0.72 * p + 0.42 * q)
        rim = _step(-0.10, 0.02, self.outline)
        self._paint(skin, self.face)
        self._paint(self.shade, self.face * (0.42 * dark + 0.22 * rim))
        light = _step(0.35, 1.0, -0.35 * p - 0.55 * q + 0.6 * z)
        self._paint((1.0, 0.97, 0.92), self.face * light * 0.14)
        beard = self.who["beard"]
        mouth = _ellipse(self.fx, self.fy - MOUTH_Y + 0.01, self.who["mouth"] * 0.92, 0.075)
        across = (self.fx / 0.40) ** 2
        cheek = self.fy - (0.345 - 0.26 * across * across.clamp(max=1.2))
        grown = _step(-0.012, 0.03, cheek) * _step(-0.03, 0.0, mouth)
        self._paint(self._hair_tone(1.06), self.face * grown * beard)

    def _cheeks(self) -> None:
        """Blush and freckles."""
        x, y = self.fx.abs() - 0.27, self.fy - 0.20
        warm = self.who["skin_colour"] * self._rgb((1.0, 0.72, 0.70))
        near = (1 - (x / 0.13) ** 2 - (y / 0.10) ** 2).clamp_(min=0)
        smile = self.pose["smile"].clamp(min=0)
        self._paint(warm, near * (0.55 * self.who["blush"] + 0.2 * smile))
        u, v = self.fx.abs() - 0.20, self.fy - 0.15
        spots = torch.full_like(u, 1.0)
        for a, b in ((-0.06, 0.02), (0.0, -0.02), (0.02, 0.05), (0.07, 0.0)):
            spots = torch.minimum(spots, torch.sqrt((u - a) ** 2 + (v - b) ** 2) - 0.013)
        self._paint(self.shade, 0.55 * self.who["freckles"] * self._cover(spots))

    def _nose(self) -> None:
        """A soft bridge, a round tip that stands out (so it leads the turn), and its shadow."""
        size = self.who["nose"]
        x = self.fx - 0.055 * self.sin_yaw
        y = self.fy - NOSE_Y - 0.05 * self.sin_pitch
        bridge = _step(0.05, 0.0, (x - 0.035 * size).abs()) * _step(-0.24, -0.05, y) * _step(0.03, -0.02, y)
        self._paint(self.shade, 0.28 * bridge)
        under = _ellipse(x, y - 0.012, 0.072 * size, 0.043 * size)
        self._paint(self.shade, 0.62 * self._cover(under) * _step(-0.04, 0.035, y))
        tip = _ellipse(x, y + 0.004, 0.056 * size, 0.042 * size)
        self._paint(self.who["skin_colour"], 0.85 * self._cover(tip))
        shine = _ellipse(x + 0.018, y + 0.02, 0.022, 0.016)
        self._paint((1.0, 1.0, 1.0), 0.38 * _step(0.012, -0.012, shine))

    def _mouth(self) -> None:
        """Lips, and behind them teeth and tongue."""
        who, pose = self.who, self.pose
        smile, opened, wide = pose["smile"], pose["mouth_open"], pose["mouth_wide"]
        half = who["mouth"] * (1 + 0.28 * wide + 0.16 * smile - 0.12 * opened * (1 - wide.clamp(min=0)))
        x, y = self.fx - 0.02 * self.sin_yaw, self.fy - MOUTH_Y - 0.02 * self.sin_pitch
        s2 = (x / half) ** 2
        arch = (1 - s2) * (1 + 0.45 * s2)
        round_ = 0.35 * arch + 0.65 * (1 - s2).clamp(min=0).sqrt()
        middle = (0.48 + smile) * (0.030 - 0.075 * s2)
        top, bottom = middle - 0.05 * opened * arch, middle + 0.18 * opened * round_
        lip = who["lips"]
        bow = 1 - 0.30 * torch.exp(-s2 / 0.03)
        over = top - 0.055 * lip * arch * bow * (1 - 0.25 * smile.clamp(min=0))
        under = bottom + 0.068 * lip * round_ * (1 - 0.2 * smile.clamp(min=0))
        ends = (x.abs() - half) * 0.5
        lips = torch.maximum(torch.maximum(over - y, y - under) * 0.9, ends)
        below = _step(0.075, 0.0, (y - under - 0.045).abs()) * _step(1.0, 0.2, s2)
        self._paint(self.shade, 0.28 * below)
        self._paint(who["lip_colour"], self._cover(lips))
        self._paint(who["lip_colour"] * 0.82, self._cover(torch.maximum(lips, y - (top + bottom) / 2)) * 0.6)
        gleam = _ellipse(x + 0.03, y - (bottom + 0.030 * lip), 0.05, 0.011)
        self._paint((1.0, 0.95, 0.93), 0.35 * _step(0.012, -0.01, gleam))
        hole = torch.maximum(torch.maximum(top - y, y - bottom), ends)
        inside = self._cover(hole)
        self._paint(INSIDE, inside)
        tongue = _ellipse(x, y - 0.18 * opened - 0.02, half * 0.62, 0.085)
        self._paint(TONGUE, inside * self._cover(tongue))
        teeth = y - (top.minimum(middle) + 0.048 * _step(0.05, 0.3, opened) + 0.0 * s2)
        self._paint(TEETH, inside * self._cover(teeth))
        line = torch.maximum((y - middle).abs() - 0.008, x.abs() - half * 0.99)
        self._paint(who["lip_colour"] * 0.45, self._cover(line) * _step(0.10, 0.02, opened))
        corner = torch.sqrt((x.abs() - half * 1.03) ** 2 + (y - middle) ** 2) - 0.012
        self._paint(self.shade, 0.6 * self._cover(corner))

    def _eyes(self) -> None:
        """Both at once, on the folded face: white, iris, pupil, highlights, lids and lashes."""
        who, pose = self.who, self.pose
        size = who["eye_size"]
        u, v = self.fx.abs() - who["eye_apart"], self.fy - EYE_Y
        v = v + u * who["eye_tilt"]
        s = u / size
        s2 = s * s
        arch = (1 - s2) * (1 + 0.5 * s2)
        lift = 0.12 * pose["brow"].clamp(min=0) - 0.15 * pose["frown"].clamp(min=0)
        open_ = who["eye_open"] * (1 - pose["blink"])
        low = 0.062 - 0.026 * pose["smile"].clamp(min=0)
        top = torch.lerp(torch.full_like(open_, 0.04), -0.104 * (1 + lift), open_) * arch
        bottom = torch.maximum(low * arch * (0.6 + 0.4 * open_), top)
        socket = _ellipse(u, v + 0.02, size * 1.25, 0.125)
        self._paint(self.shade, 0.22 * _step(0.03, -0.05, socket))
        eye = torch.maximum(top - v, v - bottom)
        seen = self._cover(eye) * self._cover((u.abs() - size) * 0.7)
        self._paint(WHITE, seen)
        self._paint((0.66, 0.68, 0.75), seen * _step(0.05, 0.0, v - top) * 0.6)
        gx = u * self.side - 0.036 * pose["gaze_x"]
        gy = v + 0.012 - 0.026 * pose["gaze_y"]
        r = torch.sqrt(gx * gx + gy * gy)
        iris = who["eye_colour"]
        self._paint(iris * 0.55, seen * self._cover(r - 0.078))
        self._paint(iris, seen * self._cover(r - 0.068))
        glow = _step(0.025, 0.06, r) * _step(-0.01, 0.05, gy)
        self._paint(iris + (1 - iris) * 0.35, seen * self._cover(r - 0.066) * glow * 0.8)
        self._paint(BLACK, seen * self._cover(r - 0.038))
        spark = torch.sqrt((gx + 0.022) ** 2 + (gy + 0.026) ** 2) - 0.019
        small = torch.sqrt((gx - 0.024) ** 2 + (gy - 0.026) ** 2) - 0.009
        self._paint((1.0, 1.0, 1.0), seen * self._cover(torch.minimum(spark, small)))
        wing = 0.5 * (s - 0.55).clamp(min=0) * who["lashes"] * 0.12
        ends = torch.maximum(-s - 1.0, s - 1.0 - 0.14 * who["lashes"]) * size
        edge = torch.where(s > 1, torch.zeros_like(top), top) - wing
        lash = (v - edge).abs() - (0.008 + (0.004 + 0.006 * who["lashes"]) * (1 + s.clamp(-1, 1)))
        lash = lash + 0.012 * _step(0.85, 1.1, s)
        self._paint(LASH, self._cover(torch.maximum(lash * 0.85, ends)))
        lid = torch.maximum((v - top + 0.040 * open_ + 0.01).abs() - 0.005, s.abs() * size - size * 0.8)
        self._paint(self.shade, 0.7 * self._cover(lid))
        under = torch.maximum((v - bottom).abs() - 0.004, s.abs() * size - size * 0.85)
        self._paint(self.shade, 0.8 * self._cover(under))

    def _brows(self) -> None:
        who, pose = self.who, self.pose
        u = (self.fx.abs() - who["eye_apart"] - 0.01) / 0.145
        inner = (0.5 - 0.5 * u).clamp(-0.2, 1.2)
        height = who["brow_height"] + 0.055 * pose["brow"] + who["brow_arch"] * (1 - (u - 0.3) ** 2)
        height = height + (0.028 - 0.085 * pose["frown"]) * inner
        v = self.fy - EYE_Y + height
        thick = who["brow_thick"] * (1 - 0.55 * _step(-0.2, 1.0, u))
        brow = torch.sqrt(((u.abs() - 0.82).clamp(min=0) * 0.145) ** 2 + v * v) - thick
        self._paint(
            self._hair_tone(0.78),
            0.92 * self._cover(brow * 0.95) * self.face * (1 - _step(0.72, 0.85, self.px.abs())),
        )

    def _glasses(self) -> None:
        who = self.who
        u, v = self.fx.abs() - who["eye_apart"], self.fy - EYE_Y - 0.01
        a, b = u.abs() - 0.07, v.abs() - 0.055
        box = torch.sqrt(a.clamp(min=0) ** 2 + b.clamp(min=0) ** 2) + torch.maximum(a, b).clamp(max=0) - 0.085
        bridge = torch.maximum(
            (self.fy - EYE_Y + 0.02).abs() - 0.011, self.fx.abs() - (who["eye_apart"] - 0.15)
        )
        temple = torch.maximum((v + 0.04).abs() - 0.011, (who["eye_apart"] + 0.15) - self.fx.abs())
        rim = torch.minimum(torch.minimum(box.abs() - 0.011, bridge), temple)
        self._paint((1.0, 1.0, 1.0), who["glasses"] * 0.10 * self._cover(box))
        self._paint(who["frame_colour"], who["glasses"] * self._cover(rim) * self.face)

    def _front_hair(self) -> None:
        """Hair on the skull: inside a wider outline, above a line on the turning sphere."""
        who = self.who
        side = _step(0.74, 0.97, self.px.abs())
        away = (self.px - who["part"]).abs()
        fringe = who["fringe"] * _step(0.0, 0.75, away) + 0.35 * self.px**2 * 0.4
        line = who["hairline"] + fringe
        line = line + (who["sides"] - line) * side
        behind = _step(0.0, -0.3, self.pz)
        line = torch.maximum(line, -1 + 1.25 * behind)
        ripple = self._ripple()
        above = (self.py - line) * HEIGHT * 0.75 + ripple * 0.35
        skull = _ellipse(
            self.hx + 0.03 * self.sin_yaw,
            self.hy + 0.12,
            who["width"] + who["volume"] * 0.55,
            0.52 + who["volume"],
        )
        long = (who["sides"] - 0.1).clamp(min=0)
        drape = _ellipse(
            self.hx + 0.03 * self.sin_yaw,
            self.hy - 0.05,
            who["width"] + who["volume"] * 0.62,
            0.40 + 0.5 * long,
        )
        outer = torch.where(who["sides"] > 0.2, _blend(skull, drape, 0.1), skull) + ripple
        hair = torch.maximum(outer, self._evened(above))
        cover = self._cover(hair)
        fall = _step(0.05, -0.01, above) * (1 - cover) * self.face
        self._paint(self.shade, 0.45 * fall)
        self._paint(who["hair_colour"], cover)
        p, q, z = self.normal
        dark = _step(0.1, 1.0, 0.8 * p + 0.35 * q)
        self._paint(self._hair_tone(0.62), cover * 0.55 * dark)
        deep = _step(-0.06, 0.0, above) * 0.35
        self._paint(self._hair_tone(0.6), cover * deep)
        strand = 0.85 + 0.15 * torch.sin(22 * self.px + 5 * self.py)
        band = torch.exp(-(((q + 0.30 * p + 0.86 - 0.15 * z) / 0.13) ** 2)) * strand
        self._paint(self._hair_tone(1.35), cover * 0.55 * band)
