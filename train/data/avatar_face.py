"""The features of an avatar's face, painted on the sphere of its head.

Both eyes, brows and cheeks are painted at once, on the face folded along its middle.
"""

from __future__ import annotations

import torch

from train.data.avatar_head import Head, ellipse, ramp

EYE_Y, NOSE_Y, MOUTH_Y = -0.07, 0.17, 0.40  # below the middle of the head
WHITE, BLACK, LASH = (0.99, 0.985, 0.97), (0.07, 0.05, 0.06), (0.16, 0.10, 0.10)
INSIDE, TEETH, TONGUE = (0.36, 0.09, 0.11), (0.99, 0.98, 0.95), (0.88, 0.42, 0.44)


def skin(head: Head) -> None:
    """The face, lit from the upper left, with a beard where there is one."""
    head.face = head.cover(head.outline)
    p, q, z = head.normal
    skin = head.who["skin_colour"]
    dark = ramp(0.25, 1.05, 0.72 * p + 0.42 * q)
    rim = ramp(-0.10, 0.02, head.outline)
    head.paint(skin, head.face)
    head.paint(head.shade, head.face * (0.42 * dark + 0.22 * rim))
    light = ramp(0.35, 1.0, -0.35 * p - 0.55 * q + 0.6 * z)
    head.paint((1.0, 0.97, 0.92), head.face * light * 0.14)
    beard = head.who["beard"]
    mouth = ellipse(head.fx, head.fy - MOUTH_Y + 0.01, head.who["mouth"] * 0.92, 0.075)
    across = (head.fx / 0.40) ** 2
    cheek = head.fy - (0.345 - 0.26 * across * across.clamp(max=1.2))
    grown = ramp(-0.012, 0.03, cheek) * ramp(-0.03, 0.0, mouth)
    head.paint(head.hair_tone(1.06), head.face * grown * beard)


def cheeks(head: Head) -> None:
    """Blush and freckles."""
    x, y = head.fx.abs() - 0.27, head.fy - 0.20
    warm = head.who["skin_colour"] * head.rgb((1.0, 0.72, 0.70))
    near = (1 - (x / 0.13) ** 2 - (y / 0.10) ** 2).clamp_(min=0)
    smile = head.pose["smile"].clamp(min=0)
    head.paint(warm, near * (0.55 * head.who["blush"] + 0.2 * smile))
    u, v = head.fx.abs() - 0.20, head.fy - 0.15
    spots = torch.full_like(u, 1.0)
    for a, b in ((-0.06, 0.02), (0.0, -0.02), (0.02, 0.05), (0.07, 0.0)):
        spots = torch.minimum(spots, torch.sqrt((u - a) ** 2 + (v - b) ** 2) - 0.013)
    head.paint(head.shade, 0.55 * head.who["freckles"] * head.cover(spots))


def nose(head: Head) -> None:
    """A soft bridge, a round tip that stands out (so it leads the turn), and its shadow."""
    size = head.who["nose"]
    x = head.fx - 0.055 * head.sin_yaw
    y = head.fy - NOSE_Y - 0.05 * head.sin_pitch
    bridge = ramp(0.05, 0.0, (x - 0.035 * size).abs()) * ramp(-0.24, -0.05, y) * ramp(0.03, -0.02, y)
    head.paint(head.shade, 0.28 * bridge)
    under = ellipse(x, y - 0.012, 0.072 * size, 0.043 * size)
    head.paint(head.shade, 0.62 * head.cover(under) * ramp(-0.04, 0.035, y))
    tip = ellipse(x, y + 0.004, 0.056 * size, 0.042 * size)
    head.paint(head.who["skin_colour"], 0.85 * head.cover(tip))
    shine = ellipse(x + 0.018, y + 0.02, 0.022, 0.016)
    head.paint((1.0, 1.0, 1.0), 0.38 * ramp(0.012, -0.012, shine))


def mouth(head: Head) -> None:
    """Lips, and behind them teeth and tongue."""
    who, pose = head.who, head.pose
    smile, opened, wide = pose["smile"], pose["mouth_open"], pose["mouth_wide"]
    half = who["mouth"] * (1 + 0.28 * wide + 0.16 * smile - 0.12 * opened * (1 - wide.clamp(min=0)))
    x, y = head.fx - 0.02 * head.sin_yaw, head.fy - MOUTH_Y - 0.02 * head.sin_pitch
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
    below = ramp(0.075, 0.0, (y - under - 0.045).abs()) * ramp(1.0, 0.2, s2)
    head.paint(head.shade, 0.28 * below)
    head.paint(who["lip_colour"], head.cover(lips))
    head.paint(who["lip_colour"] * 0.82, head.cover(torch.maximum(lips, y - (top + bottom) / 2)) * 0.6)
    gleam = ellipse(x + 0.03, y - (bottom + 0.030 * lip), 0.05, 0.011)
    head.paint((1.0, 0.95, 0.93), 0.35 * ramp(0.012, -0.01, gleam))
    hole = torch.maximum(torch.maximum(top - y, y - bottom), ends)
    inside = head.cover(hole)
    head.paint(INSIDE, inside)
    tongue = ellipse(x, y - 0.18 * opened - 0.02, half * 0.62, 0.085)
    head.paint(TONGUE, inside * head.cover(tongue))
    teeth = y - (top.minimum(middle) + 0.048 * ramp(0.05, 0.3, opened) + 0.0 * s2)
    head.paint(TEETH, inside * head.cover(teeth))
    line = torch.maximum((y - middle).abs() - 0.008, x.abs() - half * 0.99)
    head.paint(who["lip_colour"] * 0.45, head.cover(line) * ramp(0.10, 0.02, opened))
    corner = torch.sqrt((x.abs() - half * 1.03) ** 2 + (y - middle) ** 2) - 0.012
    head.paint(head.shade, 0.6 * head.cover(corner))


