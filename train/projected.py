"""Discriminators of frozen features (Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021): they
begin with what photographs taught a network, where others must first learn to see.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from train.pretrained import CHANNELS, SIZE, EfficientNetLite, pretrained
from vidgen.layers import batch_deviation
from vidgen.models.clip_discriminator import ClipCondition

LAST = 4  # px of the maps that are judged
CRITICS = ("frames", "projected")  # discriminators of a trainer: its paper's, or of frozen features


class Mixer(nn.Module):
    """Mix features over channels and scales by fixed random convolutions (section 3.2): the discriminators
    cannot settle on a few features and leave the rest alone.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        for index, channels in enumerate(CHANNELS):
            self.register_buffer(f"across{index}", torch.randn(width, channels, 1, 1) / channels**0.5)
            self.register_buffer(f"down{index}", torch.randn(width, width, 3, 3) / (9 * width) ** 0.5)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """From the coarsest on, each scale joins the next finer one; finest first, as they came."""
        mixed: list[Tensor] = []
        for index, own in reversed(list(enumerate(features))):
            x = F.conv2d(own, getattr(self, f"across{index}"))
            if mixed:
                x = (x + F.interpolate(mixed[-1], scale_factor=2.0, mode="bilinear")) / math.sqrt(2)
            mixed.append(F.conv2d(x, getattr(self, f"down{index}"), padding=1))
        return mixed[::-1]


class Deviation(nn.Module):
    """Show how much the clips of a batch differ: a sign where all are alike (Karras et al., ICLR 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        return batch_deviation(x)


class ProjectedDiscriminator(nn.Module):
    """Judge a few frames of a clip by their features at four scales, each put together on the channel axis.

    It knows how far apart the frames are, and their category, as `clip_discriminator.Discriminator` does
    (StyleGAN-V, section 3.3): each place's logit is a product with what those say. frames: of a clip. width:
    channels of each frame. longest: distance of neighbours that is told apart from longer ones, in frames.
    deviation: show how much the clips of a batch differ, which says something only where real and generated
    batches are drawn alike.
    Unlike the paper's, it has spectral norm alone: batch norm, of real and of generated frames apart, takes
    their mean colours away, and on small batches colours ran wild.
    """

    def __init__(
        self,
        size: int,
        *,
        frames: int = 3,
        num_labels: int = 0,
        longest: int = 32,
        width: int = 32,
        embedding_dim: int = 128,
        deviation: bool = True,
    ) -> None:
        super().__init__()
        self.frames = frames
        self._frozen = (pretrained(),)  # in a tuple, so that it is no part of what is trained or saved
        self.mixer = Mixer(width)
        self.scales = nn.ModuleList()
        for index in range(len(CHANNELS)):
            side, inputs, layers = max(size, SIZE) // 4 // 2**index, frames * width, []
            while side > LAST:
                outputs = min(2 * width if not layers else 2 * inputs, 4 * width)
                layers += [spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1)), nn.LeakyReLU(0.2)]
                side, inputs = side // 2, outputs
            layers += [Deviation()] if deviation else []
            layers += [spectral_norm(nn.Conv2d(inputs + int(deviation), embedding_dim, 3, 1, 1))]
            self.scales.append(nn.Sequential(*layers))
        self.condition = ClipCondition(frames, longest, num_labels, embedding_dim)

    @property
    def frozen(self) -> EfficientNetLite:
        """The network whose features are judged."""
        return self._frozen[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ProjectedDiscriminator:
        """Take the frozen network along to another device."""
        self.frozen._apply(fn)
        return super()._apply(fn, recurse)

    def features(self, frames: Tensor) -> list[Tensor]:
        """Describe single frames [m, c, h, w]: the frozen network's four maps, finest first."""
        return self.frozen(frames)

    def forward(self, video: Tensor, times: Tensor, label: Tensor | None = None) -> Tensor:
        """Judge clips: video [n, t, c, h, w], times [n, t] ascending, in frames, label [n] or None -> logits
        [n, places of all scales].
        """
        assert video.shape[1] == times.shape[1] == self.frames, (video.shape, times.shape, self.frames)
        n = len(video)
        maps = self.mixer(self.features(rearrange(video, "n t c h w -> (n t) c h w")))
        told = self.condition(times, label)
        logits = []
        for x, scale in zip(maps, self.scales, strict=True):
            found = scale(rearrange(x, "(n t) c h w -> n (t c) h w", n=n)).float()
            logits.append((found.flatten(2) * told[..., None]).sum(1) / math.sqrt(told.shape[1]))
        return torch.cat(logits, 1)


class ProjectedImages(nn.Module):
    """Judge single frames [m, c, h, w], given their category [m] or None: logits [m, places of all scales],
    and no class logits, as a `models.mocogan.Discriminator` gives them.
    """

    def __init__(self, size: int, num_labels: int = 0, width: int = 64, deviation: bool = True) -> None:
        super().__init__()
        self.clips = ProjectedDiscriminator(
            size, frames=1, num_labels=num_labels, width=width, deviation=deviation
        )

    @property
    def frozen(self) -> EfficientNetLite:
        """The network whose features are judged."""
        return self.clips.frozen

    def forward(self, frames: Tensor, label: Tensor | None = None) -> tuple[Tensor, None]:
        times = frames.new_zeros(len(frames), 1)
        return self.clips(rearrange(frames, "m c h w -> m 1 c h w"), times, label), None
