"""Motion styles at work: a hypernetwork makes a pattern of weights of each motion style, and each filter of a
convolution attends to the patterns that it agrees with (MoStGAN-V, Shen, Li, Elhoseiny, CVPR 2023, sections
3.2 and 3.3).

Letters in shapes: m frames, k motion styles, r rank, i channels in, o channels out, y x the kernel, f all
weights of a filter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, repeat
from torch import Tensor, nn

from vidgen.layers import GAIN, SLOPE, EqualLinear, activate, convolve, normalise, smooth

EPSILON = 1e-8


class Hypernetwork(nn.Module):
    """Turn motion styles into patterns of weights of low rank: [m, k, d] -> [m, k, f], f all weights of a
    filter in the order of `layout`, "i y x" or "y x i".

    M = (1 / sqrt(r)) sum over r of a (x) b (x) c, with a over the channels, b and c over the kernel's rows
    and columns.
    """

    def __init__(self, dim: int, channels: int, kernel: int, rank: int, layout: str) -> None:
        super().__init__()
        self.sizes, self.rank, self.layout = (channels, kernel, kernel), rank, layout
        self.factors = EqualLinear(dim, rank * sum(self.sizes))

    def forward(self, motion: Tensor) -> Tensor:
        factors = rearrange(self.factors(motion), "m k (r f) -> m k r f", r=self.rank)
        a, b, c = factors.split(self.sizes, -1)
        pattern = einsum(a, b, c, f"m k r i, m k r y, m k r x -> m k {self.layout}")
        return pattern.flatten(2) / math.sqrt(self.rank)


def attend(weight: Tensor, scale: Tensor, patterns: Tensor, order: str) -> Tensor:
    """Score how much each filter agrees with each pattern: weight [o, f], scale [m, f], patterns [m, k, f] ->
    [m, o, k].

    order "content": the filters are first scaled by the content style; "motion": they are not yet.
    """
    if order == "content":
        patterns = patterns * rearrange(scale, "m f -> m 1 f")  # <W s, M> = <W, s M>
    return F.linear(patterns, weight).mT / math.sqrt(weight.shape[1])


def diversity_loss(scores: Tensor) -> Tensor:
    """Punish motion styles that the filters of a layer attend to alike: scores [m, o, k] -> a number.

    The squared cosines of all pairs of different styles of a frame, summed; mean over frames.
    """
    column = F.normalize(scores, dim=1)
    gram = column.mT @ column  # m k k
    return (gram - torch.diag_embed(gram.diagonal(dim1=1, dim2=2))).square().sum((1, 2)).mean()


class MovedFilters(torch.autograd.Function):
    """Make each frame's filters, of norm sqrt(2) for the leaky ReLU: weight [o, f], scale [m, f], attention
    [m, o, k], patterns [m, k, f] -> [m, o, f].

    W'' = W s (1 + lrelu(mix / max |mix|)), mix = attention @ patterns, the maximum over a frame's filters;
    then the filters are brought to that norm (demodulation: StyleGAN2, Karras et al., CVPR 2020, section
    2.2).

    Written out with its derivative, for memory: a few frames at a time, whose filters stay in the processor's
    cache, and nothing but the filters is kept, where PyTorch would keep ten tensors of their size.
    """

    CACHE = 2**18  # numbers: filters that are made at once on a processor

    @staticmethod
    def blocks(weight: Tensor, frames: int) -> Iterable[slice]:
        """Split the frames into those whose filters are made at once."""
        size = frames if weight.device.type != "cpu" else max(MovedFilters.CACHE // weight.numel(), 1)
        return (slice(first, first + size) for first in range(0, frames, size))

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, attention: Tensor, patterns: Tensor) -> Tensor:
        filters = weight.new_empty(len(scale), *weight.shape)
        shrink = weight.new_empty(len(scale), len(weight), 1)
        for block in MovedFilters.blocks(weight, len(scale)):
            mixed = attention[block] @ patterns[block]  # b o f
            largest = torch.maximum(mixed.amax((1, 2), True), -mixed.amin((1, 2), True)).clamp_(min=EPSILON)
            moved = F.leaky_relu_(mixed.div_(largest), SLOPE).add_(1)
            moved.mul_(weight).mul_(rearrange(scale[block], "b f -> b 1 f"))
            norm = torch.linalg.vector_norm(moved, dim=-1, keepdim=True)
            shrink[block] = norm.square_().add_(EPSILON).rsqrt_().mul_(GAIN)
            torch.mul(moved, shrink[block], out=filters[block])
        ctx.save_for_backward(weight, scale, attention, patterns, filters, shrink)
        return filters

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        weight, scale, attention, patterns, filters, shrink = ctx.saved_tensors
        of_weight, of_scale = torch.zeros_like(weight), torch.empty_like(scale)
        of_attention, of_patterns = torch.empty_like(attention), torch.empty_like(patterns)
        for block in MovedFilters.blocks(weight, len(scale)):
            share, pattern, filled = attention[block], patterns[block], filters[block]
            content = rearrange(scale[block], "b f -> b 1 f")
            mixed = share @ pattern
            size, place = mixed.flatten(1).abs().max(1)
            largest = rearrange(size.clamp(min=EPSILON), "b -> b 1 1")
            slope = (mixed > 0).to(mixed.dtype).mul_(1 - SLOPE).add_(SLOPE)
            one = mixed.div_(largest)  # in [-1, 1]
            grown = F.leaky_relu(one, SLOPE).add_(1)
            # Through the norm: a change along a filter itself is undone.
            along = (grad[block] * filled).sum(-1, keepdim=True)
            inner = torch.addcmul(grad[block], filled, along, value=-1 / GAIN**2).mul_(shrink[block])
            part = inner * grown
            of_weight += (part * content).sum(0)
            of_scale[block] = part.mul_(weight).sum(1)
            inner.mul_(weight).mul_(content).mul_(slope)
            pull = (inner * one).sum((1, 2))
            inner.div_(largest)
            peak = one.flatten(1).gather(1, place[:, None])[:, 0].sign()
            inner.flatten(1).scatter_add_(1, place[:, None], (-pull * peak / largest.flatten())[:, None])
            torch.bmm(inner, pattern.mT, out=of_attention[block])
            torch.bmm(share.mT, inner, out=of_patterns[block])
        return of_weight, of_scale, of_attention, of_patterns


class StyledConv(nn.Module):
    """A convolution whose weights follow the content style, and the motion styles where it has any; then a
    bias and `activate`.

    The filters are scaled, input by input, by an affine function of the content style, changed by the motion
    styles, and brought to unit norm. Without motion styles, the scale multiplies the inputs and the norm the
    outputs: the same function with one set of weights for all frames.
    motion: (dimension of the motion styles, rank) or None. up: to twice the resolution.
    """

    KERNEL = 3

    def __init__(
        self,
        inputs: int,
        outputs: int,
        style_dim: int,
        *,
        up: bool = False,
        motion: tuple[int, int] | None = None,
        order: str = "content",
    ) -> None:
        super().__init__()
        self.up, self.order = up, order
        self.layout = "y x i" if up else "i y x"  # that `convolve` reads without a copy
        self.weight = nn.Parameter(torch.randn(outputs, inputs, self.KERNEL, self.KERNEL))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = EqualLinear(style_dim, inputs, start=1.0)
        self.patterns: nn.Module | None = None
        if motion is not None:
            self.patterns = Hypernetwork(motion[0], inputs, self.KERNEL, motion[1], self.layout)

    def forward(self, x: Tensor, style: Tensor, motion: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x [m, i, h, w], style [m, style_dim], motion [m, k, d] or None -> [m, o, h, w] and the scores [m,
        o, k], None without motion styles.
        """
        with torch.autocast(x.device.type, enabled=False):  # norms need all their digits
            scale, weight, scores = self.affine(style).float(), self.weight.float(), None
            bias = rearrange(self.bias * GAIN, "o -> o 1 1").to(x.dtype)
            if self.patterns is None:
                scale = normalise(scale)  # only ratios matter; so no size overflows half precision
                strength = rearrange(GAIN * demodulation(weight, scale), "m o -> m o 1 1").to(x.dtype)
            else:
                assert motion is not None
                filters, scores = self._moved(weight, scale, self.patterns(motion).float())
        if scores is None:
            x = convolve(x * rearrange(scale, "m i -> m i 1 1").to(x.dtype), weight.to(x.dtype), self.up)
            x = torch.addcmul(bias, x, strength)
        else:
            x = convolve(x, filters.to(x.dtype), self.up).add_(bias)
        return F.leaky_relu_(x, SLOPE), scores  # in place: fresh memory for each map costs more than the sums

    def _moved(self, weight: Tensor, scale: Tensor, patterns: Tensor) -> tuple[Tensor, Tensor]:
        """Make each frame's filters, [m, o, i, y, x], and the scores, [m, o, k]."""
        side = {"y": self.KERNEL, "x": self.KERNEL}
        weight = rearrange(weight, f"o i y x -> o ({self.layout})")
        scale = repeat(scale, f"m i -> m ({self.layout})", **side)
        scores = attend(weight, scale, patterns, self.order)
        filters = MovedFilters.apply(weight, scale, scores.softmax(-1), patterns)
        return rearrange(filters, f"m o ({self.layout}) -> m o i y x", **side), scores