def eyes(head: Head) -> None:
    """Both at once, on the folded face: white, iris, pupil, highlights, lids and lashes."""
    who, pose = head.who, head.pose
    size = who["eye_size"]
    u, v = head.fx.abs() - who["eye_apart"], head.fy - EYE_Y
    v = v + u * who["eye_tilt"]
    s = u / size
    s2 = s * s
    arch = (1 - s2) * (1 + 0.5 * s2)
    lift = 0.12 * pose["brow"].clamp(min=0) - 0.15 * pose["frown"].clamp(min=0)
    open_ = who["eye_open"] * (1 - pose["blink"])
    low = 0.062 - 0.026 * pose["smile"].clamp(min=0)
    top = torch.lerp(torch.full_like(open_, 0.04), -0.104 * (1 + lift), open_) * arch
    bottom = torch.maximum(low * arch * (0.6 + 0.4 * open_), top)
    socket = ellipse(u, v + 0.02, size * 1.25, 0.125)
    head.paint(head.shade, 0.22 * ramp(0.03, -0.05, socket))
    eye = torch.maximum(top - v, v - bottom)
    seen = head.cover(eye) * head.cover((u.abs() - size) * 0.7)
    head.paint(WHITE, seen)
    head.paint((0.66, 0.68, 0.75), seen * ramp(0.05, 0.0, v - top) * 0.6)
    gx = u * head.side - 0.036 * pose["gaze_x"]
    gy = v + 0.012 - 0.026 * pose["gaze_y"]
    r = torch.sqrt(gx * gx + gy * gy)
    iris = who["eye_colour"]
    head.paint(iris * 0.55, seen * head.cover(r - 0.078))
    head.paint(iris, seen * head.cover(r - 0.068))
    glow = ramp(0.025, 0.06, r) * ramp(-0.01, 0.05, gy)
    head.paint(iris + (1 - iris) * 0.35, seen * head.cover(r - 0.066) * glow * 0.8)
    head.paint(BLACK, seen * head.cover(r - 0.038))
    spark = torch.sqrt((gx + 0.022) ** 2 + (gy + 0.026) ** 2) - 0.019
    small = torch.sqrt((gx - 0.024) ** 2 + (gy - 0.026) ** 2) - 0.009
    head.paint((1.0, 1.0, 1.0), seen * head.cover(torch.minimum(spark, small)))
    wing = 0.5 * (s - 0.55).clamp(min=0) * who["lashes"] * 0.12
    ends = torch.maximum(-s - 1.0, s - 1.0 - 0.14 * who["lashes"]) * size
    edge = torch.where(s > 1, torch.zeros_like(top), top) - wing
    lash = (v - edge).abs() - (0.008 + (0.004 + 0.006 * who["lashes"]) * (1 + s.clamp(-1, 1)))
    lash = lash + 0.012 * ramp(0.85, 1.1, s)
    head.paint(LASH, head.cover(torch.maximum(lash * 0.85, ends)))
    lid = torch.maximum((v - top + 0.040 * open_ + 0.01).abs() - 0.005, s.abs() * size - size * 0.8)
    head.paint(head.shade, 0.7 * head.cover(lid))
    under = torch.maximum((v - bottom).abs() - 0.004, s.abs() * size - size * 0.85)
    head.paint(head.shade, 0.8 * head.cover(under))


def brows(head: Head) -> None:
    """Thicker inside than outside; over the hair, so that they can always be read."""
    who, pose = head.who, head.pose
    u = (head.fx.abs() - who["eye_apart"] - 0.01) / 0.145
    inner = (0.5 - 0.5 * u).clamp(-0.2, 1.2)
    height = who["brow_height"] + 0.055 * pose["brow"] + who["brow_arch"] * (1 - (u - 0.3) ** 2)
    height = height + (0.028 - 0.085 * pose["frown"]) * inner
    v = head.fy - EYE_Y + height
    thick = who["brow_thick"] * (1 - 0.55 * ramp(-0.2, 1.0, u))
    brow = torch.sqrt(((u.abs() - 0.82).clamp(min=0) * 0.145) ** 2 + v * v) - thick
    head.paint(
        head.hair_tone(0.78),
        0.92 * head.cover(brow * 0.95) * head.face * (1 - ramp(0.72, 0.85, head.px.abs())),
    )


def glasses(head: Head) -> None:
    """Rims, bridge and temples."""
    who = head.who
    u, v = head.fx.abs() - who["eye_apart"], head.fy - EYE_Y - 0.01
    a, b = u.abs() - 0.07, v.abs() - 0.055
    box = torch.sqrt(a.clamp(min=0) ** 2 + b.clamp(min=0) ** 2) + torch.maximum(a, b).clamp(max=0) - 0.085
    bridge = torch.maximum((head.fy - EYE_Y + 0.02).abs() - 0.011, head.fx.abs() - (who["eye_apart"] - 0.15))
    temple = torch.maximum((v + 0.04).abs() - 0.011, (who["eye_apart"] + 0.15) - head.fx.abs())
    rim = torch.minimum(torch.minimum(box.abs() - 0.011, bridge), temple)
    hidden = ramp(0.72, 0.85, head.px.abs()) * ramp(0.1, 0.3, who["sides"])  # temples, by long hair
    head.paint((1.0, 1.0, 1.0), who["glasses"] * 0.10 * head.cover(box))
    head.paint(who["frame_colour"], who["glasses"] * head.cover(rim) * head.face * (1 - hidden))
