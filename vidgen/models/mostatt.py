"""Motion styles at work: a hypernetwork makes a pattern of weights of each motion style, and each filter of a
convolution attends to the patterns that it agrees with (MoStGAN-V, Shen, Li, Elhoseiny, CVPR 2023, sections
3.2 and 3.3).

Letters in shapes: m frames, k motion styles, r rank, i channels in, o channels out, y x the kernel.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, repeat
from torch import Tensor, nn

from vidgen.layers import EqualLinear, activate, convolve

SLOPE = 0.2  # of the leaky ReLU on the modulation
EPSILON = 1e-8


class Hypernetwork(nn.Module):
    """Turn motion styles into patterns of weights of low rank: [m, k, d] -> [m, k, i, y, x].

    M = (1 / sqrt(r)) sum over r of a (x) b (x) c, with a over the channels, b and c over the kernel's rows
    and columns.
    """

    def __init__(self, dim: int, channels: int, kernel: int, rank: int) -> None:
        super().__init__()
        self.sizes, self.rank = (channels, kernel, kernel), rank
        self.factors = EqualLinear(dim, rank * sum(self.sizes))

    def forward(self, motion: Tensor) -> Tensor:
        factors = rearrange(self.factors(motion), "m k (r f) -> m k r f", r=self.rank)
        a, b, c = factors.split(self.sizes, -1)
        pattern = einsum(a, b, c, "m k r i, m k r y, m k r x -> m k i y x")
        return pattern / math.sqrt(self.rank)


def attend(weight: Tensor, style: Tensor, patterns: Tensor, order: str) -> Tensor:
    """Score how much each filter agrees with each pattern: weight [o, i, y, x], style [m, i], patterns [m, k,
    i, y, x] -> [m, o, k].

    order "content": the filters are first modulated by the content style; "motion": they are not yet.
    """
    if order == "content":
        patterns = patterns * rearrange(style, "m i -> m 1 i 1 1")  # <W s, M> = <W, s M>
    return einsum(patterns, weight, "m k i y x, o i y x -> m o k") / math.sqrt(weight[0].numel())


def modulation(scores: Tensor, patterns: Tensor) -> Tensor:
    """Mix the patterns by attention, scale each frame's mixture to at most 1, and pass it through a leaky
    ReLU: scores [m, o, k], patterns [m, k, i, y, x] -> [m, o, i, y, x].
    """
    mixed = scores.softmax(-1) @ patterns.flatten(2)  # m o (i y x)
    largest = torch.linalg.vector_norm(mixed, math.inf, dim=(1, 2), keepdim=True).clamp(min=EPSILON)
    return F.leaky_relu(mixed / largest, SLOPE).unflatten(-1, patterns.shape[2:])


def diversity_loss(scores: Tensor) -> Tensor:
    """Punish motion styles that the filters of a layer attend to alike: scores [m, o, k] -> a number.

    The squared cosines of all pairs of different styles of a frame, summed; mean over frames.
    """
    column = F.normalize(scores, dim=1)
    gram = column.mT @ column  # m k k
    return (gram - torch.diag_embed(gram.diagonal(dim1=1, dim2=2))).square().sum((1, 2)).mean()


class StyledConv(nn.Module):
    """A convolution whose weights follow the content style, and the motion styles where it has any.

    W'' = W s (1 + modulation); the outputs are scaled to the variance that they would have from inputs of
    variance 1 (demodulation: StyleGAN2, Karras et al., CVPR 2020, section 2.2), then a bias and a leaky ReLU.
    s multiplies the inputs and the demodulation the outputs, which is the same function with fewer products.
    motion: (dimension of the motion styles, rank) or None. up: to twice the resolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        style_dim: int,
        *,
        up: bool = False,
        motion: tuple[int, int] | None = None,
        order: str = "content",
        kernel: int = 3,
    ) -> None:
        super().__init__()
        self.up, self.order = up, order
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = EqualLinear(style_dim, inputs, start=1.0)
        self.patterns = None if motion is None else Hypernetwork(motion[0], inputs, kernel, motion[1])

    def forward(self, x: Tensor, style: Tensor, motion: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x [m, i, h, w], style [m, style_dim], motion [m, k, d] or None -> [m, o, h, w] and the scores [m,
        o, k], None without motion styles.
        """
        with torch.autocast(x.device.type, enabled=False):
            weight, scale, scores = self.weight.float(), self.affine(style).float(), None
            if self.patterns is not None:
                assert motion is not None
                patterns = self.patterns(motion).float()
                scores = attend(weight, scale, patterns, self.order)
                weight = weight * (1 + modulation(scores, patterns))
            # Only ratios matter before the demodulation; so no size overflows half precision.
            weight = weight / math.sqrt(self.weight[0].numel())
            scale = scale * (scale.square().mean(1, keepdim=True) + EPSILON).rsqrt()
            strength = demodulation(weight, scale)
        x = x * rearrange(scale, "m i -> m i 1 1").to(x.dtype)
        x = convolve(x, weight.to(x.dtype), self.up)
        x = torch.addcmul(
            rearrange(self.bias, "o -> o 1 1").to(x.dtype),
            x,
            rearrange(strength, "m o -> m o 1 1").to(x.dtype),
        )
        return activate(x), scores


def demodulation(weight: Tensor, scale: Tensor) -> Tensor:
    """Give 1 / the norm of each filter: weight [o, i, y, x] or [m, o, i, y, x], scale [m, i] -> [m, o]."""
    energy = weight.square().sum((-2, -1))  # (m) o i
    if energy.ndim == 2:
        energy = repeat(energy, "o i -> m o i", m=len(scale))
    return (einsum(energy, scale.square(), "m o i, m i -> m o") + EPSILON).rsqrt()


class ToColour(nn.Module):
    """Turn features into colours by a 1x1 convolution that follows the content style: [m, i, h, w] -> [m, c,
    h, w].
    """

    def __init__(self, inputs: int, channels: int, style_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.affine = EqualLinear(style_dim, inputs, start=1.0)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale = rearrange(self.affine(style), "m i -> m i 1 1") / math.sqrt(self.weight.shape[1])
        return F.conv2d(x * scale.to(x.dtype), self.weight, self.bias)
