"""The networks of VGAN and TGAN: a code in, a clip of 16 frames at 64 px out; and the critic of both."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor, nn


def _up3(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose3d(before, after, 4, 2, 1), nn.BatchNorm3d(after), nn.ReLU())


def _up2(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(before, after, 4, 2, 1), nn.BatchNorm2d(after), nn.ReLU())


class VGAN(nn.Module):
    """Vondrick, Pirsiavash, Torralba, NIPS 2016, section 2.2: a moving foreground over a still background.

    video = m f + (1 - m) b; foreground f and mask m by 3D, background b by 2D transposed convolutions.
    """

    def __init__(self, code_dim: int, width: int) -> None:
        super().__init__()
        widths = [8 * width, 4 * width, 2 * width, width]
        self.start = nn.Linear(code_dim, 2 * widths[0] * 16)
        self.norm = nn.BatchNorm2d(2 * widths[0])
        pairs = list(zip(widths, widths[1:], strict=False))
        self.moving = nn.Sequential(*(_up3(a, b) for a, b in pairs))
        self.colour = nn.ConvTranspose3d(width, 3, 4, 2, 1)
        self.mask = nn.ConvTranspose3d(width, 1, 4, 2, 1)
        self.still = nn.Sequential(*(_up2(a, b) for a, b in pairs), nn.ConvTranspose2d(width, 3, 4, 2, 1))

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Draw: code [n, d] -> clips [n, 16, 3, 64, 64] in [-1, 1], and the mask [n, 16, 1, 64, 64]."""
        x = self.norm(rearrange(self.start(code), "n (c h w) -> n c h w", h=4, w=4)).relu()
        front, back = x.chunk(2, 1)
        front = self.moving(rearrange(front, "n c h w -> n c 1 h w"))
        mask = self.mask(front).sigmoid()
        still = rearrange(self.still(back).tanh(), "n c h w -> n c 1 h w")
        video = mask * self.colour(front).tanh() + (1 - mask) * still
        return rearrange(video, "n c t h w -> n t c h w"), rearrange(mask, "n c t h w -> n t c h w")


class TGAN(nn.Module):
    """Saito, Matsumoto, Saito, ICCV 2017, section 3: one code becomes a code per frame, by transposed
    convolutions in time; each frame is drawn from both.
    """

    def __init__(self, code_dim: int, width: int) -> None:
        super().__init__()
        sizes = [8 * width, 4 * width, 2 * width, 2 * width]
        begin: list[nn.Module] = [nn.ConvTranspose1d(code_dim, sizes[0], 1), nn.BatchNorm1d(sizes[0])]
        for before, after in zip(sizes, sizes[1:], strict=False):
            begin += [nn.ReLU(), nn.ConvTranspose1d(before, after, 4, 2, 1), nn.BatchNorm1d(after)]
        self.temporal = nn.Sequential(
            *begin, nn.ReLU(), nn.ConvTranspose1d(sizes[-1], code_dim, 4, 2, 1), nn.Tanh()
        )
        self.slow, self.fast = (nn.Linear(code_dim, 4 * width * 16, bias=False) for _ in range(2))
        self.norm = nn.BatchNorm2d(8 * width)
        widths = [8 * width, 4 * width, 2 * width, width]
        ups = [_up2(a, b) for a, b in zip(widths, widths[1:], strict=False)]
        self.image = nn.Sequential(*ups, nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh())

    def forward(self, code: Tensor) -> tuple[Tensor, None]:
        """Draw: code [n, d] -> clips [n, 16, 3, 64, 64] in [-1, 1]."""
        codes = rearrange(self.temporal(rearrange(code, "n d -> n d 1")), "n d t -> n t d")
        slow = repeat(self.slow(code), "n d -> n t d", t=codes.shape[1])
        x = rearrange([slow, self.fast(codes)], "two n t (c h w) -> (n t) (two c) h w", h=4, w=4)
        video = self.image(self.norm(x).relu())
        return rearrange(video, "(n t) c h w -> n t c h w", n=len(code)), None


class Critic(nn.Module):
    """Judge clips [n, 16, 3, 64, 64] by 3D convolutions, as both papers do: logits [n]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            norm = nn.BatchNorm3d(after) if before > 3 else nn.Identity()
            layers += [nn.Conv3d(before, after, 4, 2, 1), norm, nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * 16, 1)

    def forward(self, video: Tensor) -> Tensor:
        return self.head(self.body(rearrange(video, "n t c h w -> n c t h w")).flatten(1))[:, 0]

    @torch.no_grad()
    def clip(self) -> None:
        """Keep the singular values of all layers at 1 or below, and the gains of norms too, so that the
        critic's slope is bounded (TGAN, section 4).
        """
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d | nn.Linear):
                left, values, right = torch.linalg.svd(layer.weight.flatten(1), full_matrices=False)
                layer.weight.copy_((left * values.clamp(max=1) @ right).view_as(layer.weight))
            elif isinstance(layer, nn.BatchNorm3d):
                limit = (layer.running_var + layer.eps).sqrt()
                layer.weight.copy_(torch.minimum(layer.weight.clamp(min=0), limit))
