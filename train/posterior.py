"""Inference networks q(content | frames) and q(motion | clip), used only in training.

They tie the codes to real clips, as in VAE-GAN (Larsen et al., ICML 2016): the generator also redraws
real clips from their inferred codes. The content network sees single frames of the same subject, where the
data has them in *other* categories, so that nothing of the motion can hide in the content code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from torch import Tensor, nn

LEAST_LOG_VARIANCE = -8.0
EPSILON = 1e-6


def _down(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 4, 2, 1), nn.GroupNorm(8, after), nn.LeakyReLU(0.2))


class ContentPosterior(nn.Module):
    """q(z_C | frames): frames [n, f, c, h, w] -> mean and log variance, [n, d_C] each.

    pooled: the strongest response of every feature, wherever in the frame, joins in. Without it a subject
    that moves about the frame hides its colour behind its position. standard: `StandardMoments`.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        content_dim: int,
        width: int = 32,
        pooled: bool = True,
        standard: bool = False,
    ) -> None:
        super().__init__()
        self.pooled = pooled
        widths = [channels]
        while size > 4:
            widths.append(width if len(widths) == 1 else min(widths[-1] * 2, width * 8))
            size //= 2
        self.body = nn.Sequential(*(_down(a, b) for a, b in zip(widths, widths[1:], strict=False)))
        self.head = nn.Linear(widths[-1] * 16 + (sum(widths[1:]) if pooled else 0), 2 * content_dim)
        self.moments = StandardMoments(content_dim) if standard else _moments

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        x, n, strongest = rearrange(frames, "n f c h w -> (n f) c h w"), len(frames), []
        for level in self.body:
            x = level(x)
            strongest.append(reduce(x.float(), "(n f) c h w -> n c", "max", n=n))
        merged = reduce(x.flatten(1).float(), "(n f) d -> n d", "mean", n=n)
        features = torch.cat([merged, *strongest], 1) if self.pooled else merged
        return self.moments(self.head(features))


