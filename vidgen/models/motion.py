"""How MoStGAN-V moves: noise codes along the clip, the motion code of any time between them, and the motion
styles that it stands for (Shen, Li, Elhoseiny, CVPR 2023, section 3.2; StyleGAN-V, CVPR 2022, section 3.2).
"""

from __future__ import annotations

import math

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from vidgen.layers import EqualConv, EqualLinear, activate
from vidgen.timecodes import AcyclicEncoding, rows

SMOOTHING = 16  # times that are averaged where the motion is smoothed


class MotionEncoder(nn.Module):
    """Turn noise codes, `distance` frames apart, and the category into the motion code v of any time.

    Two unpadded convolutions along the codes, then the acyclic encoding. Only the codes that the asked times
    touch are convolved.

    waves: values of the encoding, from which a network of two layers makes v; 0 (the paper) takes the
    encoding itself. There each value of v swings at one period of its own, so that a movement at another
    speed is another set of values; the network can say by any of the waves where in a movement a frame is.
    """

    def __init__(
        self,
        noise_dim: int,
        code_dim: int,
        distance: int,
        kernel: int,
        shortest: float,
        longest: float,
        num_labels: int,
        label_dim: int,
        relative: bool = False,
        amplitudes: bool = False,
        rate: float = 0.01,
        waves: int = 0,
    ) -> None:
        super().__init__()
        self.distance, self.kernel = distance, kernel
        self.labels = nn.Embedding(num_labels, label_dim) if num_labels else None
        inputs = noise_dim + (label_dim if num_labels else 0)
        self.first = EqualConv(inputs, noise_dim, kernel, dims=1, rate=rate)
        self.second = EqualConv(noise_dim, noise_dim, kernel, dims=1, rate=rate)
        self.encoding = AcyclicEncoding(
            noise_dim, waves or code_dim, distance, shortest, longest, relative, amplitudes
        )
        self.hidden, self.code = None, None
        if waves:
            self.hidden = EqualLinear(waves, 2 * code_dim, rate=rate)
            self.code = EqualLinear(2 * code_dim, code_dim, rate=rate)

    def knots(self, last_time: float) -> int:
        """Count the noise codes that times up to `last_time` touch."""
        return math.floor(last_time / self.distance) + 2 + 2 * (self.kernel - 1)

    def forward(self, motion: Tensor, times: Tensor, label: Tensor | None) -> Tensor:
        """motion [n, l, d], times [n, t], label [n] or None -> v [n, t, code_dim]."""
        first = (times.amin(1) / self.distance).floor().long()
        last = (times.amax(1) / self.distance).floor().long()
        span = int((last - first).max()) + self.knots(0)
        index = rearrange(first, "n -> n 1") + torch.arange(span, device=times.device)
        noise = rows(motion, index.clamp(max=motion.shape[1] - 1))
        if self.labels is not None:
            assert label is not None
            noise = torch.cat([noise, repeat(self.labels(label), "n d -> n l d", l=span)], -1)
        codes = self.first(rearrange(noise, "n l d -> n d l"))
        codes = rearrange(self.second(codes), "n d l -> n l d")
        moved = self.encoding(codes, times, first)
        return self.code(activate(self.hidden(moved))) if self.hidden is not None else moved

    def smoothed(self, motion: Tensor, times: Tensor, label: Tensor | None, reach: Tensor) -> Tensor:
        """Average v over the last `reach` [n] frames before each time: as `forward`."""
        if not reach.any():
            return self(motion, times, label)
        back = torch.linspace(0, 1, SMOOTHING, device=times.device) * rearrange(reach, "n -> n 1 1")
        read = (rearrange(times, "n t -> n t 1") - back).clamp(min=0)
        codes = self(motion, rearrange(read, "n t s -> n (t s)"), label)
        return rearrange(codes, "n (t s) d -> n t s d", s=SMOOTHING).mean(2)


class MotionStyles(nn.Module):
    """Turn each frame's content style and motion code into `count` motion styles, which all layers share:
    [m, style_dim + code_dim] -> [m, k, dim] (section 3.2, the motion network).
    """

    def __init__(self, inputs: int, count: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.count = count
        self.first = EqualLinear(inputs, count * hidden)
        self.second = EqualLinear(hidden, dim)

    def forward(self, point: Tensor) -> Tensor:
        hidden = rearrange(activate(self.first(point)), "m (k d) -> m k d", k=self.count)
        return self.second(hidden)
