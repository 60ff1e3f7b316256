"""The discriminator of StyleGAN-V and MoStGAN-V: it sees a few frames of a clip and how far apart they are
(Skorokhodov, Tulyakov, Elhoseiny, CVPR 2022, section 3.3; Shen, Li, Elhoseiny, CVPR 2023, section 3.4).

Letters in shapes: n clips, t frames, m frames of any clips, d dims, c h w the frame.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from vidgen.errors import VidgenError
from vidgen.layers import EqualConv, EqualLinear, activate, batch_deviation, normalise
from vidgen.timecodes import DistanceFeatures

CONCAT_SIZE = 16  # resolution at which the frames of a clip are put together


class DiscriminatorBlock(nn.Module):
    """Halve the resolution of features, with a shortcut (StyleGAN2): [m, i, h, w] -> [m, o, h / 2, w / 2]."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualConv(inputs, width, 3)
        self.second = EqualConv(width, outputs, 3, down=True)
        self.shortcut = EqualConv(inputs, outputs, 1, down=True, active=False, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.second(self.first(x)) + self.shortcut(x)) / math.sqrt(2)


class ClipCondition(nn.Module):
    """Embed what a discriminator is told about a clip, the distances of its frames and its category: times
    [n, t] ascending, in frames, label [n] or None -> [n, d] of unit second moment (StyleGAN-V, section 3.3).
    """

    def __init__(self, frames: int, longest: int, num_labels: int, dim: int) -> None:
        super().__init__()
        self.distances = DistanceFeatures(longest)
        self.labels = nn.Embedding(num_labels, dim) if num_labels else None
        told = 1 + (frames - 1) * self.distances.dim + (dim if num_labels else 0)
        self.layers = nn.ModuleList([EqualLinear(told, dim), EqualLinear(dim, dim)])

    def forward(self, times: Tensor, label: Tensor | None) -> Tensor:
        times = times.float()
        with torch.autocast(times.device.type, enabled=False):
            parts = [torch.ones_like(times[:, :1]), self.distances(times)]
            if self.labels is not None:
                assert label is not None
                parts.append(self.labels(label))
            x = torch.cat(parts, 1)
            for layer in self.layers:
                x = activate(layer(x))
            return normalise(x)


class Discriminator(nn.Module):
    """Judge a few frames of a clip, knowing how far apart they are (StyleGAN-V, section 3.3).

    Frames pass one by one down to 16 px; there, those of a clip are put together on the channel axis.
    differences: of each frame and the next (the first follows the last) join as further frames: the motion
    consistency of MoStGAN-V, section 3.4. base_width, max_width: as of the generator. longest: distance of
    neighbours that is told apart from longer ones, in frames. fold: so many pixels, each way, are taken as
    channels of one: the finest layers, which cost the most on a processor, are left out; no pixel is lost.
    """

    def __init__(
        self,
        size: int,
        *,
        channels: int = 3,
        frames: int = 3,
        base_width: int = 64,
        max_width: int = 512,
        num_labels: int = 0,
        differences: bool = True,
        longest: int = 32,
        embedding_dim: int = 256,
        fold: int = 1,
    ) -> None:
        super().__init__()
        if fold < 1 or size % fold or size // fold < CONCAT_SIZE:
            raise VidgenError(f"Frames of {size} px cannot be folded by {fold}: at least 16 px must be left.")
        self.frames, self.differences, self.fold = frames, differences, fold
        widths = {}
        resolution = size
        while resolution >= 4:
            widths[resolution] = min(base_width * size // resolution, max_width)
            resolution //= 2
        together = min(CONCAT_SIZE, size)
        apart = max(widths[together] // 2, 1)  # channels of each frame where they are put together
        seen = 2 * frames if differences else frames
        resolution = size // fold
        first = widths[resolution] if resolution > together else apart
        self.colours = EqualConv(channels * fold**2, first, 1)
        self.alone, self.joint = nn.ModuleList(), nn.ModuleList()
        while resolution > 4:
            width, below = widths[resolution], widths[resolution // 2]
            if resolution > together:
                outputs = apart if resolution // 2 == together else below
                self.alone.append(DiscriminatorBlock(width, width, outputs))
            else:
                inputs = seen * apart if resolution == together else width
                self.joint.append(DiscriminatorBlock(inputs, width, below))
            resolution //= 2
        self.last = EqualConv(widths[4] + 1, widths[4], 3)
        self.dense = EqualLinear(widths[4] * 16, widths[4])
        self.head = EqualLinear(widths[4], embedding_dim)
        self.condition = ClipCondition(frames, longest, num_labels, embedding_dim)

    def forward(self, video: Tensor, times: Tensor, label: Tensor | None = None) -> Tensor:
        """Judge clips: video [n, t, c, h, w], times [n, t] ascending, in frames, label [n] or None -> logits
        [n].
        """
        assert video.shape[1] == times.shape[1] == self.frames, (video.shape, times.shape, self.frames)
        n = len(video)
        if self.differences:
            video = torch.cat([video, video - video.roll(-1, 1)], 1)
        x = self.features(rearrange(video, "n t c h w -> (n t) c h w"))[-1]
        x = rearrange(x, "(n t) c h w -> n (t c) h w", n=n)
        for block in self.joint:
            x = block(x)
        x = self.last(batch_deviation(x))
        features = self.head(activate(self.dense(x.flatten(1)))).float()
        return (features * self.condition(times, label)).sum(1) / math.sqrt(features.shape[1])

    def features(self, frames: Tensor) -> list[Tensor]:
        """Describe single frames [m, c, h, w]: what each layer makes of them, before a clip's are put
        together.
        """
        folded = rearrange(frames, "m c (h a) (w b) -> m (c a b) h w", a=self.fold, b=self.fold)
        found = [self.colours(folded)]
        for block in self.alone:
            found.append(block(found[-1]))
        return found
