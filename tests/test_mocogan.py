"""MoCoGAN: shapes, the contract, the motion path, the discriminators."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from vidgen.errors import VidgenError
from vidgen.layers import InstanceNoise
from vidgen.models import build, config_from
from vidgen.models.flows import CodeFlow
from vidgen.models.mocogan import (
    CATEGORY_INPUTS,
    HEADS,
    Discriminator,
    MoCoGAN,
    MoCoGANConfig,
    Palette,
    knot_labels,
)

TINY = {"size": 32, "content_dim": 6, "motion_dim": 4, "state_dim": 5, "base_width": 4, "clip_length": 4}


def model(**changes: object) -> MoCoGAN:
    torch.manual_seed(0)
    return MoCoGAN(MoCoGANConfig(**{**TINY, **changes})).eval()


def codes(m: MoCoGAN, n: int = 2, frames: int = 4) -> tuple[torch.Tensor, ...]:
    draws = torch.Generator().manual_seed(1)
    content = torch.randn(n, m.content_dim, generator=draws)
    motion = torch.randn(n, m.motion_length(frames - 1), m.motion_dim, generator=draws)
    return content, motion, torch.arange(float(frames)).repeat(n, 1)


@pytest.mark.parametrize(
    ("size", "head", "where"), list(itertools.product((32, 64, 128), HEADS, CATEGORY_INPUTS))
)
def test_every_configuration_renders_and_learns(size: int, head: str, where: str) -> None:
    m = model(size=size, head=head, category_input=where, num_labels=3).train()
    video = m(*codes(m), torch.tensor([0, 2]))
    assert video.shape == (2, 4, 3, size, size)
    assert torch.isfinite(video).all()
    assert video.abs().max() <= 1
    video.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in m.parameters())


def test_one_clip_of_one_frame() -> None:
    m = model()
    assert m(*codes(m, 1, 1)).shape == (1, 1, 3, 32, 32)


def test_fractional_times_lie_between_frames() -> None:
    m = model()
    _, motion, _ = codes(m, 1)
    path = m.path(motion, torch.tensor([[1.0, 1.25, 2.0]]))[0]
    torch.testing.assert_close(path[1], 0.75 * path[0] + 0.25 * path[2])


def test_longer_clip_begins_with_the_shorter() -> None:
    m = model(num_labels=3)
    content, motion, times = codes(m, 2, 12)
    label = torch.tensor([[0] * 6 + [1] * 6, [2] * 3 + [0] * 9])
    long = m(content, motion, times, label)
    short = m(content, motion[:, : m.motion_length(6)], times[:, :7], label[:, :7])
    torch.testing.assert_close(long[:, :7], short)


def test_category_changes_only_what_follows() -> None:
    m = model(num_labels=3)
    content, motion, times = codes(m, 1, 8)
    before = torch.zeros(1, 8, dtype=torch.long)
    after = before.clone()
    after[:, 5:] = 2
    one, other = m(content, motion, times, before), m(content, motion, times, after)
    torch.testing.assert_close(one[:, :5], other[:, :5])
    assert not torch.equal(one[:, 5:], other[:, 5:])


def test_knot_labels_follow_the_frames() -> None:
    times = torch.tensor([[0.0, 0.5, 1.0, 1.5, 2.0]])
    label = torch.tensor([[0, 1, 2, 3, 4]])
    # knot 1 takes the first frame later than time 0, knot 2 the first later than 1
    assert knot_labels(times, label, 3).tolist() == [[0, 1, 3]]
    assert knot_labels(times.flip(1), label.flip(1), 3).tolist() == [[0, 1, 3]]


def test_strength_zero_stands_still_and_one_changes_nothing() -> None:
    m = model()
    _, motion, times = codes(m)
    still = m.path(motion, times, None, torch.tensor([0.0, 1.0]))
    assert still[0].std(0).max() < 1e-6
    torch.testing.assert_close(still[1], m.path(motion, times)[1])
    double = m.path(motion, times, None, 2.0)
    assert double.std(1).mean() > 1.9 * m.path(motion, times).std(1).mean()


@pytest.mark.parametrize("modulate", [True, False])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", [8, 32])
def test_rendering_is_the_same_function(head: str, modulate: bool, size: int) -> None:
    m = model(head=head, modulate=modulate, size=size).train()
    for _ in range(3):
        m(*codes(m))  # moves the running statistics away from 0 and 1
    m.eval()
    points = torch.randn(5, 6 + 5, 1, 1)
    folded = m.folded()
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    with torch.inference_mode():
        torch.testing.assert_close(folded(points), m.image(points), atol=1e-5, rtol=1e-4)


def test_palette_gives_every_motion_the_same_colours() -> None:
    torch.manual_seed(0)
    palette = Palette(MoCoGANConfig(content_dim=6, colours=3))
    content, motion = torch.randn(1, 6).expand(2, -1), torch.randn(2, 5)
    whole = F.one_hot(torch.randint(3, (2, 8, 8)), 3).permute(0, 3, 1, 2) * 1e3  # one colour a pixel
    seen = rearrange(palette(whole, torch.cat([content, motion], 1)), "n c h w -> n (h w) c")
    assert [len(clip.unique(dim=0)) for clip in seen] == [3, 3]
    torch.testing.assert_close(seen[0].unique(dim=0), seen[1].unique(dim=0))


def test_sharpness_hardens_the_shares() -> None:
    torch.manual_seed(0)
    soft, sharp = (Palette(MoCoGANConfig(content_dim=6, colours=3, sharpness=each)) for each in (1.0, 8.0))
    sharp.load_state_dict(soft.state_dict())
    shares, code = torch.randn(1, 3, 8, 8), torch.randn(1, 6)
    pure = torch.tanh(soft.colours(F.relu(soft.hidden(code)))).reshape(3, 1, 3)

    def off(drawn: torch.Tensor) -> float:
        pixels = rearrange(drawn, "1 c h w -> 1 (h w) c")
        return (pixels - pure).abs().sum(-1).min(0).values.mean().item()

    assert off(sharp(shares, code)) < 0.3 * off(soft(shares, code))


def test_flow_is_invertible_and_knows_its_determinant() -> None:
    torch.manual_seed(0)
    flow = CodeFlow(6, 2, 5)
    for weight in flow.parameters():
        nn.init.normal_(weight, 0, 0.1)
    noise, label = torch.randn(4, 6), torch.tensor([0, 1, 1, 0])
    code = flow(noise, label)
    again, log_det = flow.inverse(code, label)
    torch.testing.assert_close(again, noise, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(code, flow(noise, 1 - label))
    for i in range(4):
        jacobian = torch.autograd.functional.jacobian(
            lambda x, i=i: flow(x, label[i : i + 1])[0], noise[i : i + 1]
        )
        assert log_det[i].item() == pytest.approx(-torch.linalg.slogdet(jacobian[:, 0])[1].item(), abs=1e-4)


def test_noise_of_codes_draws_the_same_path() -> None:
    """What the inference networks find, taken back through the flows, must arrive where they said."""
    m = model(couplings=4, num_labels=3)
    for weight in [*m.content_flow.parameters(), *m.start_flow.parameters()]:
        nn.init.normal_(weight, 0, 0.1)
    (content, motion, times), row = codes(m), torch.tensor([0, 2])
    (noise, _), (start, _) = m.noise_of(content, motion[:, 0], row)
    code = m.latents(noise, torch.cat([start[:, None], motion[:, 1:]], 1), times, row)
    torch.testing.assert_close(code[..., : m.content_dim], content[:, None].expand(-1, times.shape[1], -1))
    plain = m.motion_path(motion, row[:, None].expand(-1, motion.shape[1] - 1))
    torch.testing.assert_close(code[:, 0, -m.config.state_dim :], plain[:, 0], atol=1e-5, rtol=1e-4)


def test_modulation_multiplies() -> None:
    m = model(modulate=True)
    plain = sum(p.numel() for p in model().parameters())
    assert sum(p.numel() for p in m.parameters()) > plain
    assert m.content_weights().shape[0] == m.content_dim
    assert m.content_weights().shape[1] > model().content_weights().shape[1]


@pytest.mark.parametrize(
    ("times", "label", "message"),
    [
        ([[0.0, float("nan")]], [0], "finite"),
        ([[-1.0, 0.0]], [0], "negative"),
        ([[0.0, 40.0]], [0], "knots"),
        ([[0.0, 1.0]], [3], "out of range"),
        ([[0.0, 1.0]], [-1], "out of range"),
        ([[0.0, 1.0]], None, "needs a category"),
    ],
)
def test_bad_input_is_one_sentence(times: list, label: list | None, message: str) -> None:
    m = model(num_labels=3)
    content, motion, _ = codes(m, 1)
    with pytest.raises(VidgenError, match=message):
        m(content, motion, torch.tensor(times), None if label is None else torch.tensor(label))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("size", 48),
        ("size", 4),
        ("content_dim", 0),
        ("num_labels", -1),
        ("head", "x"),
        ("category_input", "x"),
    ],
)
def test_config_refuses(option: str, value: object) -> None:
    with pytest.raises(VidgenError, match=option if option != "size" else "size"):
        MoCoGANConfig(**{option: value})


def test_unknown_option_and_family_name_the_nearest() -> None:
    with pytest.raises(VidgenError, match="content_dim"):
        config_from("mocogan", {"content_dims": 3})
    with pytest.raises(VidgenError, match="mocogan"):
        build("mocogn", {})


@pytest.mark.parametrize(
    ("size", "patch", "norm"), list(itertools.product((32, 64, 128), (True, False), ("batch", "spectral")))
)
def test_discriminators_of_every_kind(size: int, patch: bool, norm: str) -> None:
    video, label = torch.randn(2, 16, 3, size, size), torch.tensor([0, 3])
    d_image = Discriminator(2, size, width=4, patch=patch, norm=norm, conditional=4, noise=0.1)
    d_video = Discriminator(3, size, length=16, width=4, patch=patch, norm=norm, classes=4, noise=0.1)
    logit, classes = d_image(video[:, 0], label)
    assert classes is None
    assert logit.shape[0] == 2
    assert (logit.shape[1] > 1) == patch
    logit, classes = d_video(video)
    assert classes.shape == (2, 4)
    (logit.mean() + classes.mean()).backward()
    assert all(p.grad is not None for p in d_video.parameters())


@pytest.mark.parametrize("size", [64, 128])
def test_modern_video_discriminator(size: int) -> None:
    d = Discriminator(3, size, length=16, width=4, norm="spectral", time_stride=2, differences=True, shrink=2)
    assert d(torch.randn(2, 16, 3, size, size))[0].shape == (2, 1)


def test_video_discriminator_sees_the_order_of_frames() -> None:
    torch.manual_seed(0)
    d = Discriminator(3, 32, length=16, width=4, norm="none").eval()
    video = torch.randn(1, 16, 3, 32, 32)
    assert (d(video)[0] - d(video.flip(1))[0]).abs().max() > 1e-6


def test_conditional_logit_depends_on_the_category() -> None:
    d = Discriminator(2, 32, width=4, norm="none", conditional=3).eval()
    frames = torch.randn(1, 3, 32, 32)
    assert d(frames, torch.tensor([0]))[0] != d(frames, torch.tensor([1]))[0]


def test_too_short_clip_for_the_discriminator() -> None:
    with pytest.raises(VidgenError, match="too short"):
        Discriminator(3, 64, length=8, width=4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_instance_noise_in_every_layout(dtype: torch.dtype) -> None:
    layer, plain = InstanceNoise(0.1), torch.zeros(4, 6, 8, 10, 12, dtype=dtype)
    for x in (
        plain,
        plain.contiguous(memory_format=torch.channels_last_3d),
        plain.transpose(1, 2),
        plain[:, :, 0],
    ):
        noise = layer(x).float()
        assert noise.shape == x.shape
        assert abs(float(noise.std()) - 0.1) < 0.01
        assert noise.unique().numel() > 100


def test_instance_noise_only_in_training() -> None:
    layer, x = InstanceNoise(0.1), torch.zeros(1000)
    assert abs(float(layer(x).std()) - 0.1) < 0.02
    assert (layer.eval()(x) == 0).all()
