"""Layers of the rendering path: the functions of the layers they are made from, in faster forms that need no
gradient.

A 4x4 transposed convolution of stride 2 is here one matrix product (`Col2Im`, for small maps) or one 2x2
convolution (`Windows`). For the latter, each output pixel reads two by two input pixels, through one of four
kernels by the parity of its row and column. The 2x2 convolution computes all four for every window, [n, (row
parity, column parity, c), h + 1, w + 1]; the output pixel (y, x) is at window ((y + 1) // 2, (x + 1) // 2).
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vidgen.layers import Modulation

PARITIES = list(itertools.product((0, 1), (0, 1)))  # of row and column


def fold_norm(conv: nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> nn.ConvTranspose2d:
    """Merge a BatchNorm into the transposed convolution before it: the same function in eval mode."""
    return fuse_conv_bn_eval(conv.eval(), norm.eval(), transpose=True)


class FirstMap(nn.Module):
    """A transposed convolution of one pixel, without padding, as a matrix product: [n, d, 1, 1] -> [n, c, k,
    k], channels last.
    """

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.side = conv.kernel_size[0]
        self.weight = nn.Parameter(rearrange(conv.weight.detach(), "d c h w -> (h w c) d").contiguous())
        self.bias = nn.Parameter(conv.bias.detach().repeat(self.side**2))

    def forward(self, x: Tensor) -> Tensor:
        flat = F.linear(x.flatten(1), self.weight, self.bias)
        return rearrange(flat, "n (h w c) -> n c h w", h=self.side, w=self.side)


class Modulate(nn.Module):
    """A `Modulation`, or none, and a ReLU, in place: fresh memory for each map costs more than the sums, and
    no gradient passes.

    copies: of the channels, one after the other, that get the same gain and shift.
    """

    def __init__(self, modulation: nn.Module, copies: int = 1) -> None:
        super().__init__()
        self.affine: nn.Linear | None = None
        if isinstance(modulation, Modulation):
            parts = [
                repeat(part, "(two c) ... -> (two copies c) ...", two=2, copies=copies)
                for part in (modulation.affine.weight.detach(), modulation.affine.bias.detach())
            ]
            self.affine = nn.Linear(parts[0].shape[1], parts[0].shape[0])
            self.affine.weight, self.affine.bias = nn.Parameter(parts[0]), nn.Parameter(parts[1])

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        if self.affine is not None:
            gain, shift = rearrange(self.affine(code), "n (two c) -> two n c 1 1", two=2)
            torch.addcmul(shift, x, 1 + gain, out=x)
        return x.relu_()


def check_doubling(conv: nn.ConvTranspose2d) -> None:
    """Stop where a layer is not a 4x4 transposed convolution of stride 2."""
    assert (conv.kernel_size, conv.stride, conv.padding) == ((4, 4), (2, 2), (1, 1)), conv


class Col2Im(nn.Module):
    """A 4x4 transposed convolution of stride 2 as one matrix product, whose rows are added up where they
    overlap: [n, i, h, w] -> [n, c, 2 h, 2 w], channels last.

    For small maps of many channels, where reading the weights costs more than the sums. The product is
    written as a 1x1 convolution: oneDNN does it at its full speed on every processor, where the library
    behind `F.linear` leaves AMD's half idle.
    """

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        super().__init__()
        check_doubling(conv)
        self.weight = nn.Parameter(rearrange(conv.weight.detach(), "i c y x -> (y x c) i 1 1").contiguous())
        self.bias = nn.Parameter(conv.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        # The taps (2 a + y, 2 b + x), for all (y, x), draw a block of 2x2 pixels.
        shape = {"a": 2, "b": 2, "y": 2, "x": 2}
        blocks = rearrange(F.conv2d(x, self.weight), "n (a y b x c) h w -> a b n h y w x c", **shape)
        drawn = self.bias.float().repeat(n, h + 1, 2, w + 1, 2, 1)
        for a, b in itertools.product((0, 1), repeat=2):
            drawn[:, a : a + h, :, b : b + w] += blocks[a, b]
        return rearrange(drawn.to(x.dtype), "n h y w x c -> n c (h y) (w x)")[:, :, 1:-1, 1:-1]


class Windows(nn.Module):
    """The 2x2 convolution of a 4x4 transposed convolution of stride 2: [n, i, h, w] -> [n, 4 c, h + 1, w +
    1].
    """

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        super().__init__()
        check_doubling(conv)
        taps = [[3, 1], [2, 0]]  # that a row (column) of even and of odd number reads
        kernels = [conv.weight.detach()[:, :, taps[row]][:, :, :, taps[column]] for row, column in PARITIES]
        self.weight = nn.Parameter(rearrange(torch.stack(kernels), "four i o h w -> (four o) i h w"))
        self.bias = nn.Parameter(conv.bias.detach().repeat(4))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=1)


class Doubling(nn.Module):
    """A 4x4 transposed convolution of stride 2: [n, i, h, w] -> [n, c, 2 h, 2 w]."""

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.windows = Windows(conv)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:  # noqa: ARG002 (the signature of an end)
        (n, _, h, w), windows = x.shape, self.windows(x)
        channels = windows.shape[1] // 4
        kind = {"dtype": windows.dtype, "device": windows.device, "memory_format": torch.channels_last}
        out = torch.empty((n, channels, 2 * h, 2 * w), **kind)
        for (row, column), part in zip(PARITIES, windows.split(channels, 1), strict=True):
            out[:, :, row::2, column::2] = part[:, :, row : row + h, column : column + w]
        return out


class DoublingConv(nn.Module):
    """A 4x4 transposed convolution of stride 2, a modulation, a ReLU and a 3x3 convolution: [n, i, h, w] ->
    [n, c, 2 h, 2 w].

    The map between them is never laid out: the last convolution reads the windows, and draws four pixels at
    each.
    """

    def __init__(self, up: nn.ConvTranspose2d, modulation: nn.Module, last: nn.Conv2d) -> None:
        super().__init__()
        self.windows, self.modulate = Windows(up), Modulate(modulation, 4)
        weight = last.weight.detach().new_zeros(2, 2, last.out_channels, 2, 2, up.out_channels, 2, 2)
        for row, column in PARITIES:  # of the pixel drawn
            for y, x in itertools.product(range(3), range(3)):  # row + y - 1, column + x - 1: the pixel read
                read = (row + y - 1) % 2, (column + x - 1) % 2
                window = (row + y) // 2, (column + x) // 2
                weight[(row, column, slice(None), *read, slice(None), *window)] = last.weight.detach()[
                    ..., y, x
                ]
        self.weight = nn.Parameter(rearrange(weight, "a b o c d i h w -> (a b o) (c d i) h w").contiguous())
        self.bias = nn.Parameter(last.bias.detach().repeat(4))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        windows = self.modulate(self.windows(x), code)
        outside = rearrange(windows, "n (a b c) h w -> a b n c h w", a=2, b=2)  # pixels beyond the edges
        outside[1, :, ..., 0, :] = 0
        outside[0, :, ..., -1, :] = 0
        outside[:, 1, ..., 0] = 0
        outside[:, 0, ..., -1] = 0
        drawn = F.conv2d(windows, self.weight, self.bias)
        pixels = rearrange(drawn, "n (a b o) h w -> n (h a) (w b) o", a=2, b=2)
        return rearrange(pixels, "n h w o -> n o h w")  # channels last, as bytes are wanted
