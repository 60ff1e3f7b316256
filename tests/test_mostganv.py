"""MoStGAN-V: every configuration, the readable twins, the contract, the discriminator."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from vidgen import bench, sampling
from vidgen.catalogue import describe
from vidgen.checkpoint import load_model, save_model
from vidgen.errors import VidgenError
from vidgen.layers import EqualConv, EqualLinear, batch_deviation, convolve, smooth
from vidgen.models.canvas import window
from vidgen.models.clip_discriminator import Discriminator
from vidgen.models.mostatt import MovedFilters, PlainStyledConv, StyledConv, diversity_loss
from vidgen.models.mostganv import MoStGANV, MoStGANVConfig
from vidgen.recipe import Recipe
from vidgen.session import Session

TINY = {
    "size": 32,
    "content_dim": 6,
    "style_dim": 9,
    "motion_dim": 5,
    "code_dim": 8,
    "motion_distance": 4,
    "motion_kernel": 2,
    "motion_styles": 3,
    "motion_style_dim": 4,
    "motion_hidden": 5,
    "label_dim": 4,
    "base_width": 4,
    "max_width": 8,
    "clip_length": 6,
}


def model(**changes: object) -> MoStGANV:
    torch.manual_seed(0)
    m = MoStGANV(MoStGANVConfig(**{**TINY, **changes})).eval()
    for name, value in m.named_parameters():
        if name.endswith("bias") and "affine" not in name:
            nn.init.normal_(value, 0, 0.5)
    return m


def codes(m: MoStGANV, n: int = 2, frames: int = 4) -> tuple[torch.Tensor, ...]:
    draws = torch.Generator().manual_seed(1)
    content = torch.randn(n, m.content_dim, generator=draws)
    motion = torch.randn(n, m.motion_length(frames - 1), m.motion_dim, generator=draws)
    return content, motion, torch.arange(float(frames)).repeat(n, 1)


# ---- layers


@torch.no_grad()
def test_equal_layers_scale_weights_and_biases_on_use() -> None:
    torch.manual_seed(0)
    layer, x = EqualLinear(9, 4, start=0.5, rate=0.01), torch.randn(5, 9)
    wanted = x @ layer.weight.T * 0.01 / 3 + layer.bias * 0.01
    torch.testing.assert_close(layer(x), wanted)
    torch.testing.assert_close(layer.bias, torch.full((4,), 50.0))
    assert abs(float(EqualLinear(400, 400, rate=0.01)(torch.randn(400, 400)).std()) - 1) < 0.05
    assert (
        abs(float(EqualConv(60, 60, 3, active=False)(torch.randn(8, 60, 9, 9))[..., 1:-1, 1:-1].std()) - 1)
        < 0.05
    )
    squared = EqualConv(60, 60, 3)(torch.randn(8, 60, 9, 9))[..., 1:-1, 1:-1].square().mean()
    assert abs(float(squared) - 1) < 0.1, "its activation keeps the variance"


@pytest.mark.parametrize(("size", "padding", "stride"), list(itertools.product((6, 96), (1, 2), (1, 2))))
def test_smoothing_is_the_taps_1331(size: int, padding: int, stride: int) -> None:
    torch.manual_seed(0)
    x, taps = torch.randn(1, 2, size, size + 2), torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    padded = nn.functional.pad(x, [padding] * 4)
    rows = sum(taps[k] * padded[:, :, k : padded.shape[2] - 3 + k] for k in range(4))
    both = sum(taps[k] * rows[..., k : rows.shape[3] - 3 + k] for k in range(4))
    wanted = 2.5 * both[:, :, ::stride, ::stride]
    torch.testing.assert_close(smooth(x, padding, stride, 2.5), wanted, atol=1e-5, rtol=1e-4)


def test_upsampling_convolution_pixel_by_pixel() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 3, 3, 3)
    sown = torch.zeros(2, 5, 9, 9)
    for n, y, z, ky, kz in itertools.product(range(2), range(4), range(4), range(3), range(3)):
        sown[n, :, 2 * y + ky, 2 * z + kz] += weight[n, :, :, ky, kz] @ x[n, :, y, z]
    torch.testing.assert_close(convolve(x, weight, up=True), smooth(sown, 1, gain=4.0), atol=1e-5, rtol=1e-4)
    same = convolve(x, weight[0], up=True), convolve(x, weight[:1].expand(2, -1, -1, -1, -1), up=True)
    torch.testing.assert_close(*same)
    plain = torch.stack(
        [nn.functional.conv2d(one[None], w, padding=1)[0] for one, w in zip(x, weight, strict=True)]
    )
    torch.testing.assert_close(convolve(x, weight), plain)
    constant = convolve(torch.ones(1, 1, 8, 8), torch.full((1, 1, 3, 3), 1 / 9), up=True)
    torch.testing.assert_close(constant[..., 3:-3, 3:-3], torch.ones(1, 1, 10, 10))  # brightness is kept


def test_batch_deviation_sees_samples_that_are_alike() -> None:
    torch.manual_seed(0)
    same, different = torch.randn(1, 3, 4, 4).repeat(4, 1, 1, 1), torch.randn(6, 3, 4, 4)
    assert batch_deviation(same)[:, -1].max() < 1e-3
    found = batch_deviation(different)  # groups of 3: the samples 0 2 4 and 1 3 5
    wanted = different[::2].var(0, unbiased=False).add(1e-8).sqrt().mean()
    torch.testing.assert_close(found[0, -1], wanted.expand(4, 4))
    assert torch.equal(found[:, :3], different)
    assert batch_deviation(different[:1]).shape == (1, 4, 4, 4)


# ---- motion styles at work


@pytest.mark.parametrize(("order", "rank"), list(itertools.product(("content", "motion"), (1, 3))))
def test_a_filter_number_by_number(order: str, rank: int) -> None:
    torch.manual_seed(0)
    layer = StyledConv(2, 3, 4, motion=(5, rank), order=order)
    style, motion = torch.randn(2, 4), torch.randn(2, 2, 5)
    with torch.no_grad():
        scale = layer.affine(style)
        filters, scores = layer._moved(layer.weight, scale, layer.patterns(motion))
        for m in range(2):
            factors = layer.patterns.factors(motion[m]).reshape(2, rank, 8)  # a, b, c of each style and rank
            pattern = torch.zeros(2, 2, 3, 3)
            for k, r, i, y, x in itertools.product(range(2), range(rank), range(2), range(3), range(3)):
                a, b, c = factors[k, r, i], factors[k, r, 2 + y], factors[k, r, 5 + x]
                pattern[k, i, y, x] += a * b * c / math.sqrt(rank)
            styled = layer.weight * scale[m][:, None, None]
            judged = styled if order == "content" else layer.weight
            mixed = torch.zeros(3, 2, 3, 3)
            for o in range(3):
                score = torch.stack([(judged[o] * pattern[k]).sum() / math.sqrt(18) for k in range(2)])
                torch.testing.assert_close(scores[m, o], score, atol=1e-5, rtol=1e-4)
                share = score.exp() / score.exp().sum()
                mixed[o] = share[0] * pattern[0] + share[1] * pattern[1]
            ratio = mixed / mixed.abs().max()
            wanted = styled * (1 + torch.maximum(ratio, 0.2 * ratio))
            for o in range(3):
                unit = wanted[o] / wanted[o].norm() * math.sqrt(2)
                torch.testing.assert_close(filters[m, o], unit, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("together", [1, 10**6])
def test_the_derivative_of_the_filters(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MovedFilters, "CACHE", together)
    torch.manual_seed(0)
    inputs = [torch.randn(*shape, dtype=torch.float64) for shape in ((4, 9), (3, 9), (3, 4, 2), (3, 2, 9))]
    inputs[2] = inputs[2].softmax(-1)
    assert torch.autograd.gradcheck(MovedFilters.apply, [part.requires_grad_() for part in inputs])


@pytest.mark.parametrize(
    ("up", "styles", "order"), list(itertools.product((False, True), (0, 3), ("content", "motion")))
)
def test_a_layer_equals_its_readable_twin(up: bool, styles: int, order: str) -> None:
    torch.manual_seed(0)
    options = {"up": up, "motion": (6, 2) if styles else None, "order": order}
    layer, twin = StyledConv(4, 5, 7, **options), PlainStyledConv(4, 5, 7, **options)
    twin.load_state_dict(layer.state_dict())
    x, style = torch.randn(3, 4, 8, 8), torch.randn(3, 7)
    motion = torch.randn(3, styles, 6) if styles else None
    grads = []
    for net in (layer, twin):
        out, _ = net(x, style, motion)
        out.square().sin().sum().backward()
        grads.append([out, *(p.grad for p in net.parameters())])
    for ours, plain in zip(*grads, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-3)


def test_diversity_loss_is_zero_for_different_styles_alone() -> None:
    apart = torch.eye(4)[:, :3].repeat(2, 1, 1) * 5  # m o k: each style has filters of its own
    assert diversity_loss(apart) == 0
    alike = torch.ones(2, 4, 3)
    torch.testing.assert_close(diversity_loss(alike), torch.tensor(6.0))  # 3 * 2 pairs of cosine 1


# ---- the generator


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"motion_styles": 0},
        {"motion_styles": 1},
        {"style_rank": 3},
        {"motion_style_dim": 16},
        {"order": "motion"},
        {"motion_kernel": 1, "motion_distance": 16},
        {"size": 16, "attention_to": 16},
        {"size": 64, "base_width": 3, "attention_to": 32, "channels": 1},
        {"mapping_layers": 3, "shortest_period": 2.5},
        {"couplings": 2},
        {"layout": True},
    ],
)
@pytest.mark.parametrize("labels", [0, 3])
def test_every_configuration_renders_and_learns(changes: dict[str, object], labels: int) -> None:
    m = model(num_labels=labels, **changes).train()
    label = torch.tensor([0, 2]) if labels else None
    video = m(*codes(m), label)
    assert video.shape == (2, 4, m.config.channels, m.config.size, m.config.size)
    assert torch.isfinite(video).all()
    assert video.abs().max() <= 1
    points = m.latents(*codes(m), label)
    frames, loss = m.image(points.flatten(0, 1)[..., None, None], diversity=True)
    assert (loss > 0) == (m.config.motion_styles > 1)
    (frames.square().mean() + loss).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in m.parameters())


@pytest.mark.parametrize("changes", [{}, {"motion_styles": 0}, {"order": "motion", "style_rank": 2}])
def test_training_and_use_and_the_twin_agree(changes: dict[str, object]) -> None:
    m = model(**changes)
    rest = codes(m)
    with torch.no_grad():
        used, trained, plain = m(*rest), m.train()(*rest), m.plain()(*rest)
    assert used.std() > 0.1
    assert torch.equal(used, trained)
    torch.testing.assert_close(used, plain, atol=1e-4, rtol=1e-3)


def test_motion_styles_change_the_picture() -> None:
    m, without = model(), model(motion_styles=0)
    missing = without.load_state_dict(m.state_dict(), strict=False)
    assert not missing.missing_keys
    assert (m(*codes(m)) - without(*codes(m))).abs().mean() > 0.01
    assert not any("patterns" in name or "styles" in name for name, _ in without.named_parameters())


def test_the_content_draws_the_layout_where_asked() -> None:
    """Without modulation and motion, all clips begin with one map, unless w draws it."""
    for layout in (False, True):
        m = model(layout=layout)
        points = torch.cat([torch.randn(2, m.config.style_dim), torch.zeros(2, m.config.code_dim)], 1)
        first, _, _, _ = m.image._begin(points[..., None, None])
        assert torch.equal(first[0], first[1]) != layout


# ---- a canvas


@pytest.mark.parametrize("side", [9, 12])
def test_a_window_moves_over_a_torus(side: int) -> None:
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    still = window(x, torch.zeros(2, 2), 8)
    torch.testing.assert_close(still, x[:, :, :8, :8], atol=1e-5, rtol=0)
    place = torch.tensor([[3 / 8, -2 / 8], [0.0, 1 / 8]])  # 3 px to the right and 2 up; 1 px down
    moved = window(x, place, 8)
    wanted = [x[0].roll((-2, 3), (1, 2)), x[1].roll((1, 0), (1, 2))]
    torch.testing.assert_close(moved, torch.stack(wanted)[:, :, :8, :8], atol=1e-5, rtol=0)


def test_between_pixels_a_window_reads_the_waves_of_the_torus() -> None:
    at = torch.arange(12.0)
    wave = (2 * math.pi * 3 / 12 * at + 0.4).cos().expand(1, 1, 12, 12)  # along x
    seen = window(wave, torch.tensor([[0.3 / 8, 0.7 / 8]]), 8)
    wanted = (2 * math.pi * 3 / 12 * (at[:8] - 0.3) + 0.4).cos().expand(1, 1, 8, 8)
    torch.testing.assert_close(seen, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("changes", [{}, {"motion_styles": 0, "canvas": 7}])
@torch.no_grad()
def test_a_canvas_drifts_past_the_frame(changes: dict[str, object]) -> None:
    """Up to 16 px, frames of another place are the same map, shifted, edges and all."""
    m = model(**{"size": 16, "canvas": 6, "layout": True, **changes})
    for grain in m.image.grains:
        grain.strength.normal_()
    style, code = torch.randn(1, m.config.style_dim), torch.randn(1, m.config.code_dim)
    places = torch.tensor([[0.0, 0.0], [4 / 16, 8 / 16]])
    points = torch.cat([style.expand(2, -1), code.expand(2, -1), places], 1)
    first, second = m.image(points[..., None, None])
    assert first.shape == (3, 16, 16)
    torch.testing.assert_close(second[:, 8:, 4:], first[:, :8, :12], atol=1e-4, rtol=1e-4)
    assert (second - first).abs().mean() > 0.01


@torch.no_grad()
def test_no_place_of_a_canvas_is_the_same_in_all_clips() -> None:
    """Clips of opposite w begin with opposite maps about one that is the same everywhere."""
    m = model(canvas=6, layout=True)
    style = m.style(torch.randn(512, m.content_dim))
    for _ in range(3):
        m.track(style)
    torch.testing.assert_close(m.image.centre, style.mean(0))
    away = style[:1] - m.image.centre
    points = torch.cat([m.image.centre + away, m.image.centre - away])
    points = torch.cat([points, torch.zeros(2, m.config.point_dim)], 1)
    first, _, _, _ = m.image._begin(points[..., None, None])
    torch.testing.assert_close(first.mean(0), first.mean((0, 2, 3))[:, None, None].expand(-1, 6, 6))
    assert first[0].std() > 0.1


@torch.no_grad()
def test_the_grain_drifts_along_and_is_each_clips_own() -> None:
    m = model(canvas=6, layout=True)
    assert [grain.noise.shape[-1] for grain in m.image.grains] == [24, 48, 48]
    for conv in m.image.convs:
        conv.weight.zero_()  # nothing but noise
    for grain in m.image.grains:
        grain.strength.normal_()
    code = torch.zeros(3, m.config.code_dim)
    style = torch.randn(2, m.config.style_dim)[[0, 0, 1]]
    place = torch.tensor([[0.0, 0.0], [0.25, 0.5], [0.0, 0.0]])
    layers = [x for x, _, _ in m.image._layers(torch.cat([style, code, place], 1)[..., None, None])]
    first, moved, other = layers[-1]
    torch.testing.assert_close(moved[:, 16:, 8:], first[:, :16, :24], atol=1e-4, rtol=1e-4)
    assert (other - first).abs().mean() > 0.1


@torch.no_grad()
def test_the_motion_says_how_fast_a_canvas_drifts() -> None:
    m = model(canvas=6, layout=True, num_labels=2)
    content, motion, _ = codes(m, 2, 40)
    label, times = torch.tensor([0, 1]), torch.tensor([[0.0, 1.0, 2.5, 39.0]] * 2)
    place = m.path(motion, times, label)[..., -2:]
    speed = m.wind(m.knots(motion, label)[:, 0], label)
    torch.testing.assert_close(place, speed[:, None] * times[..., None])
    assert (speed[0] - speed[1]).abs().max() > 1e-3
    assert m.path(motion, times, label).shape[-1] == m.config.point_dim == m.config.code_dim + 2
    still = m.path(motion, times, label, strength=0.0)[..., -2:]
    torch.testing.assert_close(still, still[:, :1].expand_as(still), msg="at strength 0 nothing drifts")
    torch.testing.assert_close(
        m(content, motion, times[:, 2:], label), m(content, motion, times, label)[:, 2:], atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(
        m.plain()(content, motion, times, label), m(content, motion, times, label), atol=1e-4, rtol=1e-3
    )


def test_without_motion_styles_time_enters_at_the_first_layer_alone() -> None:
    m = model(motion_styles=0)
    for conv in m.image.convs:
        assert conv.patterns is None
    m.image.convs[0].weight.data[:, -m.config.code_dim :] = 0  # what reads v(t)
    video = m(*codes(m))
    torch.testing.assert_close(video, video[:, :1].expand_as(video))


def test_one_clip_of_one_frame() -> None:
    m = model()
    assert m(*codes(m, 1, 1)).shape == (1, 1, 3, 32, 32)


def test_longer_clip_begins_with_the_shorter_and_frames_are_independent() -> None:
    m = model(num_labels=3)
    content, motion, times = codes(m, 2, 20)
    label = torch.tensor([[0] * 6 + [1] * 14, [2] * 3 + [0] * 17])
    options = {"strength": 0.7, "smoothness": 0.4}
    long = m.latents(content, motion, times, label, **options)
    short = m.latents(content, motion[:, : m.motion_length(6)], times[:, :7], label[:, :7], **options)
    torch.testing.assert_close(long[:, :7], short, atol=1e-5, rtol=1e-4)
    order = torch.tensor([11, 0, 19])
    alone = m.latents(content, motion, times[:, order], torch.tensor([1, 0])[:, None].expand(2, 3))
    label = torch.tensor([1, 0])
    torch.testing.assert_close(
        alone, m.latents(content, motion, times, label)[:, order], atol=1e-4, rtol=1e-3
    )


def test_only_the_knots_that_times_touch_are_read() -> None:
    m = model()
    _, motion, _ = codes(m, 1, 400)
    times = torch.tensor([[201.0, 206.5]])
    before = m.path(motion, times)
    first, last = 201 // 4, 206 // 4 + 1 + 2  # two kernels of 2 reach two codes further
    elsewhere = motion.clone()
    elsewhere[:, :first], elsewhere[:, last + 1 :] = 0, 0
    torch.testing.assert_close(m.path(elsewhere, times), before)
    for knot in (first, last):
        changed = motion.clone()
        changed[:, knot] = 0
        assert (m.path(changed, times) - before).abs().max() > 1e-3
    assert m.motion_length(206.5) == last + 1


def test_category_changes_at_its_frame_and_nothing_else() -> None:
    m = model(num_labels=3)
    rest = codes(m, 1, 8)
    before, after = torch.zeros(1, 8, dtype=torch.long), torch.zeros(1, 8, dtype=torch.long)
    after[:, 5:] = 2
    one, two, other = m.latents(*rest, before), m.latents(*rest, torch.tensor([2])), m.latents(*rest, after)
    torch.testing.assert_close(other, torch.cat([one[:, :5], two[:, 5:]], 1), atol=1e-3, rtol=0)
    for part in (one - two).split([9, 8], -1):  # both the style and the motion know the category
        assert part.abs().max() > 0.01


def test_strength_zero_stands_still_and_one_changes_nothing() -> None:
    m = model()
    _, motion, times = codes(m)
    still = m.path(motion, times, None, torch.tensor([0.0, 1.0]))
    assert still[0].std(0).max() < 1e-6
    torch.testing.assert_close(still[1], m.path(motion, times)[1])
    double = m.path(motion, times, None, 2.0)
    assert double.std(1).mean() > 1.9 * m.path(motion, times).std(1).mean()


def test_a_network_makes_motion_codes_of_waves() -> None:
    m = model(waves=10)
    content, motion, times = codes(m)
    hidden, code = m.motion.hidden, m.motion.code
    m.motion.hidden = m.motion.code = None
    waves = m.path(motion, times)
    m.motion.hidden, m.motion.code = hidden, code
    assert waves.shape == (2, 4, 10)
    layers = [(layer.weight * layer.gain, layer.bias * layer.rate) for layer in (hidden, code)]
    between = waves @ layers[0][0].T + layers[0][1]
    between = math.sqrt(2) * torch.where(between < 0, 0.2 * between, between)
    torch.testing.assert_close(m.path(motion, times), between @ layers[1][0].T + layers[1][1])
    assert m(content, motion, times).shape == (2, 4, 3, 32, 32)
    with pytest.raises(VidgenError, match="waves is 9; it must be even"):
        MoStGANVConfig(**{**TINY, "waves": 9})


@torch.no_grad()
@pytest.mark.parametrize("labels", [0, 3])
def test_noise_of_codes_draws_the_same_frames(labels: int) -> None:
    """What the inference networks find, taken back through the flows, must arrive where they said."""
    plain = model(num_labels=labels)
    m = MoStGANV(dataclasses.replace(plain.config, couplings=4)).eval()
    m.load_state_dict(plain.state_dict() | {k: v for k, v in m.state_dict().items() if "flow" in k})
    (content, motion, times), label = codes(m), torch.tensor([0, 2]) if labels else None
    wanted = plain.latents(content, motion, times, label)
    assert torch.equal(m.latents(content, motion, times, label), wanted)  # flows begin as the identity
    for weight in [*m.content_flow.parameters(), *m.knot_flow.parameters()]:
        nn.init.normal_(weight, 0, 0.1)
    assert (m.latents(content, motion, times, label) - wanted).abs().max() > 0.01
    (content, _), (motion, log_determinant) = m.noise_of(content, motion, label)
    assert log_determinant.shape == (2,)
    torch.testing.assert_close(m.latents(content, motion, times, label), wanted, atol=1e-4, rtol=1e-3)


def test_smoothness_calms_the_motion() -> None:
    m = model(clip_length=16)
    _, motion, times = codes(m, 2, 40)

    def speed(smoothness: float) -> float:
        path = m.path(motion, times, None, 1.0, smoothness)[:, 16:]
        return (path[:, 1:] - path[:, :-1]).norm(dim=-1).mean().item()

    assert speed(0.0) > 1.3 * speed(0.3) > 1.3 * speed(1.0)
    both = m.path(motion, times, None, 1.0, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(both[0], m.path(motion, times)[0])


def test_truncation_goes_to_the_mean_and_moves_come_after() -> None:
    m = model()
    rest = codes(m)
    content = rest[0]
    for _ in range(4000):
        m.track(m.style(content))
    mean = m.style(content).mean(0)
    torch.testing.assert_close(m.style_mean, mean, atol=1e-2, rtol=1e-2)
    at = m.latents(*rest, truncation=0.0)[..., :9]
    torch.testing.assert_close(at, m.style_mean.expand_as(at))
    half = m.latents(*rest, truncation=torch.tensor([0.5, 1.0]))[..., :9]
    whole = m.latents(*rest)[..., :9]
    torch.testing.assert_close(half[0], (whole[0] + m.style_mean) / 2)
    torch.testing.assert_close(half[1], whole[1])
    moves = torch.randn(2, 9)
    moved = m.latents(*rest, truncation=0.5, moves=moves)[..., :9]
    torch.testing.assert_close(
        moved - m.latents(*rest, truncation=0.5)[..., :9], moves[:, None].expand_as(moved)
    )
    assert m.content_weights().shape[0] == moves.shape[1]
    assert m.content_covariance().shape == (9, 9)
    torch.testing.assert_close(m.style(content), m.style(3 * content))  # z counts by its direction alone


def test_directions_are_as_long_as_styles_spread() -> None:
    torch.manual_seed(0)
    m = model()
    with torch.no_grad():
        m.mapping.layers[-1].weight[2] *= 30
    label = torch.ones(5000, dtype=torch.long)
    styles = m.style(torch.randn(5000, m.content_dim), label if m.num_labels else None).detach()
    spread = m.content_covariance().diagonal().sqrt()
    torch.testing.assert_close(spread, styles.std(0), rtol=0.15, atol=0.01)
    first = sampling.factorise(m).detach()[0]
    assert first.abs().argmax() == 2, "where w varies most, the picture does"
    assert first.norm() == pytest.approx(spread[2].item(), rel=0.1)


def test_bfloat16_stays_near() -> None:
    m = model()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        coarse = m(*codes(m))
    assert coarse.dtype == torch.bfloat16
    assert (coarse.float() - m(*codes(m))).abs().mean() < 0.03


def test_fractional_times_lie_between_frames() -> None:
    m = model()
    _, motion, _ = codes(m, 1, 9)
    path = m.path(motion, torch.tensor([[4.0, 4.01, 5.0]]))[0]
    assert (path[1] - path[0]).norm() < 0.1 * (path[2] - path[0]).norm()


# ---- what is refused


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
        ("size", 8),
        ("content_dim", 0),
        ("motion_styles", -1),
        ("code_dim", 7),
        ("order", "x"),
        ("longest_period", 2.0),
        ("longest_period", math.inf),
        ("shortest_period", math.nan),
        ("style_rank", 0),
        ("couplings", -1),
        ("canvas", 4),
        ("canvas", 8),
        ("canvas", 33),
    ],
)
def test_config_refuses(option: str, value: object) -> None:
    with pytest.raises(VidgenError, match=option):
        MoStGANVConfig(**{option: value})


# ---- from a file to pictures


def test_a_canvas_renders_as_the_model_in_its_file(tmp_path: Path) -> None:
    m = model(canvas=6, layout=True)
    m.track(m.style(torch.randn(64, 6)))
    save_model(tmp_path / "sky.safetensors", m, {"fps": 8, "licence": "MIT"})
    session, recipe = Session(tmp_path, threads=1), Recipe(model="sky", frames=20, fps=8)
    clip = session.render(recipe)
    known, _, _ = load_model(tmp_path / "sky.safetensors")
    asked = sampling.codes([recipe], known, None, 8)
    plain = known.plain()(asked.content, asked.motion, asked.times)[0].detach()
    levels = ((plain + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()
    assert abs(clip.astype(float) - levels).max() <= 1
    assert session.motion_path(recipe).shape == (20, 2)
    assert session.inspect(recipe).heat.shape[-2:] == (32, 32)


@torch.no_grad()
def test_a_canvas_is_as_sharp_after_a_thousand_frames() -> None:
    """Half precision knows a place that is near to a hundredth of a pixel, however long the clip."""
    m = model(canvas=6, layout=True)
    content, motion, _ = codes(m, 1, 1001)
    late = torch.tensor([[1000.0, 1000.25]])
    place = m.latents(content, motion, late)[..., -2:]
    assert place.abs().max() <= 6 / 4 / 2
    far = m.path(motion, late)[..., -2:]
    assert far.abs().max() > 10
    turns = (far - place) / 1.5
    torch.testing.assert_close(turns, turns.round(), atol=1e-4, rtol=0)
    x = torch.randn(2, 3, 24, 24)
    whole = window(x, far[0])
    assert (window(x, place[0]) - whole).abs().max() < 0.01
    assert (window(x, place[0].half().float()) - whole).abs().max() < 0.05
    assert (window(x, far[0].half().float()) - whole).abs().max() > 0.05, "far away, half a pixel is lost"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    m = model(num_labels=2)
    m.track(m.style(torch.randn(64, 6), torch.arange(64) % 2))
    path = tmp_path_factory.mktemp("weights")
    about = {"categories": ["a", "b"], "fps": 8, "truncation": True, "licence": "MIT"}
    save_model(path / "tiny.safetensors", m, about)
    return path


def test_a_file_renders_as_the_model_in_it(folder: Path) -> None:
    session, recipe = Session(folder, threads=1), Recipe(model="tiny", frames=20, fps=8, category=1)
    clip = session.render(recipe)
    assert clip.shape == (20, 32, 32, 3)
    m, _, _ = load_model(folder / "tiny.safetensors")
    asked = sampling.codes([recipe], m, None, 8)
    plain = m.plain()(asked.content, asked.motion, asked.times, asked.label)[0].detach()
    levels = ((plain + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()
    assert abs(clip.astype(float) - levels).max() <= 1
    short = session.render(recipe.replace(frames=7))
    assert abs(clip[:7].astype(int) - short).max() <= 1
    assert session.motion_path(recipe).shape == (20, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"content_seed": 4},
        {"motion_seed": 6},
        {"directions": (2, 0, 0, 0, 0, 0)},
        {"pad": (0, 2)},
        {"strength": 0},
        {"smoothness": 1},
        {"speed": 2},
        {"playback": "reverse"},
        {"category": 1},
        {"category_to": 1, "category_at": 4},
        {"fps": 20},
        {"truncation": 0.3},
        {"content_to": 8, "content_mix": 0.5},
        {"motion_to": 8, "motion_mix": 0.5},
        {"splice_seed": 8, "splice_at": 2},
    ],
)
def test_every_field_changes_the_picture(folder: Path, changes: dict[str, object]) -> None:
    session = Session(folder, threads=1)
    base = Recipe(model="tiny", content_seed=3, motion_seed=5, frames=8, fps=8, category=0)
    assert (session.render(base) != session.render(base.replace(**changes))).any()


def test_a_file_of_other_dimensions_is_one_sentence(tmp_path: Path) -> None:
    m = model(num_labels=2)
    object.__setattr__(m.config, "style_dim", 10)
    save_model(tmp_path / "other.safetensors", m, {})
    with pytest.raises(VidgenError, match="does not hold the tensors"):
        load_model(tmp_path / "other.safetensors")


def test_bench_measures_against_the_readable_twin(folder: Path) -> None:
    found = bench.measure(describe(folder / "tiny.safetensors"), clips=2, frames=5, runs=1)
    assert found["max_difference"] <= 1
    assert found["plain_seconds"] > 0


# ---- the discriminator


@pytest.mark.parametrize(
    ("size", "frames", "differences", "labels"),
    [(16, 3, True, 0), (32, 3, True, 3), (64, 3, False, 0), (32, 1, True, 0), (32, 4, False, 3)],
)
def test_discriminators_of_every_kind(size: int, frames: int, differences: bool, labels: int) -> None:
    torch.manual_seed(0)
    d = Discriminator(
        size, frames=frames, base_width=4, max_width=8, num_labels=labels, differences=differences
    )
    video = torch.randn(2, frames, 3, size, size, requires_grad=True)
    times = torch.arange(float(frames)).repeat(2, 1) * 2
    logit = d(video, times, torch.tensor([0, 2]) if labels else None)
    assert logit.shape == (2,)
    (slope,) = torch.autograd.grad(logit.sum(), video, create_graph=True)
    slope.square().sum().backward()  # R1: every layer must have a second derivative
    unseen = {"bias"} if frames > 1 or labels else {"bias", "weight"}
    for name, p in d.named_parameters():
        assert p.grad is not None or name.split(".")[-1] in unseen, name
        assert p.grad is None or torch.isfinite(p.grad).all(), name
    logit = d(video, times, torch.tensor([0, 2]) if labels else None).sum()
    d.zero_grad()
    logit.backward()
    used = [name for name, p in d.named_parameters() if p.grad is None]
    assert not used


def test_a_folded_discriminator_leaves_out_layers_but_no_pixel() -> None:
    torch.manual_seed(0)
    whole, folded = (Discriminator(64, base_width=4, max_width=8, frames=2, fold=fold) for fold in (1, 2))
    assert len(folded.alone) == len(whole.alone) - 1
    video = torch.randn(3, 2, 3, 64, 64, requires_grad=True)
    logits = folded(video, torch.tensor([[0.0, 2.0]] * 3))
    assert logits.shape == (3,)
    (slope,) = torch.autograd.grad(logits.sum(), video)
    assert (slope != 0).float().mean() > 0.99
    for fold in (0, 3, 8):
        with pytest.raises(VidgenError, match="cannot be folded"):
            Discriminator(64, fold=fold)


def test_the_judgement_depends_on_time_category_and_order() -> None:
    torch.manual_seed(0)
    d = Discriminator(32, base_width=4, max_width=8, num_labels=2).eval()
    video, times, label = torch.randn(1, 3, 3, 32, 32), torch.tensor([[0.0, 2.0, 8.0]]), torch.tensor([0])
    logit = d(video, times, label)
    for other in (
        d(video, torch.tensor([[0.0, 3.0, 8.0]]), label),
        d(video, times, torch.tensor([1])),
        d(video.flip(1), times, label),
    ):
        assert (other - logit).abs() > 1e-5
    torch.testing.assert_close(d(video, times + 5, label), logit)


def test_differences_are_cyclic() -> None:
    torch.manual_seed(0)
    d = Discriminator(16, base_width=4, max_width=8)
    seen = []
    d.colours.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    video = torch.randn(2, 3, 3, 16, 16)
    d(video, torch.tensor([[0.0, 1.0, 2.0]] * 2))
    frames = seen[0].unflatten(0, (2, 6))
    assert torch.equal(frames[:, :3], video)
    for index in range(3):
        torch.testing.assert_close(frames[:, 3 + index], video[:, index] - video[:, (index + 1) % 3])
