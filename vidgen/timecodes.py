"""Time only: which times a training clip is read at, and what networks are told of time.

Letters in shapes: n clips, t frames, l motion codes, d dims. Times are in frames, and may be fractional.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from vidgen.errors import VidgenError
from vidgen.layers import EqualLinear


def sample_times(
    n: int,
    frames: int,
    generator: torch.Generator | None = None,
    longest: int = 32,
    *,
    length: int | None = None,
    fractional: bool = False,
) -> Tensor:
    """Draw the times of a few frames of each clip, [n, frames], ascending and different.

    From the first frame to the last it is a power of two, up to `longest`, drawn anew for each clip; the
    frames between lie at random whole distances (StyleGAN-V, Skorokhodov et al., CVPR 2022, section 3.3).
    length: frames that the clips have, so that no time is beyond length - 1 (default: just enough).
    fractional: the first time may lie between two frames.
    """
    length = longest + 1 if length is None else length
    shortest = max(frames - 1, 1)
    distances = [2**power for power in range(32) if shortest <= 2**power <= min(longest, length - 1)]
    if frames == 1:
        distances = [0]
    if not distances or n < 1 or frames < 1:
        raise VidgenError(
            f"{frames} frames at most {longest} apart do not fit clips of {length} frames, at distances that "
            "are powers of two."
        )
    draw = {"generator": generator}
    distance = torch.tensor(distances)[torch.randint(len(distances), (n,), **draw)]
    room = rearrange(length - 1 - distance, "n -> n 1").double()
    start = torch.rand(n, 1, dtype=torch.float64, **draw)
    start = start * room if fractional else (start * (room + 1)).floor()
    inner = torch.rand(n, max(distances[-1] - 1, 0), **draw)
    outside = torch.arange(1, inner.shape[1] + 1) >= rearrange(distance, "n -> n 1")
    middle = 1 + inner.masked_fill(outside, math.inf).argsort(1)[:, : max(frames - 2, 0)]
    ends = rearrange(distance, "n -> n 1")[:, : frames - 1]
    offsets = torch.cat([torch.zeros_like(distance)[:, None], middle.sort(1).values, ends], 1)
    return (start + offsets).float()


class AcyclicEncoding(nn.Module):
    """Encode time so that no clip ever repeats (StyleGAN-V, section 3.2, eq. 2 to 4).

    Motion codes u lie `distance` frames apart; a time t between the codes l and r, share a of the way, is
    encoded by sines whose periods and phases the code l chooses, pinned to the codes at both ends:

        e_l(t) = [sin, cos](f p t + s h),  p = tanh(A u_l) + 1,  h = B u_l
        v(t) = e_l(t) - lerp(e_l(t_l), e_l(t_r), a) + lerp(C u_l, C u_r, a)

    with f = 2 pi / period and s = longest / period for periods from `shortest` to `longest` frames, evenly
    spaced in their logarithm. So v is continuous, and C u at the codes themselves.

    relative: e_l counts t from its own code. Then the same codes give the same movement at any time of a
    clip, and a clip of any length moves as the training clips do; it still never repeats, as no two codes are
    the same. In the paper, the waves start elsewhere at every code.

    amplitudes: the code chooses each wave's amplitude with its phase, by one linear map to a point (x, y) in
    the plane: e_l(t) = [x sin(f p t) + y cos(f p t), x cos(f p t) - y sin(f p t)], (x, y) = B u_l. A Gaussian
    code then has all phases alike often, and a network that infers codes from clips need not know at which
    angle to begin again; in the paper's form, where s multiplies them, phases of fast waves are chance.
    """

    def __init__(
        self,
        dim: int,
        code_dim: int,
        distance: float,
        shortest: float,
        longest: float,
        relative: bool = False,
        amplitudes: bool = False,
    ) -> None:
        super().__init__()
        assert code_dim % 2 == 0, code_dim
        count, self.amplitudes = code_dim // 2, amplitudes
        self.distance, self.shortest, self.longest, self.relative = distance, shortest, longest, relative
        self.factors = EqualLinear(dim, count, bias=False)  # A
        self.phases = EqualLinear(dim, code_dim if amplitudes else count, bias=False)  # B
        self.pins = EqualLinear(dim, code_dim, bias=False)  # C

    def forward(self, codes: Tensor, times: Tensor, first: Tensor) -> Tensor:
        """Encode times [n, t] between codes [n, l, d], the first of them number `first` [n]: [n, t,
        code_dim].
        """
        left = (times / self.distance).floor()
        share = rearrange(times / self.distance - left, "n t -> n t 1")
        index = left.long() - rearrange(first, "n -> n 1")
        factor, phase = (
            rows(part(codes), index) for part in (self.factors, self.phases)
        )  # n t count, or twice as much; those of the code l
        period = log_spaced(self.shortest, self.longest, factor)  # highest frequency first
        speed = 2 * math.pi / period * (factor.tanh() + 1)

        def wave(at: Tensor) -> Tensor:
            angle = speed * rearrange(at, "n t -> n t 1")
            if self.amplitudes:
                x, y = phase.chunk(2, -1)
                return torch.cat([x * angle.sin() + y * angle.cos(), x * angle.cos() - y * angle.sin()], -1)
            angle = angle + self.longest / period * phase
            return torch.cat([angle.sin(), angle.cos()], -1)

        pins = self.pins(codes)
        pinned = torch.lerp(rows(pins, index), rows(pins, index + 1), share)
        start, end = left * self.distance, (left + 1) * self.distance
        if self.relative:
            times, start, end = times - start, torch.zeros_like(start), end - start
        return wave(times) - torch.lerp(wave(start), wave(end), share) + pinned


class DistanceFeatures(nn.Module):
    """Tell a network how far apart frames are: times [n, t] -> [n, (t - 1) d], d = 2 * waves + table.

    Sines and cosines of each distance between neighbours, at periods from 2 frames to twice `longest`, evenly
    spaced in their logarithm, and a learned row for each whole distance; in between, rows are mixed.
    """

    def __init__(self, longest: int, waves: int = 8, table: int = 16) -> None:
        super().__init__()
        self.dim, self.longest, self.waves = 2 * waves + table, longest, waves
        self.table = nn.Parameter(torch.randn(longest + 1, table))

    def forward(self, times: Tensor) -> Tensor:
        distance = (times[:, 1:] - times[:, :-1]).clamp(0, self.longest)
        period = log_spaced(2, 2 * self.longest, distance.new_empty(self.waves))
        angle = 2 * math.pi * rearrange(distance, "n t -> n t 1") / period
        below = distance.floor().long().clamp(max=self.longest - 1)
        share = rearrange(distance - below, "n t -> n t 1")
        learned = torch.lerp(self.table[below], self.table[below + 1], share)
        return rearrange(torch.cat([angle.sin(), angle.cos(), learned], -1), "n t d -> n (t d)")


def log_spaced(first: float, last: float, like: Tensor) -> Tensor:
    """Space numbers evenly in their logarithm, as many as `like` has columns: [d]."""
    steps = torch.linspace(0, 1, like.shape[-1], dtype=like.dtype, device=like.device)
    return first * (last / first) ** steps


def rows(path: Tensor, index: Tensor) -> Tensor:
    """Pick rows: path [n, l, d], index [n, t] -> [n, t, d]."""
    return path.gather(1, repeat(index, "n t -> n t d", d=path.shape[-1]))
