"""Augmentation that is the same on all frames of a clip, and so on their differences, and differentiable."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

GREY = 3**-0.5  # each entry of the unit vector along which the three colours are equal


def translate(video: Tensor, reach: int, generator: torch.Generator | None = None) -> Tensor:
    """Shift each clip by up to `reach` px, edges repeated (DiffAugment, Zhao et al. 2020): video [n, t, c, h,
    w] -> the same shape.
    """
    if reach == 0:
        return video
    n, t, _, h, w = video.shape
    padded = F.pad(rearrange(video, "n t c h w -> n (t c) h w"), (reach,) * 4, mode="replicate")
    shift = torch.randint(0, 2 * reach + 1, (n, 2), generator=generator).tolist()
    moved = [clip[:, y : y + h, x : x + w] for clip, (y, x) in zip(padded, shift, strict=True)]
    return rearrange(torch.stack(moved), "n (t c) h w -> n t c h w", t=t)


def mirror(video: Tensor, which: Tensor) -> Tensor:
    """Mirror the clips that `which` [n] marks: video [n, t, c, h, w] -> the same shape."""
    return torch.where(rearrange(which, "n -> n 1 1 1 1"), video.flip(-1), video)


def placements(n: int, chance: float) -> Tensor:
    """Draw where each clip's pixels come from: affine maps [n, 2, 3] of coordinates in [-1, 1].

    Shifts by up to an eighth of the frame, sizes 2^N(0, 0.2) and turns by any angle, each for a share
    `chance` of the clips (Karras et al., NeurIPS 2020, appendix B).
    """
    shift = _some(n, chance)[:, None] * (torch.rand(n, 2) * 0.5 - 0.25)
    scale = 2 ** (0.2 * _some(n, chance) * torch.randn(n))
    angle = math.pi * _some(n, chance) * (2 * torch.rand(n) - 1)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    turn = rearrange(torch.stack([cosine, -sine, sine, cosine], 1), "n (a b) -> n a b", b=2)
    return torch.cat([turn, shift[..., None]], 2)


def colourings(n: int, chance: float) -> tuple[Tensor, Tensor]:
    """Draw what becomes of each clip's colours: matrices [n, 3, 3] and shifts [n, 3].

    Brightness N(0, 0.2), contrast 2^N(0, 0.5) and saturation 2^N(0, 1), each for a share `chance` of the
    clips.
    """
    brightness = 0.2 * _some(n, chance) * torch.randn(n)
    contrast = 2 ** (0.5 * _some(n, chance) * torch.randn(n))
    saturation = 2 ** (_some(n, chance) * torch.randn(n))
    grey = torch.full((3, 3), GREY**2)
    matrix = grey + saturation[:, None, None] * (torch.eye(3) - grey)
    return contrast[:, None, None] * matrix, repeat(brightness, "n -> n c", c=3)


def _some(n: int, chance: float) -> Tensor:
    return (torch.rand(n) < chance).float()


class AdaptiveAugment(nn.Module):
    """Change clips with a chance that follows how well the discriminator knows the real ones by heart (ADA,
    Karras et al., NeurIPS 2020, section 3).

    target: the mean sign of its logits on real clips that is aimed at. images: clips after which the chance
    can have gone from 0 to 1.
    """

    LARGEST = 0.8  # above, the changes would show in the generated clips

    def __init__(self, target: float, images: int) -> None:
        super().__init__()
        self.target, self.images = target, images
        self.register_buffer("chance", torch.zeros(()))
        self.register_buffer("trust", torch.zeros(()))  # a running mean of the sign

    def forward(self, video: Tensor) -> Tensor:
        """Change clips [n, t, c, h, w]; draws from torch's global generator on the CPU."""
        chance = float(self.chance)
        if chance == 0:
            return video
        n, t, c = video.shape[:3]  # colours are changed where there are three
        place = placements(n, chance).to(video.device)
        plain = torch.eye(2, 3, device=video.device)
        moved = (place != plain).any(-1).any(-1)  # the others keep their pixels, which no filter blurs
        frames = rearrange(video.float(), "n t c h w -> n (t c) h w")
        grid = F.affine_grid(place, list(frames.shape), align_corners=False)
        drawn = F.grid_sample(frames, grid, padding_mode="reflection", align_corners=False)
        out = torch.where(moved[:, None, None, None], drawn, frames)
        out = rearrange(out, "n (t c) h w -> n t c h w", t=t)
        if c == 3:
            matrix, shift = (part.to(video.device) for part in colourings(n, chance))
            out = torch.einsum("nij,ntjhw->ntihw", matrix, out) + shift[:, None, :, None, None]
        return out

    def adapt(self, logits: Tensor) -> None:
        """Move the chance a little, after logits [n] of real clips."""
        with torch.no_grad():
            self.trust.lerp_(logits.float().sign().mean(), 0.1)
            change = torch.sign(self.trust - self.target) * len(logits) / self.images
            self.chance.add_(change).clamp_(0, self.LARGEST)
