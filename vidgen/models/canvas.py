"""Canvases: a scene on a torus, which drifts past the frame (`MoStGANVConfig.canvas`)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vidgen.layers import EqualLinear, activate, double

USUAL_SPEED = 1 / 32  # frames' sides a frame, that `DriftVelocity` starts with
WINDOW_SIZE = 16  # resolution at which a frame is cut out of a canvas


class DriftVelocity(nn.Module):
    """Say how fast a clip's picture drifts, by its first noise code and its category: noise [n, d], label [n]
    or None -> x and y in frames' sides a frame, [n, 2].
    """

    HIDDEN = 64

    def __init__(self, noise_dim: int, num_labels: int, label_dim: int) -> None:
        super().__init__()
        self.labels = nn.Embedding(num_labels, label_dim) if num_labels else None
        self.first = EqualLinear(noise_dim + (label_dim if num_labels else 0), self.HIDDEN)
        self.second = EqualLinear(self.HIDDEN, 2)

    def forward(self, noise: Tensor, label: Tensor | None) -> Tensor:
        if self.labels is not None:
            assert label is not None
            noise = torch.cat([noise, self.labels(label)], -1)
        return self.second(activate(self.first(noise))) * USUAL_SPEED


def around(x: Tensor) -> Tensor:
    """Go on by a pixel beyond each edge of a torus, with what is at the opposite one."""
    return F.pad(x, (1, 1, 1, 1), "circular")


def inner(x: Tensor, border: int) -> Tensor:
    """Leave out the pixels near the edges."""
    return x[..., border:-border, border:-border]


def double_torus(x: Tensor) -> Tensor:
    """Double the resolution of pictures on a torus."""
    return inner(double(around(x)), 2)


def nearest_place(place: Tensor, canvas: int) -> Tensor:
    """Give the same place of a torus near 0, where small numbers have all their digits: place in frames'
    sides, canvas: its side at 4 px.
    """
    period = canvas / 4
    return torch.remainder(place + period / 2, period) - period / 2


def window(x: Tensor, place: Tensor, size: int = WINDOW_SIZE) -> Tensor:
    """Cut frames out of a torus: x [m, c, s, s], place [m, 2], x and y in frames' sides -> [m, c, size,
    size].

    At 0 it is the first `size` rows and columns; from there the picture moves by `place`, to the right and
    down. Between pixels the torus is read as the waves that it is the sum of: nothing is blurred, and no
    pixel is preferred (Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021).
    """
    side = x.shape[-1]
    steps = torch.arange(side, device=x.device)
    apart = steps - size * rearrange(place.float(), "m two -> m two 1")
    waves = torch.arange(1, (side - 1) // 2 + 1, device=x.device)
    weight = 1 + 2 * (2 * math.pi / side * apart[..., None] * waves).cos().sum(-1)
    if side % 2 == 0:
        weight = weight + (math.pi * apart).cos()
    offsets = (torch.arange(size, device=x.device)[:, None] - steps) % side
    columns, rows = (weight[..., offsets] / side).to(x.dtype).unbind(1)  # m i s
    return rearrange(rows, "m i s -> m 1 i s") @ x @ rearrange(columns, "m i s -> m 1 s i")


class NoiseInjection(nn.Module):
    """Add what is too fine to be drawn: noise on a torus that drifts along, by as much as each channel learns
    (StyleGAN, Karras et al., CVPR 2019, section 2, where it is drawn anew for each picture).

    x [m, c, s, s] of frames, place [m, 2] -> the same. canvas: side of the torus at 4 px.
    """

    def __init__(self, canvas: int, size: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("noise", torch.randn(1, 1, canvas * size // 4, canvas * size // 4))
        self.strength = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        seen = window(self.noise.to(x.dtype), place, x.shape[-1])
        return x + rearrange(self.strength, "c -> c 1 1").to(x.dtype) * seen
