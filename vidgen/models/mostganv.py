"""MoStGAN-V: Video Generation with Temporal Motion Styles (Shen, Li, Elhoseiny, CVPR 2023, arXiv 2304.02777),
on StyleGAN-V (Skorokhodov, Tulyakov, Elhoseiny, CVPR 2022, arXiv 2112.14683).

A frame is drawn by a StyleGAN2 from a content style w, which is the clip's, and a motion code v(t), which is
the moment's: time is continuous, and any frame of any clip can be asked for alone. In the layers of middle
resolution, motion styles that stand for v(t) change the weights too.

Letters in shapes: n clips, t frames, m frames of any clips, l motion knots, d dims, c h w the frame.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce, repeat
from torch import Tensor, nn

from vidgen.errors import VidgenError, check_least
from vidgen.layers import EqualLinear, activate, double, normalise
from vidgen.models.canvas import (
    WINDOW_SIZE,
    DriftVelocity,
    NoiseInjection,
    around,
    double_torus,
    inner,
    nearest_place,
    window,
)
from vidgen.models.contract import check_codes
from vidgen.models.flows import CodeFlow
from vidgen.models.mostatt import EPSILON, PlainStyledConv, StyledConv, ToColour, diversity_loss
from vidgen.models.motion import MotionEncoder, MotionStyles

ORDERS = ("content", "motion")
MOST_CANVAS = 32


@dataclass(frozen=True)
class MoStGANVConfig:
    """Describe a MoStGAN-V generator; the defaults are the paper's for 256 px.

    size: any power of two from 16 on. base_width: channels at full size, doubled at every halving of the
    size, up to max_width.
    content_dim: z. style_dim: w. motion_dim: the noise codes, of which there is one every `motion_distance`
    frames. motion_kernel: of the two convolutions along them. code_dim: v(t), even; its periods go from
    shortest_period (0: motion_distance) to longest_period frames; relative_time, amplitudes: of
    `AcyclicEncoding`; waves: of `MotionEncoder`, even.
    motion_styles: their number, K; 0 is StyleGAN-V. motion_style_dim, motion_hidden: dimensions of a motion
    style and of the layer before. style_rank: of the patterns of weights. order: whether filters attend to
    the patterns after the content style ("content", the paper) or before ("motion"). attention_from,
    attention_to: resolutions of the layers that follow the motion styles.
    label_dim: of a category's embedding. lr_multiplier: of the mapping's and the motion encoder's learning
    rate. couplings: of the flows that turn noise into content and noise codes as real clips have them; 0 (the
    paper) takes the noise itself. layout: whether w also draws the first map, where the paper has a constant:
    in a scene, other than of a figure, what is where is content. canvas: side of the first map, from 5 on,
    which then is a torus that drifts past the frame at the motion's own speed (`DriftVelocity`), as clouds
    before the wind do, and which wants a layout; where another motion is spliced in, the frame jumps to where
    that one would be. 0 is the paper's 4x4, which stands still. clip_length: frames of a training clip.
    """

    size: int = 256
    channels: int = 3
    content_dim: int = 512
    style_dim: int = 512
    motion_dim: int = 512
    code_dim: int = 512
    motion_distance: int = 16
    motion_kernel: int = 11
    shortest_period: float = 0.0
    longest_period: float = 1024.0
    relative_time: bool = False
    amplitudes: bool = False
    waves: int = 0
    motion_styles: int = 8
    motion_style_dim: int = 128
    motion_hidden: int = 512
    style_rank: int = 1
    order: str = "content"
    attention_from: int = 16
    attention_to: int = 128
    num_labels: int = 0
    label_dim: int = 512
    mapping_layers: int = 2
    lr_multiplier: float = 0.01
    base_width: int = 64
    max_width: int = 512
    couplings: int = 0
    layout: bool = False
    canvas: int = 0
    clip_length: int = 16

    def __post_init__(self) -> None:
        if self.size < 16 or self.size & (self.size - 1):
            raise VidgenError(f"The frame size is {self.size}; choose a power of two from 16 on, such as 64.")
        check_least(
            self,
            1,
            "channels",
            "content_dim",
            "style_dim",
            "motion_dim",
            "code_dim",
            "motion_distance",
            "motion_kernel",
            "motion_style_dim",
            "motion_hidden",
            "style_rank",
            "label_dim",
            "mapping_layers",
            "base_width",
            "max_width",
            "clip_length",
        )
        check_least(
            self,
            0,
            "waves",
            "motion_styles",
            "num_labels",
            "shortest_period",
            "couplings",
            "attention_from",
            "attention_to",
            "canvas",
        )
        if self.canvas and not 4 < self.canvas <= MOST_CANVAS:
            raise VidgenError(f"canvas is {self.canvas}; choose 0, or 5 to {MOST_CANVAS}.")
        if self.canvas and not self.layout:
            raise VidgenError("On a canvas without layout all places would be alike: add --layout true.")
        if not 0 < self.lr_multiplier < math.inf:
            raise VidgenError(f"lr_multiplier is {self.lr_multiplier}; it must be above 0.")
        for name in ("code_dim", "waves"):
            if getattr(self, name) % 2:
                raise VidgenError(f"{name} is {getattr(self, name)}; it must be even.")
        if not self.shortest <= self.longest_period < math.inf:
            raise VidgenError(
                f"longest_period is {self.longest_period}; it must be finite and at least {self.shortest:g}."
            )
        if self.order not in ORDERS:
            raise VidgenError(f"order is {self.order!r}; choose one of {', '.join(ORDERS)}.")

    @property
    def shortest(self) -> float:
        """Give the shortest period of v(t), in frames."""
        return self.shortest_period or float(self.motion_distance)

    @property
    def point_dim(self) -> int:
        """Count what the motion says of a frame: v(t), and with a canvas the frame's place on it, x and y."""
        return self.code_dim + (2 if self.canvas else 0)

    def width(self, resolution: int) -> int:
        """Count the channels at a resolution."""
        return min(self.base_width * self.size // resolution, self.max_width)


class Mapping(nn.Module):
    """Turn z, normalised, and the category into the content style w (StyleGAN2): content [n, d], label [n] or
    None -> [n, style_dim].
    """

    def __init__(self, config: MoStGANVConfig) -> None:
        super().__init__()
        self.labels = nn.Embedding(config.num_labels, config.label_dim) if config.num_labels else None
        dims = [config.content_dim + (config.label_dim if config.num_labels else 0)]
        dims += [config.style_dim] * config.mapping_layers
        pairs = zip(dims, dims[1:], strict=False)
        self.layers = nn.ModuleList(EqualLinear(a, b, rate=config.lr_multiplier) for a, b in pairs)

    def forward(self, content: Tensor, label: Tensor | None) -> Tensor:
        x = normalise(content)
        if self.labels is not None:
            assert label is not None
            x = torch.cat([x, normalise(self.labels(label))], -1)
        for layer in self.layers:
            x = activate(layer(x))
        return x


class Synthesis(nn.Module):
    """Draw frames from points [w ; v(t)]: [m, style_dim + code_dim, 1, 1] -> [m, c, size, size].

    From a learned 4x4 constant (with `layout`, one that w moves) and v(t), through a convolution at 4 px and
    two at each doubling; the colours of all resolutions are added up. With `canvas`, points end with the
    frame's place on it, x and y in frames' sides: the layers up to 16 px make a torus, of which the frame is
    cut out there. conv: the class of the convolutions.
    """

    def __init__(self, config: MoStGANVConfig, conv: type[StyledConv] = StyledConv) -> None:
        super().__init__()
        self.size, self.dims = config.size, (config.style_dim, config.code_dim)
        self.canvas, self.side = config.canvas, config.canvas or 4
        own = 1 if config.canvas else 4  # no place of a torus is its own; what is where, w alone can say
        self.constant = nn.Parameter(torch.randn(config.width(4), own, own))
        self.layout: nn.Module | None = None
        if config.layout:
            drawn = config.width(4) * self.side**2
            self.layout = EqualLinear(config.style_dim, drawn, bias=not config.canvas)
        if config.canvas:
            self.register_buffer("centre", torch.zeros(config.style_dim))  # what all clips have alike of w
            self.register_buffer("elsewhere", torch.randn(config.style_dim, 2) * config.style_dim**-0.5)
        self.styles: nn.Module | None = None
        if config.motion_styles:
            dims = config.style_dim + config.code_dim, config.motion_styles
            self.styles = MotionStyles(*dims, config.motion_hidden, config.motion_style_dim)
        self.convs, self.colours, self.grains = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        size, inputs = 4, config.width(4) + config.code_dim
        while size <= config.size:
            width, motion = config.width(size), None
            if config.motion_styles and config.attention_from <= size <= config.attention_to:
                motion = config.motion_style_dim, config.style_rank
            kind = {"motion": motion, "order": config.order}
            if size > 4:
                self.convs.append(conv(inputs, width, config.style_dim, up=True, **kind))
                inputs = width
                if config.canvas and size > WINDOW_SIZE:
                    self.grains.append(NoiseInjection(config.canvas, size, width))
            self.convs.append(conv(inputs, width, config.style_dim, **kind))
            if config.canvas and size >= WINDOW_SIZE:
                self.grains.append(NoiseInjection(config.canvas, size, width))
            self.colours.append(ToColour(width, config.channels, config.style_dim))
            size, inputs = 2 * size, width

    def forward(self, points: Tensor, diversity: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Draw frames; with `diversity`, give also the diversity loss of the motion styles, mean over
        layers.
        """
        losses, picture = [], None
        for _, scores, picture in self._layers(points):  # noqa: B007 (the last one is the frame)
            if diversity and scores is not None:
                losses.append(diversity_loss(scores))
        assert picture is not None
        if not diversity:
            return picture
        return picture, torch.stack(losses).mean() if losses else picture.new_zeros(())

    def attention(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Show where each motion style acts (the paper's Figs. 5 to 7): points as `forward` -> the heat,
        [m, k, size, size] in [0, 1], and the cosines of each frame's motion styles, [m, k, k].

        A layer's heat of style k is the sum over its filters o of att_ok |x_o|, x_o the filter's output after
        the activation. It is brought to the size of the picture (bilinear), and divided by its largest value
        of the frame, over styles and pixels; then averaged over the layers that follow the motion styles.
        """
        assert self.motion_styles, "no layer follows motion styles"
        layers, place = [], points.flatten(1)[:, sum(self.dims) :]
        for index, (x, scores, _) in enumerate(self._layers(points)):
            if scores is not None:
                size = 4 * 2 ** ((index + 1) // 2)
                x = x if x.shape[-1] == size else window(x, place, size)
                layer = einsum(scores.softmax(-1), x.float().abs(), "m o k, m o h w -> m k h w")
                layer = F.interpolate(layer, size=(self.size, self.size), mode="bilinear")
                layers.append(layer / layer.amax((1, 2, 3), keepdim=True).clamp(min=EPSILON))
        unit = F.normalize(self.styles(points.flatten(1)[:, : sum(self.dims)]).float(), dim=-1)
        return torch.stack(layers).mean(0), unit @ unit.mT

    @property
    def motion_styles(self) -> int:
        """Count the motion styles that layers follow: what `attention` can show."""
        followed = any(conv.patterns is not None for conv in self.convs)
        return self.styles.count if followed else 0

    def _layers(self, points: Tensor) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
        """Give what each layer says of the frames, or of the whole canvas, its scores, and the picture so
        far.
        """
        x, style, motion, place = self._begin(points)
        picture, size, colours, grains = None, 4, iter(self.colours), iter(self.grains)
        torus = self.canvas > 0
        if torus:  # no two clips show the same place of the noise
            elsewhere = place + (style - self.centre) @ self.elsewhere
        for index, conv in enumerate(self.convs):
            x, scores = conv(around(x) if torus else x, style, motion)
            if torus:
                x = inner(x, 2 if conv.up else 1)
            size *= 2 if conv.up else 1
            last = index % 2 == 0  # of its resolution
            if last and picture is not None:
                picture = (double_torus if torus else double)(picture)
            if torus and last and size == WINDOW_SIZE:
                x, picture, torus = window(x, place), window(picture, place), False
            if self.canvas and not torus:
                x = next(grains)(x, elsewhere)
            if last:
                own = next(colours)(x, style)
                picture = own if picture is None else picture + own
            yield x, scores, picture

    def _begin(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Give what the first layer reads, [m, c, 4, 4] or the canvas, w [m, style_dim], the motion styles
        [m, k, d] or None, and the place on the canvas [m, 2] or [m, 0].
        """
        point = points.flatten(1)
        style, code, place = point.split([*self.dims, point.shape[1] - sum(self.dims)], 1)
        with torch.autocast(points.device.type, enabled=False):
            motion = self.styles(point[:, : sum(self.dims)]) if self.styles is not None else None
        sides = {"h": self.side, "w": self.side}
        constant = self.constant.expand(len(point), -1, self.side, self.side)
        if self.layout is not None:
            told = style - self.centre if self.canvas else style
            drawn = rearrange(self.layout(told), "m (c h w) -> m c h w", **sides)
            constant = constant + drawn.to(constant.dtype)
        spread = repeat(code.to(self.constant.dtype), "m d -> m d h w", **sides)
        return torch.cat([constant, spread], 1), style, motion, place

    def style_weights(self) -> Tensor:
        """Collect the weights through which w enters the layers: [style_dim, outputs]."""
        maps = [layer.affine for layer in (*self.convs, *self.colours)]
        maps += [] if self.layout is None else [self.layout]
        return torch.cat([each.weight.T * each.gain for each in maps], 1)


class MoStGANV(nn.Module):
    """The generator: content, motion, times and category in, video out. Frames are independent given the
    codes.
    """

    TRACKING = 0.002  # share of a batch in the running mean of w
    CENTRING = 0.02  # in the mean that a canvas is drawn from

    def __init__(self, config: MoStGANVConfig) -> None:
        super().__init__()
        self.config = config
        self.content_dim, self.motion_dim, self.num_labels = (
            config.content_dim,
            config.motion_dim,
            config.num_labels,
        )
        self.content_flow = CodeFlow(config.content_dim, 0, config.couplings)
        self.knot_flow = CodeFlow(config.motion_dim, config.num_labels, config.couplings)
        self.mapping = Mapping(config)
        self.motion = MotionEncoder(
            config.motion_dim,
            config.code_dim,
            config.motion_distance,
            config.motion_kernel,
            config.shortest,
            config.longest_period,
            config.num_labels,
            config.label_dim,
            config.relative_time,
            config.amplitudes,
            config.lr_multiplier,
            config.waves,
        )
        self.wind = (
            DriftVelocity(config.motion_dim, config.num_labels, config.label_dim) if config.canvas else None
        )
        self.image = Synthesis(config)
        self.register_buffer("style_mean", torch.zeros(config.style_dim))

    def motion_length(self, last_time: float) -> int:
        """Count the knots that a clip up to `last_time` (frames) needs, at least a training clip's."""
        return self.motion.knots(max(last_time, self.config.clip_length - 1))

    def style(self, content: Tensor, label: Tensor | None = None) -> Tensor:
        """Give the content style w: content [n, d], label [n] or None -> [n, style_dim]."""
        return self.mapping(self.content_flow(content, None), label)

    def knots(self, motion: Tensor, label: Tensor | None) -> Tensor:
        """Turn noise along the clip, [n, l, d], given the category [n], into noise codes as real clips have
        them.
        """
        each, labels = _rows(motion, label)
        return rearrange(self.knot_flow(each, labels), "(n l) d -> n l d", n=len(motion))

    def noise_of(
        self, content: Tensor, knots: Tensor, label: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Give the noise behind content codes [n, d] and behind noise codes [n, l, d] of category [n], each
        with the log determinant [n] of the map from code to noise.
        """
        noise, log_determinant = self.knot_flow.inverse(*_rows(knots, label))
        shape = {"n": len(knots)}
        behind = rearrange(noise, "(n l) d -> n l d", **shape)
        return (
            self.content_flow.inverse(content, None),
            (behind, reduce(log_determinant, "(n l) -> n", "sum", **shape)),
        )

    @torch.no_grad()
    def track(self, style: Tensor) -> None:
        """Move the running mean of w towards a batch's, w [n, style_dim]: truncation draws styles to it."""
        mean = style.detach().float().mean(0)
        self.style_mean.lerp_(mean, self.TRACKING)
        if self.config.canvas:
            begun = bool(self.image.centre.any())
            self.image.centre.lerp_(mean, self.CENTRING if begun else 1.0)

    def path(
        self,
        motion: Tensor,
        times: Tensor,
        label: Tensor | None = None,
        strength: Tensor | float = 1.0,
        smoothness: Tensor | float = 0.0,
    ) -> Tensor:
        """Give the motion code v of each time.

        motion [n, l, d], times [n, t] in frames (fractional, any order), label [n] or [n, t] -> [n, t,
        point_dim]; with a canvas, the frame's place on it comes last. strength [n] or one number: scales all
        of it about its mean over the first training length; 0 stands still, 1 is as trained. smoothness [n]
        or one number, 0 to 1: averages v over that share of a training length before each time. A frame of
        another category reads the path that its category makes of the same noise.
        """
        check_codes(self, motion, times, label)
        length, clip, category, of_frame = self.config.clip_length, *self._pairs(times, label)
        reach = length * torch.as_tensor(smoothness, dtype=times.dtype, device=times.device).expand(
            len(times)
        )
        knots = self.knots(motion[clip], category)
        moved = self.motion.smoothed(knots, times[clip], category, reach[clip])
        walked = _own_rows(self._blown(moved, knots, times[clip], category), of_frame)
        if isinstance(strength, float) and strength == 1.0:
            return walked
        # The pose to scale about must not depend on how long the clip is: the first category's, throughout.
        begin = repeat(torch.arange(length, device=times.device).to(times.dtype), "t -> n t", n=len(times))
        first = (
            None if category is None else category[of_frame.gather(1, times.argmin(1, keepdim=True))[:, 0]]
        )
        knots = self.knots(motion, first)
        rest = self._blown(self.motion(knots, begin, first), knots, begin, first).mean(1, keepdim=True)
        scale = torch.as_tensor(strength, dtype=walked.dtype, device=walked.device).reshape(-1, 1, 1)
        return torch.lerp(rest, walked, scale)

    def _blown(self, moved: Tensor, knots: Tensor, times: Tensor, label: Tensor | None) -> Tensor:
        """Add each time's place on the canvas to v: [n, t, d] -> [n, t, point_dim]."""
        if self.wind is None:
            return moved
        place = rearrange(self.wind(knots[:, 0], label), "n two -> n 1 two") * times[..., None]
        return torch.cat([moved, place.to(moved.dtype)], -1)

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
        """Give the point that each frame is drawn from, [w ; v(t)]: [n, t, style_dim + point_dim].

        On a canvas, the place is the nearest of those that are the same one.
        truncation [n] or one number: draws w to its mean (StyleGAN, Karras et al., CVPR 2019); 0 gives the
        mean itself. moves [n, style_dim] or None: added to w after that.
        """
        assert content.shape == (len(times), self.content_dim), (content.shape, self.content_dim)
        path = self.path(motion, times, label, strength, smoothness)
        clip, category, of_frame = self._pairs(times, label)
        share = torch.as_tensor(truncation, dtype=content.dtype, device=content.device).reshape(-1, 1)
        style = torch.lerp(
            self.style_mean, self.style(content[clip], category), share.expand(len(times), 1)[clip]
        )
        if moves is not None:
            style = style + moves[clip]
        if self.config.canvas:
            path = torch.cat([path[..., :-2], nearest_place(path[..., -2:], self.config.canvas)], -1)
        return torch.cat([style[of_frame], path], -1)

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
        """Render clips: content [n, d], motion [n, l, d], times [n, t], label [n] or [n, t] -> [n, t, c, h,
        w], kept within -1 to 1 (`image` itself is not: training needs the gradient beyond).
        """
        with torch.autocast(content.device.type, enabled=False):  # phases of many turns need all their digits
            latent = self.latents(content, motion, times, label, strength, smoothness, truncation, moves)
        frames = self.image(rearrange(latent, "n t d -> (n t) d 1 1")).clamp(-1, 1)
        return rearrange(frames, "(n t) c h w -> n t c h w", n=len(content))

    def folded(self) -> Synthesis:
        """Copy the image network for rendering."""
        return copy.deepcopy(self.image).eval()

    def plain(self) -> MoStGANV:
        """Copy the model in its readable form, of which this one is the faster twin."""
        twin = copy.deepcopy(self)
        twin.image = Synthesis(self.config, PlainStyledConv).to(self.style_mean.device)
        twin.image.load_state_dict(self.image.state_dict())
        return twin.train(self.training)

    def content_weights(self) -> Tensor:
        """Collect the weights through which w enters the image network, where `moves` are added: [style_dim,
        outputs].
        """
        return self.image.style_weights()

    @torch.no_grad()
    def content_covariance(self, draws: int = 4096) -> Tensor:
        """Estimate the covariance of w of one category, mean over categories: [style_dim, style_dim]."""
        generator, found = torch.Generator().manual_seed(0), []
        device, kinds = self.style_mean.device, max(self.num_labels, 1)
        for category in range(kinds):
            noise = torch.randn(max(draws // kinds, 2), self.content_dim, generator=generator).to(device)
            label = torch.full((len(noise),), category, device=device) if self.num_labels else None
            found.append(self.style(noise, label).T.cov())
        return torch.stack(found).mean(0)

    def _pairs(self, times: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
        """List the pairs of a clip and a category that occur: the clip of each, [p], its category, [p] or
        None, and the pair of each frame, [n, t].
        """
        clip = torch.arange(len(times), device=times.device)
        of_frame = repeat(clip, "n -> n t", t=times.shape[1])
        if label is None or not self.num_labels:
            return clip, None, of_frame
        if label.ndim == 1:
            return clip, label, of_frame
        number, of_frame = torch.unique(of_frame * self.num_labels + label, return_inverse=True)
        return number // self.num_labels, number % self.num_labels, of_frame


def _rows(motion: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """List rows along clips, [n, l, d] -> [(n l), d], and the category of each, if there are any: [n] -> [(n
    l)].
    """
    labels = None if label is None else repeat(label, "n -> (n l)", l=motion.shape[1])
    return rearrange(motion, "n l d -> (n l) d"), labels


def _own_rows(values: Tensor, pair: Tensor) -> Tensor:
    """Read each frame off its own pair: values [p, t, d], pair [n, t] -> [n, t, d]."""
    return values[pair, torch.arange(values.shape[1], device=values.device)]
