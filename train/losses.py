"""Losses as pure tensor functions: logits or samples in, a scalar out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor

KINDS = ("bce", "hinge")  # of the adversarial losses: the non-saturating logistic one, and the hinge


def discriminator_loss(real: Tensor, fake: Tensor, kind: str) -> Tensor:
    """Score a discriminator: "hinge" (Lim & Ye 2017) or "bce", the original minimax loss; logits of any
    shape.
    """
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor, kind: str) -> Tensor:
    """Score a generator: the hinge loss's counterpart, or the non-saturating loss (Goodfellow 2014)."""
    return -fake.mean() if kind == "hinge" else F.softplus(-fake).mean()


def gradient_penalty(logits: Tensor, seen: Tensor) -> Tensor:
    """R1 (Mescheder et al., ICML 2018): the squared norm of the gradient of logits [n] by what they were
    given for, seen [n, ...], mean over n.
    """
    (slope,) = torch.autograd.grad(logits.sum(), seen, create_graph=True)
    return slope.square().flatten(1).sum(1).mean()


def spread(frames: Tensor, size: int = 16) -> Tensor:
    """Measure how much pictures [n, c, h, w] differ in what is where, 0 to 2: mean distance of all pairs, at
    `size` px at most (grain does not count), less each one's mean colour and at length 1 (nor do brightness
    and contrast, which are easily varied).
    """
    n, side = len(frames), min(size, frames.shape[-1])
    small = F.adaptive_avg_pool2d(frames.float(), side)
    rows = F.normalize((small - small.mean((2, 3), keepdim=True)).flatten(1), dim=1)
    return torch.cdist(rows, rows).sum() / max(n * (n - 1), 1)


def collapse_loss(drawn: Tensor, real: Tensor) -> Tensor:
    """Punish pictures [n, c, h, w] that differ less from each other than real ones [m, c, h, w] do: the log
    of the ratio of their spreads, 0 from the real ones' on. As mode seeking (Mao et al., CVPR 2019) it keeps
    codes from being ignored, but the data say how much is enough.
    """
    return F.relu((spread(real) + 1e-3).log() - (spread(drawn) + 1e-3).log())


def energy_loss(drawn: Tensor, real: Tensor, times: Tensor) -> Tensor:
    """Compare how fast clips [n, t, c, h, w] of frames at `times` [n, t], in frames, change with real ones,
    whose frames are as far apart: the size of the log of the ratio of their speeds, 0 where they are alike. A
    speed is the mean absolute difference of neighbouring frames, divided by their distance in time, so that
    close ones weigh most: over a long gap, fast and slow clips differ about as much.
    """
    apart = times.diff(dim=1)
    moved, wanted = (
        (video.float().diff(dim=1).abs().mean((2, 3, 4)) / apart).mean() for video in (drawn, real)
    )
    return ((moved + 1e-3).log() - (wanted + 1e-3).log()).abs()


def colour_histogram(frames: Tensor, bins: int = 6) -> Tensor:
    """Count the colours of frames [m, 3, h, w] in [-1, 1]: a histogram, [m, bins^3], of `bins` levels of each
    of red, green and blue; a colour between levels counts for its neighbours by its nearness.
    """
    at = (frames.float().clamp(-1, 1) + 1) / 2 * (bins - 1)
    levels = torch.arange(bins, device=frames.device, dtype=at.dtype)[:, None, None]
    red, green, blue = (1 - (at[:, :, None] - levels).abs()).clamp(min=0).flatten(3).unbind(1)  # m bins hw
    pairs = rearrange(red[:, :, None] * green[:, None], "m r g p -> m (r g) p")
    with torch.autocast(frames.device.type, enabled=False):  # counts of few pixels need all their digits
        return (pairs @ blue.mT).flatten(1) / pairs.shape[-1]