class FrameReader(nn.Module):
    """Say what is seen in each frame alone: clip [n, t, c, h, w] -> [n, t, SEEN]."""

    SEEN = 128

    def __init__(self, size: int, channels: int, width: int = 32) -> None:
        super().__init__()
        self.side = min(size, 32)
        widths = [channels, width, 2 * width, 4 * width]
        self.body = nn.Sequential(*(_down(a, b) for a, b in zip(widths, widths[1:], strict=False)))
        self.squeeze = nn.Sequential(
            nn.Linear(widths[-1] * (self.side // 8) ** 2, self.SEEN), nn.LeakyReLU(0.2)
        )

    def forward(self, clip: Tensor) -> Tensor:
        small = F.adaptive_avg_pool2d(rearrange(clip, "n t c h w -> (n t) c h w"), self.side)
        return rearrange(self.squeeze(self.body(small).flatten(1)), "(n t) d -> n t d", n=len(clip)).float()


class MotionPosterior(FrameReader):
    """q(h_0, eps | clip, category) of MoCoGAN: mean and log variance, [n, t + 1, d_E] each."""

    def __init__(self, size: int, channels: int, motion_dim: int, num_labels: int, width: int = 32) -> None:
        super().__init__(size, channels, width)
        self.num_labels = num_labels
        self.gru = nn.GRU(self.SEEN + num_labels, 128, batch_first=True, bidirectional=True)
        self.start = nn.Linear(256, 2 * motion_dim)
        self.steps = nn.Linear(256 + self.SEEN, 2 * motion_dim)

    def forward(self, clip: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        seen = super().forward(clip)
        hidden, _ = self.gru(_with_label(seen, label, self.num_labels))
        rows = torch.cat(
            [self.start(hidden.mean(1, keepdim=True)), self.steps(torch.cat([hidden, seen], -1))], 1
        )
        return _moments(rows)


class KnotPosterior(nn.Module):
    """q(u | clip, category) of MoStGAN-V: mean and log variance of all knots that a clip touches, [n, l, d]
    each.

    Knots choose waves, and to find a wave's amplitude is to weigh all frames by it: so what changes in the
    clip is read as a whole, frame by frame through weights of its own. A recurrent network would have to
    learn to swing at each wave's period first.

    length: frames of a clip. clocks: periods, in frames, of the waves that tell at what time the clip begins:
    the positional encoding may depend on the time itself, so that the same movement needs other knots at
    another time.
    """

    CHANGES = 24  # features of each frame

    def __init__(self, length: int, knots: int, motion_dim: int, num_labels: int, clocks: Tensor) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.register_buffer("clocks", 2 * torch.pi / clocks)
        self.changes = nn.Linear(FrameReader.SEEN, self.CHANGES)
        inputs = self.CHANGES * length + FrameReader.SEEN + 2 * len(clocks) + num_labels
        self.first = nn.Linear(inputs, 256)
        self.place = nn.Parameter(torch.randn(knots, 256))  # tells the knots apart
        self.second = nn.Linear(256, 2 * motion_dim)
        self.moments = StandardMoments(motion_dim)

    def forward(self, seen: Tensor, start: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Infer: seen [n, t, d] of a `FrameReader`, start [n], the time of the clip's first frame, label
        [n].
        """
        mean, turned = seen.mean(1, keepdim=True), start[:, None] * self.clocks
        whole = torch.cat([self.changes(seen - mean).flatten(1), mean[:, 0], turned.sin(), turned.cos()], 1)
        hidden = self.first(_with_label(whole, label, self.num_labels))
        return self.moments(self.second(F.leaky_relu(hidden[:, None] + self.place, 0.2)))


class PosePosterior(nn.Module):
    """q(v | frame, category) of MoStGAN-V's motion code, frame by frame: from few values, with mean 0 and
    variance 1 over the data.

    A teacher for the first part of the training: the generator learns what motion codes show, and the knots
    which codes to pass through. From knots alone neither begins, as each waits for the other.

    still: keep what is the same in all of a clip's frames. Without it nothing of the content can hide there,
    and all of the values' variance is movement, but where a clip's mean pose is, the codes do not tell.
    """

    def __init__(self, dim: int, code_dim: int, num_labels: int, still: bool = True) -> None:
        super().__init__()
        self.num_labels, self.still = num_labels, still
        self.few = nn.Linear(FrameReader.SEEN + num_labels, 2 * dim)
        self.moments = StandardMoments(dim)
        self.codes = nn.Sequential(nn.Linear(dim, code_dim), nn.BatchNorm1d(code_dim, affine=False))

    def forward(self, seen: Tensor, label: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Infer: seen [n, t, d], label [n] -> v, drawn, [n, t, code_dim], and the few values' moments."""
        few = self.few(_with_label(seen, label, self.num_labels)).float()
        if not self.still:
            mean, spread = few.chunk(2, -1)
            few = torch.cat([mean - mean.mean(1, keepdim=True), spread], -1)
        moments = self.moments(few)
        codes = self.codes(rearrange(draw(*moments), "n t d -> (n t) d"))
        return rearrange(codes, "(n t) d -> n t d", n=len(seen)), moments


def _with_label(features: Tensor, label: Tensor | None, num_labels: int) -> Tensor:
    """Join the one-hot category, if there are any, to features [n, d] or [n, t, d]."""
    if not num_labels:
        return features
    assert label is not None
    which = F.one_hot(label, num_labels).to(features.dtype)
    if features.ndim == 3:
        which = repeat(which, "n d -> n t d", t=features.shape[1])
    return torch.cat([features, which], -1)


class StandardMoments(nn.Module):
    """Split a head's outputs [..., 2 d] into mean and log variance, [..., d] each, of which no price can
    silence the mean: each of its dimensions has mean 0 and variance 1 over the data (Zhu et al., ACL 2020).

    The statistics are running ones, and the gradient is as if they were the batch's own (batch
    renormalisation, Ioffe, NeurIPS 2017): a few clips' own statistics would shift every code by chance. The
    variance stays below the prior's: beyond it there is nothing but noise.
    """

    MOMENTUM = 0.02
    FURTHEST = 3.0  # r_max and d_max: how far a batch may be off the running statistics

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))

    def forward(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = outputs.float().chunk(2, -1)
        log_variance = LEAST_LOG_VARIANCE * torch.sigmoid(-0.5 * spread)  # half-way for 0
        if not self.training:
            return (mean - self.running_mean) / (self.running_var + EPSILON).sqrt(), log_variance
        rows = mean.flatten(0, -2)
        centre, deviation = rows.mean(0), (rows.var(0, unbiased=False) + EPSILON).sqrt()
        with torch.no_grad():
            self._track(centre, deviation.square())
            running = (self.running_var + EPSILON).sqrt()
            r = (deviation / running).clamp(1 / self.FURTHEST, self.FURTHEST)
            d = ((centre - self.running_mean) / running).clamp(-self.FURTHEST, self.FURTHEST)
        return (mean - centre) / deviation * r + d, log_variance

    def _track(self, centre: Tensor, variance: Tensor) -> None:
        """Move the running statistics; the variance counts how far apart batches lie, too (West, 1979)."""
        share = max(self.MOMENTUM, 1 / (float(self.num_batches_tracked) + 1))
        off = centre - self.running_mean
        self.running_mean += share * off
        self.running_var.lerp_(variance + (1 - share) * off.square(), share)
        self.num_batches_tracked += 1


def _moments(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Split a head's outputs; a narrow start (std 0.14) lets the signal through before the noise teaches to
    ignore it.
    """
    mean, log_variance = outputs.float().chunk(2, -1)
    return mean, (log_variance - 4).clamp(LEAST_LOG_VARIANCE, 4)


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Put networks in eval mode for a while."""
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network in networks:
            network.train()


def draw(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Draw from N(mean, exp(log_variance)), differentiably."""
    return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
