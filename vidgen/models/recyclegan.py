"""Recycle-GAN: Unsupervised Video Retargeting (Bansal et al., ECCV 2018, arXiv 1808.05174).

Two streams of frames, X and Y, ordered in time but not aligned. G_Y translates a frame of X into one of Y,
G_X back, each frame by itself; P_X and P_Y predict a stream's next frame from two past ones. Training ties
them together (train/recyclegan.py); at use G_Y translates and P_Y steadies or continues the result.

Letters in shapes: n clips, t frames, c h w the frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from vidgen.errors import VidgenError, check_least

GENERATORS = ("resnet", "unet")
UPSAMPLINGS = ("transposed", "resize")
PREDICTORS = ("stacked", "encoded")


@dataclass(frozen=True)
class RecycleGANConfig:
    """Describe a translator; the defaults are the paper's.

    size: px of a frame's side, any multiple of 4 for the residual generator, a power of two with a U-Net.
    generator: "resnet" (residual blocks between two strided and two widening convolutions) or "unet".
    blocks: residual blocks; the papers use 6 up to 128 px and 9 at 256. upsampling: "transposed" convolutions
    or "resize" (nearest neighbour, then a convolution: no checkerboard). predictor: "stacked" (a U-Net on the
    two past frames side by side) or "encoded" (each frame encoded at full resolution first). residual: the
    predictor adds to the last frame. reversible: the file also holds G_X, from Y back to X.
    """

    size: int = 256
    channels: int = 3
    generator: str = "resnet"
    width: int = 64
    blocks: int = 9
    upsampling: str = "transposed"
    predictor: str = "stacked"
    predictor_width: int = 64
    residual: bool = False
    reversible: bool = False

    def __post_init__(self) -> None:
        for name, choices in (
            ("generator", GENERATORS),
            ("upsampling", UPSAMPLINGS),
            ("predictor", PREDICTORS),
        ):
            if getattr(self, name) not in choices:
                raise VidgenError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}.")
        check_least(self, 1, "channels", "width", "predictor_width")
        check_least(self, 0, "blocks")
        if self.size < 16 or self.size & (self.size - 1):
            raise VidgenError(f"The frame size is {self.size}; choose a power of two from 16 on.")


def _norm(channels: int) -> nn.GroupNorm:
    """Instance norm (Ulyanov et al. 2016) with gain and shift, as a group norm with one channel a group: the
    same function, whose backward pass is faster.
    """
    return nn.GroupNorm(channels, channels)


class Residual(nn.Module):
    """Two reflect-padded 3x3 convolutions beside the identity (Johnson et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            _norm(width),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            _norm(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ResnetGenerator(nn.Module):
    """7x7, two strided convolutions, residual blocks, two widening convolutions, 7x7, tanh: [n, c, h, w] ->
    the same.
    """

    def __init__(self, channels: int, width: int, blocks: int, upsampling: str) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7), _norm(width)]
        layers += [nn.ReLU(inplace=True)]
        for before in (width, 2 * width):
            layers += [nn.Conv2d(before, 2 * before, 3, 2, 1), _norm(2 * before), nn.ReLU(inplace=True)]
        layers += [Residual(4 * width) for _ in range(blocks)]
        for before in (4 * width, 2 * width):
            layers += [*_up(before, before // 2, upsampling), _norm(before // 2), nn.ReLU(inplace=True)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7), nn.Tanh()]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def _up(before: int, after: int, upsampling: str) -> list[nn.Module]:
    if upsampling == "resize":
        return [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, 1, 1)]
    return [nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=1)]


class UNet(nn.Module):
    """Strided 4x4 convolutions down to one pixel and back up, with skips at every resolution (Isola et al.
    2017): [n, i, h, w] -> [n, o, h, w], before any nonlinearity.
    """

    def __init__(self, inputs: int, outputs: int, width: int, size: int) -> None:
        super().__init__()
        depth = int(math.log2(size))
        widths = [width * min(2**level, 8) for level in range(depth)]
        self.downs = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, 1)
            for before, after in zip([inputs, *widths], widths, strict=False)
        )
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(widths[level] * (1 if level == depth - 1 else 2), after, 4, 2, 1)
            for level, after in zip(reversed(range(depth)), [*reversed(widths[:-1]), outputs], strict=True)
        )
        # None at the outermost layers, nor at the innermost, whose one pixel has nothing to average.
        self.down_norms = nn.ModuleList(
            _norm(after) if 0 < level < depth - 1 else nn.Identity() for level, after in enumerate(widths)
        )
        self.up_norms = nn.ModuleList([*(_norm(after) for after in reversed(widths[:-1])), nn.Identity()])

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, (down, norm) in enumerate(zip(self.downs, self.down_norms, strict=True)):
            x = norm(down(x if level == 0 else nn.functional.leaky_relu(x, 0.2)))
            skips.append(x)
        for level, (up, norm) in enumerate(zip(self.ups, self.up_norms, strict=True)):
            x = skips.pop() if level == 0 else torch.cat([x, skips.pop()], 1)
            x = norm(up(torch.relu(x)))
        return x


