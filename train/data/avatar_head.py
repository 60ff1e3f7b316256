"""Where an avatar's head is in the picture, and how shapes are painted onto it.

Coordinates are in half frames: -1 to 1, x to the right, y down. The face lies on a sphere as wide and high as
the head: each pixel looks up where on the sphere it falls, and the pose turns the sphere, so that features,
flat shapes there, move and foreshorten together. Edges are one pixel soft.

Letters in shapes: n frames, h w pixels. Numbers of a frame are [n, 1, 1], colours [n, 3, 1, 1] in 0..1.
"""

from __future__ import annotations

import torch
from torch import Tensor

CENTRE_Y = -0.09  # of the head
HEIGHT = 0.66  # of the sphere
PIVOT_Y = 0.62  # the head rolls about the neck
Colour = tuple[float, float, float]


def ellipse(x: Tensor, y: Tensor, rx: Tensor | float, ry: Tensor | float) -> Tensor:
    """Measure the distance to an ellipse around the origin, exact to first order on its rim."""
    u, v = x / rx, y / ry
    k0 = (u * u + v * v).sqrt_().clamp_(min=1e-3)
    u, v = u / rx, v / ry
    k1 = (u * u + v * v).sqrt_().clamp_(min=1e-6)
    return k0 * (k0 - 1) / k1


def blend(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Join two shapes with a fillet of size k."""
    h = (k - (a - b).abs()).clamp_(min=0) / k
    return torch.minimum(a, b) - h * h * (k / 4)


def ramp(low: float | Tensor, high: float | Tensor, x: Tensor) -> Tensor:
    """Go smoothly from 0 at `low` to 1 at `high`."""
    t = ((x - low) / (high - low)).clamp_(0, 1)
    return t * t * (3 - 2 * t)


class Head:
    """A batch of heads: who they are, how they are posed, and the picture painted so far.

    bx, by: coordinates of the body; hx, hy: of the rolled head, from its middle; px, py, pz: of the turned
    unit sphere; fx, fy: of the face as seen from the front; normal: of the sphere as it stands. outline:
    distance to the head's rim; shade: the skin's colour in the shadow.
    """

    def __init__(self, who: dict[str, Tensor], pose: dict[str, Tensor], size: int) -> None:
        self.who, self.pose, self.size = who, pose, size
        device = who["width"].device
        grid = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
        self.soft = size / 2 / pose["scale"]  # pixels per half frame of the head
        self.x, self.y = grid[None, None, :], grid[None, :, None]
        self.image = torch.empty(len(who["width"]), 3, size, size, device=device)
        self.shade = 0.62 * who["skin_colour"] + 0.38 * who["skin_colour"] ** 2 * self.rgb((0.95, 0.55, 0.5))
        self._place()

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
        """Join a skull and a jaw, which leads when the head turns and drops with the mouth."""
        who, pose = self.who, self.pose
        drop = 0.06 * pose["mouth_open"]
        skull = ellipse(self.hx + 0.02 * self.sin_yaw, self.hy + 0.10, who["width"], 0.52)
        low = who["chin"] + drop - 0.05 * self.sin_pitch.abs() + 0.16 * self.sin_pitch
        high = -0.16
        jaw = ellipse(
            self.hx - 0.14 * self.sin_yaw,
            self.hy - (low + high) / 2,
            who["jaw"],
            (low - high) / 2,
        )
        return blend(skull, jaw, 0.16)

    def rgb(self, colour: Colour) -> Tensor:
        """Make a colour that all heads share, [1, 3, 1, 1]."""
        return torch.tensor(colour, device=self.x.device)[None, :, None, None]

    def cover(self, distance: Tensor) -> Tensor:
        """Give the share of each pixel inside a shape, from its distance."""
        return (0.5 - distance * self.soft).clamp_(0, 1)

    def evened(self, field: Tensor) -> Tensor:
        """Divide a field by its slope where that is above 1: its edge is then one pixel soft."""
        down, right = torch.gradient(field, dim=(1, 2))
        return field / torch.hypot(down, right).mul_(self.soft).clamp_(min=1)

    def paint(self, colour: Tensor | Colour, alpha: Tensor) -> None:
        """Lay a colour over the picture; alpha [n, h, w] in 0..1."""
        if isinstance(colour, tuple):
            colour = self.rgb(colour)
        self.image.lerp_(colour.expand_as(self.image), alpha[:, None].expand_as(self.image))

    def hair_tone(self, amount: float) -> Tensor:
        """Darken (below 1) or lighten (above 1) the hair's colour."""
        hair = self.who["hair_colour"]
        return hair * amount if amount <= 1 else hair + (1 - hair) * (amount - 1)
