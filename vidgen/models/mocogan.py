"""MoCoGAN: Decomposing Motion and Content for Video Generation (Tulyakov et al., CVPR 2018, arXiv
1707.04993).

A clip is a path z(1) .. z(K) through an image latent space Z_C x Z_M. Its content is one point of Z_C, its
motion a path in Z_M that a recurrent network R_M walks, driven by noise. The image generator G_I turns each
point into a frame, so a clip may have any length, and any point between two frames is a frame too.

Letters in shapes: n clips, t frames, l motion knots, d dims, c h w the frame.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from vidgen.errors import VidgenError, check_least
from vidgen.fast import Col2Im, Doubling, DoublingConv, FirstMap, Modulate, fold_norm
from vidgen.layers import InstanceNoise, Modulation
from vidgen.models.contract import check_codes
from vidgen.models.flows import CodeFlow

CATEGORY_INPUTS = ("motion", "generator", "both")
HEADS = ("transposed", "conv", "palette")
NORMS = ("batch", "spectral", "none")
SMOOTHEST = 0.85  # what the path keeps of its past, a knot later, at smoothness 1


@dataclass(frozen=True)
class MoCoGANConfig:
    """Describe a MoCoGAN generator; the defaults are the paper's.

    size: 32, 64 or 128 px (any power of two from 8 on). motion_dim: noise per frame, d_E. state_dim: R_M's
    state, d_M.
    category_input: where the one-hot category goes: "motion" (the paper), "generator" (the authors' code) or
    "both".
    head: how G_I ends: "transposed" (the paper: a transposed convolution to RGB) or "conv" (one more block,
    then a 3x3 convolution, which draws finer detail) or "palette" (the same block, whose convolution shares
    each pixel out among `colours` colours that the content alone chooses: no motion can change them; the
    larger the `sharpness`, the sooner a pixel has one colour only).
    modulate: the latent also scales and shifts the channels at every resolution. couplings: of the flows that
    turn noise into z_C and h_0; 0 (the paper) takes the noise itself. clip_length: frames of a training clip.
    """

    size: int = 64
    channels: int = 3
    content_dim: int = 50
    motion_dim: int = 10
    state_dim: int = 10
    num_labels: int = 0
    category_input: str = "motion"
    base_width: int = 64
    head: str = "transposed"
    colours: int = 16
    sharpness: float = 1.0
    modulate: bool = False
    couplings: int = 0
    clip_length: int = 16

    def __post_init__(self) -> None:
        if self.size < 8 or self.size & (self.size - 1):
            raise VidgenError(f"The frame size is {self.size}; choose a power of two from 8 on, such as 64.")
        check_least(
            self,
            1,
            "channels",
            "content_dim",
            "motion_dim",
            "state_dim",
            "base_width",
            "colours",
            "clip_length",
        )
        check_least(self, 0, "num_labels", "couplings")
        if not self.sharpness > 0:
            raise VidgenError(f"sharpness is {self.sharpness}; it must be above 0.")
        if self.category_input not in CATEGORY_INPUTS:
            raise VidgenError(
                f"category_input is {self.category_input!r}; choose one of {', '.join(CATEGORY_INPUTS)}."
            )
        if self.head not in HEADS:
            raise VidgenError(f"head is {self.head!r}; choose one of {', '.join(HEADS)}.")

    @property
    def motion_labels(self) -> int:
        """Count the category inputs of R_M."""
        return self.num_labels if self.category_input in ("motion", "both") else 0

    @property
    def image_labels(self) -> int:
        """Count the category inputs of G_I."""
        return self.num_labels if self.category_input in ("generator", "both") else 0


class MotionPath(nn.Module):
    """R_M (section 3.1): a one-layer GRU that turns noise, and the category, into a path through Z_M."""

    def __init__(self, noise_dim: int, state_dim: int, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels
        # The paper draws h_0 ~ N(0, I) in the state's own dimension; a wider state gets it through a linear
        # map.
        self.start = nn.Identity() if noise_dim == state_dim else nn.Linear(noise_dim, state_dim)
        self.gru = nn.GRU(noise_dim + num_labels, state_dim, batch_first=True)
        with torch.no_grad():  # PyTorch's start leaves the path far smaller than the content, and unheard
            self.gru.weight_ih_l0.mul_(3)
            self.gru.bias_ih_l0[state_dim : 2 * state_dim].fill_(1.5)  # remember: motion goes on by itself

    def forward(self, motion: Tensor, label: Tensor | None) -> Tensor:
        """Walk the path: motion [n, l, d], label [n, l - 1] or None -> [n, l - 1, d_M]."""
        start, steps = motion[:, 0], motion[:, 1:]
        if self.num_labels:
            assert label is not None
            steps = torch.cat([F.one_hot(label, self.num_labels).to(steps.dtype), steps], -1)
        path, _ = self.gru(steps, rearrange(self.start(start), "n d -> 1 n d").contiguous())
        return path


class ImageGenerator(nn.Module):
    """G_I: [n, d, 1, 1] -> [n, c, size, size] in [-1, 1]; transposed convolutions of widths 8, 4, 2, 1 x
    base_width.
    """

    def __init__(self, latent_dim: int, config: MoCoGANConfig) -> None:
        super().__init__()
        doublings = int(math.log2(config.size // 4))
        widths = [config.base_width * min(2 ** (doublings - 1 - level), 8) for level in range(doublings)]
        self.first = nn.ConvTranspose2d(latent_dim, widths[0], 4, 1, 0)
        if config.head != "transposed":
            widths.append(max(config.base_width // 2, 8))
        pairs = list(zip(widths, widths[1:], strict=False))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False) for a, b in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b in pairs)
        self.modulations = nn.ModuleList(
            (Modulation(latent_dim, b) if config.modulate else Unmodulated()) for _, b in pairs
        )
        outputs = config.colours if config.head == "palette" else config.channels
        if config.head == "transposed":
            self.last: nn.Module = nn.ConvTranspose2d(widths[-1], outputs, 4, 2, 1)
        else:
            self.last = nn.Conv2d(widths[-1], outputs, 3, 1, 1)
        self.paint: nn.Module = Direct()
        if config.head == "palette":
            self.paint = Palette(config)

    def forward(self, latent: Tensor) -> Tensor:
        code = latent.flatten(1)  # n d
        x = F.relu(self.first(latent))  # n c 4 4
        for up, norm, modulation in zip(self.ups, self.norms, self.modulations, strict=True):
            x = F.relu(modulation(norm(up(x)), code), inplace=True)  # n c 2h 2w
        return self.paint(self.last(x), code)

    def content_weights(self, content_dim: int) -> Tensor:
        """Collect the weights through which the content enters: [content_dim, outputs]."""
        entries = [self.first.weight[:content_dim].flatten(1)]
        entries += [m.affine.weight[:, :content_dim].T for m in self.modulations if isinstance(m, Modulation)]
        if isinstance(self.paint, Palette):
            entries.append(self.paint.hidden.weight.T)
        return torch.cat(entries, 1)


class FastImageGenerator(nn.Module):
    """G_I for rendering: the same function in eval mode, with the norms folded into the convolutions."""

    WHOLE = 2  # layers of small maps, which take all frames at once
    PART = 8  # frames for the rest: their maps stay in the cache from one layer to the next

    def __init__(self, image: ImageGenerator) -> None:
        super().__init__()
        ups = [fold_norm(up, norm) for up, norm in zip(image.ups, image.norms, strict=True)]
        modulations = list(image.modulations)
        if isinstance(image.last, nn.ConvTranspose2d):
            self.last: nn.Module = Doubling(image.last)
        else:
            self.last = DoublingConv(ups.pop(), modulations.pop(), image.last)
        if ups:
            ups[0] = Col2Im(ups[0])
        self.first, self.ups = FirstMap(image.first), nn.ModuleList(ups)
        self.modulations = nn.ModuleList(Modulate(modulation) for modulation in modulations)
        self.paint = image.paint

    def forward(self, latent: Tensor) -> Tensor:
        code = latent.flatten(1)  # n d
        x = self.first(latent).relu_()  # n c 4 4
        x = self._raised(x, code, slice(self.WHOLE))
        parts = zip(x.split(self.PART), code.split(self.PART), strict=True)
        return torch.cat([self._finished(*part) for part in parts])

    def _raised(self, x: Tensor, code: Tensor, layers: slice) -> Tensor:
        for up, modulate in zip(self.ups[layers], self.modulations[layers], strict=True):
            x = modulate(up(x), code)  # n c 2h 2w
        return x

    def _finished(self, x: Tensor, code: Tensor) -> Tensor:
        x = self._raised(x, code, slice(self.WHOLE, None))
        return self.paint(self.last(x, code), code)


class Unmodulated(nn.Module):
    """Leave the channels as they are: the paper's generator."""

    def forward(self, x: Tensor, code: Tensor) -> Tensor:  # noqa: ARG002 (the modulation's signature)
        return x


class Direct(nn.Module):
    """Take the last convolution's outputs as the colours: the paper's generator."""

    def forward(self, x: Tensor, code: Tensor) -> Tensor:  # noqa: ARG002 (the palette's signature)
        return torch.tanh(x)


class Palette(nn.Module):
    """Share each pixel out among colours that the content chooses: x [n, k, h, w], code [n, d] -> [n, c, h,
    w].

    The motion decides what is where, and never what colour it has, as in vector graphics with layers of one
    colour each. The colours come from z_C, the code's first `content_dim` entries, through one hidden layer.
    """

    def __init__(self, config: MoCoGANConfig, width: int = 128) -> None:
        super().__init__()
        self.content_dim, self.channels = config.content_dim, config.channels
        self.sharpness = config.sharpness  # the inverse temperature of the shares
        self.hidden = nn.Linear(self.content_dim, width)
        self.colours = nn.Linear(width, config.colours * self.channels)
        nn.init.normal_(self.colours.weight, 0, 1 / width**0.5)
        nn.init.normal_(self.colours.bias, 0, 1)  # colours that differ from the start find different uses

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        colours = self.colours(F.relu(self.hidden(code[:, : self.content_dim])))
        colours = rearrange(torch.tanh(colours.float()), "n (k c) -> n k c", c=self.channels)
        with torch.autocast(x.device.type, enabled=False):  # a colour has more levels than bfloat16
            mixed = rearrange((self.sharpness * x.float()).softmax(1), "n k h w -> n (h w) k") @ colours
        return rearrange(mixed, "n (h w) c -> n c h w", h=x.shape[2])


class MoCoGAN(nn.Module):
    """The generator: content, motion, times and category in, video out. Frames are independent given the
    path.
    """

    def __init__(self, config: MoCoGANConfig) -> None:
        super().__init__()
        self.config = config
        self.content_dim, self.motion_dim, self.num_labels = (
            config.content_dim,
            config.motion_dim,
            config.num_labels,
        )
        self.motion_path = MotionPath(config.motion_dim, config.state_dim, config.motion_labels)
        self.content_flow = CodeFlow(config.content_dim, 0, config.couplings)
        self.start_flow = CodeFlow(config.motion_dim, config.motion_labels, config.couplings)
        self.image = ImageGenerator(config.content_dim + config.image_labels + config.state_dim, config)
        self.apply(_dcgan_init)

    def motion_length(self, last_time: float) -> int:
        """Count the knots that a clip up to `last_time` (frames) needs: h_0, then one a frame, at least a
        training clip.
        """
        return 1 + max(math.ceil(last_time) + 1, self.config.clip_length)

    def path(
        self,
        motion: Tensor,
        times: Tensor,
        label: Tensor | None = None,
        strength: Tensor | float = 1.0,
        smoothness: Tensor | float = 0.0,
    ) -> Tensor:
        """Walk R_M's path and read it at `times`.

        motion [n, l, d], times [n, t] in frames (fractional, any order), label [n] or [n, t] -> [n, t, d_M].
        strength [n] or one number: scales the path about its mean over the first training length; 0 stands
        still, 1 is as trained. smoothness [n] or one number, 0 to 1: low-pass of the path.
        """
        check_codes(self, motion, times, label)
        knots = motion.shape[1] - 1
        path = low_pass(self._walk(motion, knot_labels(times, label, knots)), smoothness)
        below = times.floor().long().clamp(max=knots - 1)
        above = (below + 1).clamp(max=knots - 1)
        share = rearrange(times - below, "n t -> n t 1").to(path.dtype)
        walked = torch.lerp(_rows(path, below), _rows(path, above), share)
        if isinstance(strength, float) and strength == 1.0:
            return walked
        # The pose to scale about must not depend on how long the clip is: the first category's, throughout.
        length = self.config.clip_length
        rest = self._walk(motion[:, : 1 + length], knot_labels(times, first_label(times, label), length))
        scale = torch.as_tensor(strength, dtype=path.dtype, device=path.device).reshape(-1, 1, 1)
        return torch.lerp(rest.mean(1, keepdim=True), walked, scale)

    def _walk(self, motion: Tensor, label: Tensor | None) -> Tensor:
        label = label if self.config.motion_labels else None
        start = self.start_flow(motion[:, 0], None if label is None else label[:, 0])
        return self.motion_path(torch.cat([rearrange(start, "n d -> n 1 d"), motion[:, 1:]], 1), label)

    def noise_of(
        self, content: Tensor, start: Tensor, label: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Give the noise behind z_C [n, d_C] and behind h_0 [n, d_E] of category [n], each with the log
        determinant [n] of the map from code to noise.
        """
        label = label if self.config.motion_labels else None
        return self.content_flow.inverse(content, None), self.start_flow.inverse(start, label)

    def forward(
        self,
        content: Tensor,
        motion: Tensor,
        times: Tensor,
        label: Tensor | None = None,
        strength: Tensor | float = 1.0,
        smoothness: Tensor | float = 0.0,
        truncation: Tensor | float = 1.0,
        moves: Tensor | None = None,
    ) -> Tensor:
        """Render clips: content [n, d_C], motion [n, l, d_E], times [n, t], label [n] or [n, t] -> [n, t, c,
        h, w].
        """
        with torch.autocast(content.device.type, enabled=False):  # the recurrence adds up rounding errors
            latent = self.latents(content, motion, times, label, strength, smoothness, truncation, moves)
        return rearrange(
            self.image(rearrange(latent, "n t d -> (n t) d 1 1")), "(n t) c h w -> n t c h w", n=len(content)
        )

    def latents(
        self,
        content: Tensor,
        motion: Tensor,
        times: Tensor,
        label: Tensor | None = None,
        strength: Tensor | float = 1.0,
        smoothness: Tensor | float = 0.0,
        truncation: Tensor | float = 1.0,
        moves: Tensor | None = None,
    ) -> Tensor:
        """Give G_I's input for each frame, [z_C ; (z_A) ; z_M(k)]: [n, t, d].

        truncation [n] or one number: multiplies the content; moves [n, d_C] or None: added to it after that.
        """
        assert content.shape == (len(times), self.content_dim), (content.shape, self.content_dim)
        content = torch.as_tensor(truncation, device=content.device).reshape(-1, 1) * content
        if moves is not None:
            content = content + moves
        frames = times.shape[1]
        parts = [repeat(self.content_flow(content, None), "n d -> n t d", t=frames)]
        if self.config.image_labels:
            assert label is not None
            per_frame = repeat(label, "n -> n t", t=frames) if label.ndim == 1 else label
            parts.append(F.one_hot(per_frame, self.num_labels).to(content.dtype))
        return torch.cat([*parts, self.path(motion, times, label, strength, smoothness)], -1)

    def folded(self) -> FastImageGenerator:
        """Copy G_I for rendering."""
        return FastImageGenerator(copy.deepcopy(self.image).eval()).eval()

    def plain(self) -> MoCoGAN:
        """Give the model in its readable form, which it has."""
        return self

    def content_weights(self) -> Tensor:
        """Collect the weights through which the content enters, as they act on noise near 0: [d_C,
        outputs].
        """
        near = torch.zeros(1, self.content_dim, device=next(self.parameters()).device)
        jacobian = torch.autograd.functional.jacobian(lambda noise: self.content_flow(noise, None)[0], near)
        return rearrange(jacobian, "z 1 d -> d z") @ self.image.content_weights(self.content_dim)

    def content_covariance(self) -> Tensor:
        """Give the covariance of the noise that the content is made of: [d_C, d_C]."""
        return torch.eye(self.content_dim, device=next(self.parameters()).device)


def knot_labels(times: Tensor, label: Tensor | None, knots: int) -> Tensor | None:
    """Give each knot the category of the first frame later than the knot before it.

    A frame between two knots reads only those two, so a longer clip gives the shorter one's knots the same
    categories. times [n, t], label [n] or [n, t] -> [n, knots].
    """
    if label is None or label.ndim == 1:
        return None if label is None else repeat(label, "n -> n l", l=knots)
    ordered, order = times.sort(dim=1, stable=True)
    before = repeat(
        torch.arange(-1, knots - 1, device=times.device, dtype=times.dtype), "l -> n l", n=len(times)
    )
    first = torch.searchsorted(ordered.contiguous(), before.contiguous(), right=True).clamp(
        max=times.shape[1] - 1
    )
    return label.gather(1, order).gather(1, first)


def first_label(times: Tensor, label: Tensor | None) -> Tensor | None:
    """Give the category of each clip's earliest frame: label [n] or [n, t] -> [n]."""
    if label is None or label.ndim == 1:
        return label
    return label.gather(1, times.argmin(1, keepdim=True))[:, 0]


def low_pass(path: Tensor, smoothness: Tensor | float) -> Tensor:
    """Smooth a path [n, l, d] by a running average that forgets more slowly the larger `smoothness`, 0 to 1.

    It looks back only, so a longer clip still begins with the shorter one.
    """
    lag = SMOOTHEST * torch.as_tensor(smoothness, dtype=path.dtype, device=path.device).reshape(-1, 1)
    if not lag.any():
        return path
    rows = [path[:, 0]]
    for row in path.unbind(1)[1:]:
        rows.append(torch.lerp(row, rows[-1], lag))
    return torch.stack(rows, 1)


def _rows(path: Tensor, index: Tensor) -> Tensor:
    """Pick rows: path [n, l, d], index [n, t] -> [n, t, d]."""
    return path.gather(1, repeat(index, "n t -> n t d", d=path.shape[-1]))


def _dcgan_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Conv3d):
        nn.init.normal_(layer.weight, 0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
        nn.init.normal_(layer.weight, 1, 0.02)


class Discriminator(nn.Module):
    """D_I (dims 2, one frame) or D_V (dims 3, a clip): 4-wide strided convolutions, then one logit or a map
    of them.

    time_stride: 1 with no padding in time (the paper) or 2 with padding 1. differences: frame differences
    join the input as more channels. shrink: average-pool the frames first. conditional: the logit gets an
    entry chosen by the category. classes: outputs of Q(category | clip), the InfoGAN head. noise: instance
    noise before each convolution.
    """

    def __init__(
        self,
        dims: int,
        size: int,
        *,
        length: int = 1,
        channels: int = 3,
        width: int = 64,
        patch: bool = False,
        norm: str = "batch",
        noise: float = 0.0,
        time_stride: int = 1,
        differences: bool = False,
        shrink: int = 1,
        conditional: int = 0,
        classes: int = 0,
    ) -> None:
        super().__init__()
        assert dims in (2, 3), dims
        assert norm in NORMS, norm
        self.dims, self.size, self.length = dims, size, length
        self.differences, self.shrink, self.conditional, self.classes = (
            differences,
            shrink,
            conditional,
            classes,
        )
        depth = 3 if patch else int(math.log2(size // shrink // 4))
        widths = [channels * (2 if differences else 1), *(width * 2**level for level in range(depth))]
        stride, padding = (2, 1) if dims == 2 else ((time_stride, 2, 2), (int(time_stride == 2), 1, 1))
        layers: list[nn.Module] = []
        for level, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
            plain = level == 0 or norm != "batch"
            layers += [InstanceNoise(noise), _conv(dims, before, after, 4, stride, padding, norm, bias=plain)]
            layers += [] if plain else [(nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d)(after)]
            layers += [nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        outputs = 1 + conditional + classes
        if dims == 3 and patch and length < (1 if time_stride == 2 else 3 * (depth + 1) + 1):
            raise VidgenError(
                f"A clip of {length} frames is too short for a video discriminator at {size} px."
            )
        if patch:
            self.head = _conv(dims, widths[-1], outputs, 4, stride, padding, norm)
        else:
            self.head = _conv(dims, widths[-1], outputs, self._rest(depth, time_stride), 1, 0, norm)
        self.head_noise = InstanceNoise(noise)
        self.apply(_dcgan_init)

    def _rest(self, depth: int, time_stride: int) -> int | tuple[int, int, int]:
        """Give the kernel that covers what the body leaves: 4 px, and in time as many steps as remain."""
        side = self.size // self.shrink // 2**depth
        if self.dims == 2:
            return side
        steps = self.length // 2**depth if time_stride == 2 else self.length - 3 * depth
        if steps < 1:
            raise VidgenError(
                f"A clip of {self.length} frames is too short for a video discriminator at {self.size} px."
            )
        return steps, side, side

    def features(self, video: Tensor) -> list[Tensor]:
        """Give the activations after each nonlinearity, from the input on."""
        x, found = self._layout(video), []
        for layer in self.body:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                found.append(x)
        return found

    def _layout(self, video: Tensor) -> Tensor:
        """Turn frames [n, c, h, w] or clips [n, t, c, h, w] into the convolutions' layout."""
        if self.dims == 2:
            return F.avg_pool2d(video, self.shrink) if self.shrink > 1 else video
        assert video.shape[1] == self.length, (video.shape, self.length)
        if self.shrink > 1:
            small = F.avg_pool2d(rearrange(video, "n t c h w -> (n t) c h w"), self.shrink)
            video = rearrange(small, "(n t) c h w -> n t c h w", n=len(video))
        if self.differences:
            step = video[:, 1:] - video[:, :-1]
            video = torch.cat([video, torch.cat([torch.zeros_like(step[:, :1]), step], 1)], 2)
        return rearrange(video, "n t c h w -> n c t h w")

    def forward(self, video: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Judge frames [n, c, h, w] or clips [n, t, c, h, w]: logits [n, places] and class logits [n,
        classes] or None.
        """
        out = self.head(self.head_noise(self.body(self._layout(video)))).flatten(2).float()
        logit, chosen, classes = out.split([1, self.conditional, self.classes], 1)
        logit = logit[:, 0]
        if self.conditional:
            assert label is not None
            logit = logit + chosen.gather(1, repeat(label, "n -> n 1 p", p=chosen.shape[-1]))[:, 0]
        return logit, classes.mean(-1) if self.classes else None


def _conv(
    dims: int, before: int, after: int, kernel, stride, padding, norm: str, bias: bool = True
) -> nn.Module:
    conv = (nn.Conv2d if dims == 2 else nn.Conv3d)(before, after, kernel, stride, padding, bias=bias)
    return spectral_norm(conv) if norm == "spectral" else conv
