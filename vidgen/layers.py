"""Layers that more than one model uses."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

SLOPE, GAIN = 0.2, math.sqrt(2)  # of `activate`
LARGEST_BAND = 64  # pixels up to which, on a processor, band matrices filter faster than a convolution


class InstanceNoise(nn.Module):
    """Add N(0, sigma^2) to the input while training (Sonderby et al. 2017); sigma 0 adds nothing."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.sigma):
            return x
        # One long float32 row, read in x's own order: PyTorch draws any other kind one number at a time.
        noise = torch.randn(x.numel(), device=x.device).to(x.dtype)
        dense = x.is_contiguous() or any(
            x.ndim == ndim and x.is_contiguous(memory_format=layout)
            for ndim, layout in ((4, torch.channels_last), (5, torch.channels_last_3d))
        )
        noise = noise.as_strided(x.shape, x.stride()) if dense else noise.reshape(x.shape)
        return torch.add(x, noise, alpha=self.sigma)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}"


class Modulation(nn.Module):
    """Scale and shift channels by an affine function of a code: the code then speaks at every resolution.

    As in conditional batch norm (de Vries et al. 2017; BigGAN, Brock et al. 2019). x [n, c, h, w], code [n,
    d].
    """

    def __init__(self, code_dim: int, channels: int) -> None:
        super().__init__()
        self.affine = nn.Linear(code_dim, 2 * channels)
        nn.init.normal_(self.affine.weight, 0, 0.5 / code_dim**0.5)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        gain, shift = rearrange(self.affine(code), "n (two c) -> two n c 1 1", two=2)
        return torch.addcmul(shift.to(x.dtype), x, 1 + gain.to(x.dtype))


def activate(x: Tensor) -> Tensor:
    """Apply the leaky ReLU of StyleGAN2 (Karras et al., CVPR 2020): slope 0.2, times sqrt(2) to keep the
    variance.
    """
    return F.leaky_relu(x, SLOPE) * GAIN


def normalise(x: Tensor) -> Tensor:
    """Scale each row, the last axis, to a mean square of 1."""
    return x * (x.square().mean(-1, keepdim=True) + 1e-8).rsqrt()


class EqualLinear(nn.Module):
    """A linear layer that keeps its weights near N(0, 1) and scales them on use, so that Adam changes every
    layer alike (equalised learning rate: Karras et al., ICLR 2018, section 4.1).

    rate: multiplies the learning rate. start: of the biases.
    """

    def __init__(
        self, inputs: int, outputs: int, *, bias: bool = True, start: float = 0.0, rate: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), start / rate)) if bias else None
        self.gain, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.gain, None if self.bias is None else self.bias * self.rate)


class EqualConv(nn.Module):
    """A convolution with an equalised learning rate, in one dimension (unpadded) or two (padded).

    down: halve the resolution, after the taps 1 3 3 1. active: then `activate`, whose factor goes into the
    weights.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        dims: int = 2,
        down: bool = False,
        active: bool = True,
        bias: bool = True,
        rate: float = 1.0,
    ) -> None:
        super().__init__()
        assert dims in (1, 2), dims
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *[kernel] * dims) / rate)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        after = GAIN if active else 1.0
        self.gain, self.rate = after * rate / math.sqrt(inputs * kernel**dims), after * rate
        self.kernel, self.dims, self.down, self.active = kernel, dims, down, active

    def forward(self, x: Tensor) -> Tensor:
        x = self._convolve(x, self.weight * self.gain, None if self.bias is None else self.bias * self.rate)
        return F.leaky_relu(x, SLOPE) if self.active else x

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.dims == 1:
            return F.conv1d(x, weight, bias)
        if not self.down:
            return F.conv2d(x, weight, bias, padding=self.kernel // 2)
        if self.kernel == 1:  # only the pixels that are kept
            return F.conv2d(smooth(x, 1, stride=2), weight, bias)
        return F.conv2d(smooth(x, 2), weight, bias, stride=2)


def smooth(x: Tensor, padding: int, stride: int = 1, gain: float = 1.0) -> Tensor:
    """Filter each channel with the taps 1 3 3 1 both ways, over zeros beyond the edges: [n, c, h, w]."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) * (math.sqrt(gain) / 8)
    n, c, h, w = x.shape
    if x.device.type == "cpu" and (max(h, w) > LARGEST_BAND or not x.requires_grad):
        kernel = repeat(torch.outer(taps, taps), "h w -> c 1 h w", c=c)
        return F.conv2d(x, kernel, stride=stride, padding=padding, groups=c)
    # As products with band matrices: a second derivative of a grouped convolution goes channel by channel.
    rows, columns = (
        F.conv1d(
            torch.eye(size, dtype=x.dtype, device=x.device)[:, None], taps[None, None], None, stride, padding
        )
        for size in (h, w)
    )
    return rows[:, 0].mT @ (x @ columns[:, 0])


def double(x: Tensor) -> Tensor:
    """Double the resolution of pictures [n, c, h, w] with the taps 1 3 3 1; the edges go on outside."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def convolve(x: Tensor, weight: Tensor, up: bool = False) -> Tensor:
    """Convolve with padding: x [n, i, h, w], weight [o, i, k, k], or [n, o, i, k, k] for one to each sample.

    up: to twice the resolution, a transposed convolution and then the taps 1 3 3 1 (StyleGAN2). Gives [n, o,
    h, w] or [n, o, 2 h, 2 w].
    """
    n, _, h, w = x.shape
    kernel = weight.shape[-1]
    if up:  # as products of matrices: faster on a processor than any transposed convolution of PyTorch
        taps = rearrange(weight, "... o i y x -> ... (o y x) i")
        return smooth(F.fold(taps @ x.flatten(2), (2 * h + 1, 2 * w + 1), kernel, stride=2), 1, gain=4.0)
    if weight.ndim == 4:
        return F.conv2d(x, weight, padding=kernel // 2)
    own = rearrange(weight, "n o i y x -> (n o) i y x")
    out = F.conv2d(rearrange(x, "n i h w -> 1 (n i) h w"), own, padding=kernel // 2, groups=n)
    return rearrange(out, "1 (n o) h w -> n o h w", n=n)


def batch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """Append a channel that says how much the samples of a group differ (minibatch standard deviation,
    Karras et al., ICLR 2018, section 3): [n, c, h, w] -> [n, c + 1, h, w].

    The groups have at most `group` samples, as many as divide n.
    """
    n, _, h, w = x.shape
    size = next(count for count in range(min(group, n), 0, -1) if n % count == 0)
    groups = rearrange(x.float(), "(g m) c h w -> g m c h w", g=size)
    deviation = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))  # m
    return torch.cat([x, repeat(deviation.to(x.dtype), "m -> (g m) 1 h w", g=size, h=h, w=w)], 1)