class PlainStyledConv(StyledConv):
    """The readable twin of a `StyledConv`: every frame has its own filters in every layer, by the formula."""

    def forward(self, x: Tensor, style: Tensor, motion: Tensor | None) -> tuple[Tensor, Tensor | None]:
        content = repeat(self.affine(style), "m i -> m 1 i 1 1") * self.weight  # m o i y x
        filters, scores = content, None
        if self.patterns is not None:
            assert motion is not None
            patterns = rearrange(
                self.patterns(motion), f"m k ({self.layout}) -> m k i y x", y=self.KERNEL, x=self.KERNEL
            )
            judged = content if self.order == "content" else self.weight.expand_as(content)
            scores = einsum(judged, patterns, "m o i y x, m k i y x -> m o k") / math.sqrt(
                content[0, 0].numel()
            )
            mixed = einsum(scores.softmax(-1), patterns, "m o k, m k i y x -> m o i y x")
            mixed = mixed / mixed.abs().amax((1, 2, 3, 4), keepdim=True)
            filters = content * (1 + F.leaky_relu(mixed, SLOPE))
        filters = filters * (filters.square().sum((2, 3, 4), keepdim=True) + EPSILON).rsqrt()
        if self.up:
            own = rearrange(filters, "m o i y x -> (m i) o y x")
            joined = rearrange(x, "m i h w -> 1 (m i) h w")
            x = F.conv_transpose2d(joined, own, stride=2, groups=len(filters))
            x = smooth(rearrange(x, "1 (m o) h w -> m o h w", m=len(filters)), 1, gain=4.0)
        else:
            x = convolve(x, filters)
        return activate(x + rearrange(self.bias, "o -> o 1 1")), scores


def demodulation(weight: Tensor, scale: Tensor) -> Tensor:
    """Give 1 / the norm of each filter: weight [o, i, y, x], scale [m, i] -> [m, o]."""
    return (scale.square() @ weight.square().sum((-2, -1)).mT + EPSILON).rsqrt()


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
        scale = rearrange(self.affine(style), "m i -> m 1 i") / math.sqrt(self.weight.shape[1])
        own = (scale * rearrange(self.weight, "c i 1 1 -> c i")).to(x.dtype)  # m c i
        colours = torch.baddbmm(rearrange(self.bias, "c -> c 1").to(x.dtype), own, x.flatten(2))
        return colours.unflatten(-1, x.shape[2:])