def appearance(video: Tensor) -> list[Tensor]:
    """Summarise what clips [n, t, c, h, w] look like as wholes, [n, d] each: mean colours, contrast,
    sharpness (the mean absolute difference from the mean of the 3 x 3 pixels about each) and, of colour
    frames, the colour histogram.
    """
    frames = rearrange(video.float(), "n t c h w -> (n t) c h w")
    sharpness = (frames - F.avg_pool2d(frames, 3, 1, 1, count_include_pad=False)).abs().mean((1, 2, 3))
    contrast = frames.std((2, 3)).mean(1)
    each = [frames.mean((2, 3)), contrast[:, None], sharpness[:, None]]
    if frames.shape[1] == 3:
        each.append(colour_histogram(frames))
    return [reduce(part, "(n t) d -> n d", "mean", n=len(video)) for part in each]


def movement(video: Tensor, size: int = 16) -> list[Tensor]:
    """Map where clips [n, t, c, h, w] move, [n, (t - 1) size size]: between neighbouring frames, the mean
    absolute difference in each place of a grid of `size` by `size`, as a share of the whole frame's.
    """
    changed = video.float().diff(dim=1).abs().mean(2)  # n t h w
    small = F.adaptive_avg_pool2d(changed, min(size, video.shape[-1])).flatten(2)
    return [(small / (small.sum(-1, keepdim=True) + 1e-3)).flatten(1)]


def consistency_loss(seen: list[Tensor], own: Tensor, other: Tensor) -> Tensor:
    """Tell how far a code alone decides what is seen in clips, [n, d] each: the distance of clips that share
    it, as a share of the distance of those that share no code, mean over what is seen; 0 where it decides
    all, about 1 where it decides nothing. own, other: where each clip's code, and its other code, come from,
    [n].
    """
    alike = own[:, None] == own
    strangers = ~alike & (other[:, None] != other)
    alike = alike & ~torch.eye(len(own), dtype=torch.bool, device=own.device)
    shares = []
    for part in seen:
        apart = (part[:, None] - part).abs().mean(-1)  # n n
        shares.append(apart[alike].mean() / (apart[strangers].mean() + 1e-4))
    return torch.stack(shares).mean()


def teacher_loss(drawn: Tensor, taught: Tensor, size: int) -> Tensor:
    """Compare clips [n, t, c, h, w] with a teacher's of the same codes: mean absolute difference, at `size`
    px. What is where stays, and the codes' control over it; details are the discriminator's.
    """
    small = (F.adaptive_avg_pool2d(video.flatten(0, 1).float(), size) for video in (drawn, taught))
    return F.l1_loss(*small)


def category_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of Q(category | clip) (InfoGAN, Chen et al. 2016): logits [n, classes], label [n]."""
    return F.cross_entropy(logits, label)


def kl_to_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) in nats, summed over all but the first axis, mean over it."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).flatten(1).sum(1).mean()


def distance_to_prior(
    drawn: Tensor, moments: tuple[Tensor, Tensor], noise: Tensor, log_det: Tensor
) -> Tensor:
    """Estimate KL(N(mean, exp(log_variance)) || prior) in nats from one draw each, mean over the first axis.

    drawn [n, d] of the moments (mean, log variance); noise [n, d] that the prior's flow makes it of, and the
    log determinant [n] of the map from drawn to noise.
    """
    mean, log_variance = moments
    own = -0.5 * ((drawn - mean).square() / log_variance.exp() + log_variance).sum(-1)
    return (own + 0.5 * noise.square().sum(-1) - log_det).mean()


def redraw_error(drawn: Tensor, wanted: Tensor, still: Tensor, emphasis: float = 8.0) -> Tensor:
    """Score redrawn frames: mean absolute error, for sharp edges, plus twice the mean squared error.

    drawn, wanted [n, f, c, h, w]; still [n, 1, c, h, w], the clip's mean frame. A pixel counts 1 + emphasis
    times its
    distance from it: limbs are few pixels, and would otherwise be left out in favour of clothes.
    """
    weight = 1 + emphasis * (wanted - still).abs()
    difference = drawn - wanted
    return (weight * (difference.abs() + 2 * difference.square())).mean()


def feature_distance(found: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Mean absolute difference of activations, layer by layer, against `wanted` without its gradient."""
    terms = [(a - b.detach()).abs().mean() for a, b in zip(found, wanted, strict=True)]
    return torch.stack(terms).mean()
