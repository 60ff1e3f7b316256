"""What surrounds an avatar's face: background, neck and shirt, ears, and the hair behind and in front."""

from __future__ import annotations

import torch
from torch import Tensor

from train.data.avatar_head import HEIGHT, Head, blend, ellipse, ramp


def background(head: Head) -> None:
    """A wall, darker below, with light behind the head."""
    low = ramp(-1.0, 1.2, head.y + 0.15 * head.x)
    sky, ground = head.who["sky_colour"], head.who["ground_colour"]
    head.image.copy_(sky + (ground - sky) * low[:, None])
    glow = (1 - ((head.x - 0.1) ** 2 + (head.y + 0.25) ** 2)).clamp_(min=0)
    head.paint((1.0, 1.0, 1.0), (0.35 * glow * glow).expand(len(head.image), -1, -1))


def body(head: Head) -> None:
    """Neck with the head's shadow, shoulders, shirt and collar."""
    who, pose = head.who, head.pose
    x, y = head.bx, head.by
    roll = torch.deg2rad(pose["roll"])
    top = torch.sin(roll) * 0.35 + 0.05 * head.sin_yaw
    along = ((0.95 - y) / 0.75).clamp(0, 1)
    lean = x - top * along
    shoulders = 0.74 + 0.34 * x * x - 0.10 * torch.exp(-((x / 0.3) ** 2))
    body = (shoulders - y) * 0.9
    neck = torch.maximum(lean.abs() - who["neck"] - 0.05 * ramp(0.6, 0.9, y), (0.1 - y))
    skin = who["skin_colour"]
    head.paint(skin * 0.93, head.cover(neck))
    shadow = ramp(0.17, -0.02, head.outline) * head.cover(neck)
    head.paint(head.shade * 0.93, 0.85 * shadow)
    shirt = who["shirt_colour"]
    lit = 1.0 - 0.16 * ramp(0.0, 0.9, x + 0.2 * y)
    stripes = who["stripes"] * 0.5 * ramp(-0.15, 0.15, torch.sin(26 * (y - 0.3 * x * x)))
    tone = shirt * lit[:, None]
    tone = tone + (who["collar_colour"] - tone) * stripes[:, None]
    inside = head.cover(body)
    wide = who["neck"] + 0.06
    u = (x.abs() / wide).clamp(max=1.5)
    depth = 0.10 + 0.17 * who["neckline"]
    curve = torch.lerp(1 - u * u, 1 - u, who["neckline"])
    opening = y - (0.69 + depth * curve)
    head.paint(tone, inside * head.cover(-opening))
    collar = (opening - 0.035).abs() - (0.035 + 0.01 * who["neckline"])
    head.paint(
        who["collar_colour"] * (lit[:, None] * 0.5 + 0.5),
        inside * head.cover(torch.maximum(collar * 0.8, u * wide - wide * 1.25)),
    )


def ears(head: Head) -> None:
    """Two ears behind the cheeks; the one turned towards us comes forward."""
    for side in (-1.0, 1.0):
        x = head.hx - side * (head.who["width"] * 0.985 - 0.03 * side * head.sin_yaw) + 0.05 * head.sin_yaw
        y = head.hy - 0.04 + 0.12 * head.sin_pitch
        x = x + side * 0.10 * y
        bare = 1 - ramp(0.1, 0.3, head.who["sides"])
        ear = ellipse(x, y, 0.085, 0.135)
        head.paint(head.who["skin_colour"] * 0.95, bare * head.cover(ear))
        head.paint(head.shade, 0.55 * bare * head.cover(ellipse(x + side * 0.012, y, 0.045, 0.085)))


def back_hair(head: Head) -> None:
    """Hair behind the neck, which hangs down and swings against the turn; a bun on top."""
    who = head.who
    half = torch.deg2rad(head.pose["roll"]) * 0.5
    x = head.hx + (head.hy - 0.1) * torch.sin(half) + 0.09 * head.sin_yaw
    length, wide = who["back"], who["width"] + who["volume"] * 0.75
    bottom = head.hy - (length - 0.12)
    wide = wide + 0.03 * torch.sin(9 * head.hy) * (who["wave"] > 0)
    dx, dy = x.abs() - (wide - 0.16), torch.maximum(bottom, -(head.hy + 0.25))
    box = torch.sqrt(dx.clamp(min=0) ** 2 + dy.clamp(min=0) ** 2) + torch.maximum(dx, dy).clamp(max=0) - 0.16
    skull = ellipse(x, head.hy + 0.10, who["width"] + who["volume"] * 0.55, 0.50 + who["volume"])
    nape = ellipse(head.hx, head.hy + 0.10, who["width"] + 0.02, 0.50)
    short = torch.maximum(nape, head.hy - 0.10 - 0.5 * who["sides"])
    hair = torch.where(length > 0, blend(box, skull, 0.18), short)
    head.paint(head.hair_tone(0.68), head.cover(hair))
    knot = who["bun"]
    bun = torch.sqrt((head.hx + 0.12 * head.sin_yaw) ** 2 + (head.hy + 0.66 + 0.4 * knot) ** 2) - knot
    head.paint(head.hair_tone(0.85), head.cover(bun + (knot <= 0) * 9.0))


def front_hair(head: Head) -> None:
    """Hair on the skull: inside a wider outline, above a line on the turning sphere."""
    who = head.who
    side = ramp(0.74, 0.97, head.px.abs())
    away = (head.px - who["part"]).abs()
    fringe = who["fringe"] * ramp(0.0, 0.75, away) + 0.35 * head.px**2 * 0.4
    line = who["hairline"] + fringe
    line = line + (who["sides"] - line) * side
    behind = ramp(0.0, -0.3, head.pz)
    line = torch.maximum(line, -1 + 1.25 * behind)
    ripple = _ripple(head)
    above = (head.py - line) * HEIGHT * 0.75 + ripple * 0.35
    skull = ellipse(
        head.hx + 0.03 * head.sin_yaw,
        head.hy + 0.12,
        who["width"] + who["volume"] * 0.55,
        0.52 + who["volume"],
    )
    long = (who["sides"] - 0.1).clamp(min=0)
    drape = ellipse(
        head.hx + 0.03 * head.sin_yaw,
        head.hy - 0.05,
        who["width"] + who["volume"] * 0.62,
        0.40 + 0.5 * long,
    )
    outer = torch.where(who["sides"] > 0.2, blend(skull, drape, 0.1), skull) + ripple
    hair = torch.maximum(outer, head.evened(above))
    cover = head.cover(hair)
    fall = ramp(0.05, -0.01, above) * (1 - cover) * head.face
    head.paint(head.shade, 0.45 * fall)
    head.paint(who["hair_colour"], cover)
    p, q, z = head.normal
    dark = ramp(0.1, 1.0, 0.8 * p + 0.35 * q)
    head.paint(head.hair_tone(0.62), cover * 0.55 * dark)
    deep = ramp(-0.06, 0.0, above) * 0.35
    head.paint(head.hair_tone(0.6), cover * deep)
    strand = 0.85 + 0.15 * torch.sin(22 * head.px + 5 * head.py)
    band = torch.exp(-(((q + 0.30 * p + 0.86 - 0.15 * z) / 0.13) ** 2)) * strand
    head.paint(head.hair_tone(1.35), cover * 0.55 * band)


def _ripple(head: Head) -> Tensor:
    """Waves of curly hair along its rim."""
    angle = torch.atan2(head.hy + 0.1, head.hx)
    return head.who["wave"] * torch.sin(17 * angle)