class UNetGenerator(nn.Module):
    """A U-Net with tanh: [n, c, h, w] -> the same."""

    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__()
        self.body = UNet(channels, channels, width, size)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.body(x))


class Predictor(nn.Module):
    """P: two past frames [n, 2, c, h, w] -> the next, [n, c, h, w] (section 3, "recurrent loss")."""

    def __init__(self, config: RecycleGANConfig) -> None:
        super().__init__()
        channels, width = config.channels, config.predictor_width
        self.residual, self.encoder, self.decoder = config.residual, nn.Identity(), nn.Identity()
        inputs, outputs = 2 * channels, channels
        if config.predictor == "encoded":
            inputs, outputs = 2 * width, width
            self.encoder = nn.Sequential(_conv(channels, width), _conv(width, width))
            self.decoder = nn.Sequential(
                _norm(width), nn.ReLU(), nn.ReflectionPad2d(1), nn.Conv2d(width, channels, 3)
            )
        self.body = UNet(inputs, outputs, width, config.size)

    def forward(self, frames: Tensor) -> Tensor:
        n = len(frames)
        features = self.encoder(rearrange(frames, "n two c h w -> (n two) c h w"))
        x = self.decoder(self.body(rearrange(features, "(n two) c h w -> n (two c) h w", n=n)))
        return (frames[:, 1] + x).clamp(-1, 1) if self.residual else torch.tanh(x)


def _conv(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(before, after, 3), _norm(after), nn.ReLU())


def generator(config: RecycleGANConfig) -> nn.Module:
    """Build one frame translator, G_X or G_Y."""
    if config.generator == "unet":
        return UNetGenerator(config.channels, config.width, config.size)
    return ResnetGenerator(config.channels, config.width, config.blocks, config.upsampling)


class RecycleGAN(nn.Module):
    """The translator for use: G_Y, P_Y and, where the config says so, G_X."""

    def __init__(self, config: RecycleGANConfig) -> None:
        super().__init__()
        self.config, self.reversible = config, config.reversible
        self.forth, self.predictor = generator(config), Predictor(config)
        if config.reversible:
            self.reverse = generator(config)

    def forward(self, video: Tensor) -> Tensor:
        """Translate frames from X to Y, each by itself: [n, t, c, h, w] -> the same."""
        return _each(self.forth, self._checked(video))

    def back(self, video: Tensor) -> Tensor:
        """Translate frames from Y to X: [n, t, c, h, w] -> the same. VidgenError where the file has no
        G_X.
        """
        if not self.reversible:
            raise VidgenError("This model only translates one way: it has no generator back.")
        return _each(self.reverse, self._checked(video))

    def predict(self, frames: Tensor) -> Tensor:
        """Predict the frame of Y after two: [n, 2, c, h, w] -> [n, c, h, w]."""
        assert frames.shape[1] == 2, frames.shape
        return self.predictor(self._checked(frames))

    def _checked(self, video: Tensor) -> Tensor:
        wanted = (self.config.channels, self.config.size, self.config.size)
        if tuple(video.shape[2:]) != wanted:
            raise VidgenError(
                f"Frames of {video.shape[-1]} x {video.shape[-2]} px given; this model takes "
                f"{self.config.size} x {self.config.size}."
            )
        return video


def _each(network: nn.Module, video: Tensor) -> Tensor:
    frames = network(rearrange(video, "n t c h w -> (n t) c h w"))
    return rearrange(frames, "(n t) c h w -> n t c h w", n=len(video))


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al. 2017): frames [n, c, h, w] -> logits [n, 1, places].

    layers: strided convolutions; 3 see 70 px. 0 gives the pixel discriminator, 1x1 convolutions alone.
    """

    def __init__(self, channels: int = 3, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        kernel, padding = (4, 1) if layers else (1, 0)
        widths = [width * min(2**level, 8) for level in range(max(layers, 1) + 1)]
        strides = [2] * layers + [1] if layers else [1, 1]
        body: list[nn.Module] = [nn.Conv2d(channels, widths[0], kernel, strides[0], padding)]
        for before, after, stride in zip(widths, widths[1:], strides[1:], strict=False):
            body += [
                nn.LeakyReLU(0.2),
                nn.Conv2d(before, after, kernel, stride, padding, bias=False),
                _norm(after),
            ]
        body += [nn.LeakyReLU(0.2), nn.Conv2d(widths[-1], 1, kernel, 1, padding)]
        self.body = nn.Sequential(*body)

    def forward(self, frames: Tensor) -> Tensor:
        return self.body(frames).flatten(2)
