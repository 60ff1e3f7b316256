"""MoStGAN-V's trainer, its augmentation and its inference network, on tiny data."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from train import bench_mostganv, losses
from train.augment import AdaptiveAugment, mirror
from train.data.sources import Batch, ShapeSource
from train.mostganv import PRESETS, MoStGANVTrainer, Options, main
from train.posterior import KnotPosterior, StandardMoments
from train.sharing import sharing
from vidgen.checkpoint import load_model
from vidgen.errors import VidgenError

TINY = {
    "size": 16,
    "length": 9,
    "longest": 4,
    "batch": 3,
    "content_dim": 6,
    "style_dim": 8,
    "motion_dim": 4,
    "code_dim": 8,
    "motion_distance": 4,
    "motion_kernel": 2,
    "motion_styles": 2,
    "motion_style_dim": 4,
    "motion_hidden": 8,
    "label_dim": 4,
    "base_width": 4,
    "max_width": 8,
    "longest_period": 16.0,
    "shortest_period": 4.0,
    "d_base_width": 4,
    "d_max_width": 8,
    "d_fold": 1,
    "reach": 8,
    "bfloat16": False,
}


@pytest.fixture(scope="module")
def source() -> ShapeSource:
    return ShapeSource(16, 9, count=8)


def trainer(source: ShapeSource, preset: str = "small", **changes: object) -> MoStGANVTrainer:
    return MoStGANVTrainer(Options(**{**PRESETS[preset], "warm_up": 0, **TINY, **changes}), source)


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_step_moves_every_weight(source: ShapeSource, preset: str, bfloat16: bool) -> None:
    t = trainer(source, preset, bfloat16=bfloat16, redraw_reach=4, motion_styles=3, diversity=0.1)
    t.set_rates(0, 100)
    networks = {name: part for name, part in t.parts.items() if name != "augment"}
    before = {name: weights(part) for name, part in networks.items()}
    first, second = t.step(0), t.step(1)
    assert all(math.isfinite(value) for value in [*first.values(), *second.values()])
    assert "r1" in first
    assert "r1" not in second
    for name, part in networks.items():
        assert not torch.equal(before[name], weights(part)), name
    still = [name for name, value in t.g.named_parameters() if value.grad is None]
    assert not still
    assert t.g.style_mean.abs().max() > 0


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_step_moves_all_of_a_canvas(source: ShapeSource, bfloat16: bool) -> None:
    t = trainer(source, bfloat16=bfloat16, canvas=6, layout=True, poses=0)
    t.set_rates(0, 100)
    before = {name: value.detach().clone() for name, value in t.g.named_parameters()}
    logs = [t.step(0), t.step(1)]
    assert all(math.isfinite(value) for log in logs for value in log.values())
    for name, value in t.g.named_parameters():
        assert "flow" in name or not torch.equal(before[name], value), name  # flows begin as no change
    assert t.average.model.image.centre.abs().max() > 0


def test_warm_up_leaves_the_discriminator_alone(source: ShapeSource) -> None:
    t = trainer(source, warm_up=1)
    before = weights(t.d)
    assert "d" not in t.step(0)
    assert torch.equal(before, weights(t.d))
    assert "d" in t.step(1)
    assert not torch.equal(before, weights(t.d))


def test_the_generator_step_leaves_the_discriminator(source: ShapeSource) -> None:
    t = trainer(source)
    batch = source.batch(np.random.default_rng(0), 3, 9, 3)
    before = weights(t.d)
    t.update_g(t.generate(batch, True), True, t.prices(9999))
    assert torch.equal(before, weights(t.d))
    assert all(p.requires_grad for p in t.d.parameters())


def test_rates_follow_the_schedule(source: ShapeSource) -> None:
    t = trainer(source, warm_up=10, decay=0.5, lr=0.002, lr_warm=0.004, lr_q=0.001)
    rates = []
    for index in (0, 10, 75):
        t.set_rates(index, 100)
        rates.append([group["lr"] for group in (*t.opt_g.param_groups, *t.opt_d.param_groups)])
    lazy = 16 / 17
    assert rates[0] == pytest.approx([0.004, 0.001, 0.002 * lazy])
    assert rates[1] == pytest.approx([0.002, 0.001, 0.002 * lazy])
    assert rates[2] == pytest.approx([0.001, 0.0005, 0.001 * lazy])
    assert t.opt_d.param_groups[0]["betas"] == pytest.approx((0.0, 0.99**lazy))


def test_prices_rise(source: ShapeSource) -> None:
    t = trainer(source, kl=0.5, kl_start=10, kl_full=20)
    prices = [t.prices(index) for index in (0, 10, 15, 99)]
    assert [each["kl_content"] for each in prices] == [0, 0.25, 0.375, 0.5]
    assert [each["kl_motion"] for each in prices] == [0, 0, 0.25, 0.5]
    assert [each["kl_poses"] for each in prices] == [0, 0.25, 0.375, 0.5]


def test_knots_take_over_after_a_while(source: ShapeSource) -> None:
    with pytest.raises(VidgenError, match="poses_start is 9 and poses_end 9; the knots take over"):
        trainer(source, poses=3, poses_start=9, poses_end=9)


def test_redrawing_learns_one_clip(source: ShapeSource) -> None:
    """Codes inferred from real clips must reach the pictures: the error falls."""
    t = trainer(source, warm_up=99, kl=0.0, base_width=8, max_width=16, style_dim=16, lr_warm=0.01)
    t.set_rates(0, 100)
    torch.manual_seed(0)
    log = [t.step(index)["redraw"] for index in range(60)]
    assert sum(log[-10:]) < 0.6 * sum(log[:10])


def test_redrawn_clips_are_judged(source: ShapeSource) -> None:
    t = trainer(source, judge_redrawn=True, redraw_frames=2, longest=4)
    batch = source.batch(np.random.default_rng(0), 3, 9, 3)
    made = t.generate(batch, True)
    assert made["video"].shape == (6, 3, 3, 16, 16)
    assert torch.equal(made["video"][3:], made["redrawn"])
    picks = made["times"][3:].long()
    assert torch.equal(made["wanted"], batch.video[torch.arange(3)[:, None], picks])
    assert picks.diff(dim=1).min() > 0
    assert {2, 4} >= set((picks[:, -1] - picks[:, 0]).tolist()), "as far apart as real frames are"
    assert t.generate(batch, False)["redrawn"].shape[1] == 2
    assert all(math.isfinite(value) for value in t.step(0).values())
    with pytest.raises(VidgenError, match="give redraw a weight"):
        trainer(source, judge_redrawn=True, redraw=0.0)


def test_clips_alike_are_told_apart_where_asked(source: ShapeSource) -> None:
    assert "spread" not in trainer(source).step(0)
    t = trainer(source, spread=2.0)
    assert t.step(0)["spread"] > 0, "untrained clips are all grey"
    assert "spread" not in trainer(source, spread=2.0, warm_up=1).step(0)


def test_energy_is_compared_between_frames_as_far_apart(source: ShapeSource) -> None:
    ramp = torch.arange(9.0).reshape(1, 9, 1, 1, 1).expand(3, 9, 3, 16, 16) / 10
    t = trainer(source, energy=1.0, reach=0)
    times = torch.tensor([[0.25, 1.25, 4.25], [3.5, 5.5, 7.5], [4.0, 5.0, 8.0]])
    real = t._as_far_apart(Batch(ramp, torch.zeros(3).long(), ramp[:, :1]), times)
    torch.testing.assert_close(
        real[:, 1:, 0, 0, 0] - real[:, :1, 0, 0, 0], (times[:, 1:] - times[:, :1]) / 10
    )
    for drawn, wanted in ((2 * real, real), (real, 2 * real)):
        loss = losses.energy_loss(drawn, wanted, times)
        torch.testing.assert_close(loss, torch.tensor(2.0).log(), atol=0.01, rtol=0)
    assert losses.energy_loss(real, real, times) == 0
    assert math.isfinite(t.step(0)["energy"])


def test_energy_is_that_of_neighbours() -> None:
    steps = torch.tensor([0.0, 0.1, 0.2]).reshape(1, 3, 1, 1, 1).expand(1, 3, 3, 4, 4)
    faster, later = steps * torch.tensor([0.0, 2.0, 1.0]).reshape(3, 1, 1, 1), steps.clone()
    later[:, 2] += 0.1
    times = torch.tensor([[0.0, 1.0, 8.0]])
    near, far = (losses.energy_loss(drawn, steps, times) for drawn in (faster, later))
    assert near > 4 * far, "the same change counts more between neighbours than 7 frames apart"


def test_appearance_is_colours_contrast_sharpness_and_histogram() -> None:
    video = torch.zeros(1, 2, 3, 8, 8)
    video[:, :, 1] = 0.5
    colours, contrast, sharpness, counted = losses.appearance(video)
    torch.testing.assert_close(colours, torch.tensor([[0, 0.5, 0]]))
    assert contrast.item() == 0 and sharpness.abs().item() < 1e-6 and counted.shape == (1, 216)
    video[:, :, 0, :, ::2] = 1
    colours, contrast, sharpness, _ = losses.appearance(video)
    torch.testing.assert_close(colours, torch.tensor([[0.5, 0.5, 0]]))
    assert contrast.item() == pytest.approx(video[0, 0, 0].std().item() / 3)
    assert sharpness.item() > 0.1
    assert len(losses.appearance(video[:, :, :1])) == 3, "a histogram is of colours"


def test_a_colour_histogram_counts_colours_wherever_they_are() -> None:
    frames = -torch.ones(2, 3, 4, 4)
    frames[0, 0, 0, :2] = 1  # two red pixels of 16
    frames[1, 0, 3, 1:3] = 1
    counted = losses.colour_histogram(frames, bins=3)
    torch.testing.assert_close(counted[0], counted[1])
    expected = torch.zeros(3, 3, 3)
    expected[0, 0, 0], expected[2, 0, 0] = 14 / 16, 2 / 16
    torch.testing.assert_close(counted[0], expected.flatten())
    grey = losses.colour_histogram(torch.full((1, 3, 4, 4), 0.25), bins=3).reshape(3, 3, 3)
    assert grey.sum().item() == pytest.approx(1)
    assert grey[1, 1, 1].item() == pytest.approx(0.75**3) and grey[2, 2, 2].item() == pytest.approx(0.25**3)
    slope = torch.full((1, 3, 4, 4), 0.9, requires_grad=True)
    losses.colour_histogram(slope)[0, -1].backward()
    assert (slope.grad > 0).all()


def test_movement_is_where_it_changes_not_how_much() -> None:
    video = torch.zeros(2, 3, 3, 32, 32)
    video[0, 1:, :, :2, :2] = 0.5  # the first place, once
    video[1, 1:, 0, :2, :2] = 0.1
    (moved,) = losses.movement(video)
    assert moved.shape == (2, 2 * 16 * 16)
    torch.testing.assert_close(moved[0, :2], torch.tensor([1.0, 0]), atol=0.01, rtol=0)
    torch.testing.assert_close(moved[0], moved[1], atol=0.05, rtol=0)
    assert moved[:, 256:].abs().max() == 0


@pytest.mark.parametrize("n", [4, 5, 8, 9, 32])
def test_some_clips_share_a_code(n: int) -> None:
    both, none = sharing(n, True, True), sharing(n, False, False)
    assert torch.equal(none.content, torch.arange(n)) and torch.equal(none.motion, torch.arange(n))
    content, motion = both.content.tolist(), both.motion.tolist()
    for shared in (content, motion):
        assert len(set(shared)) == n - n // 2, "in pairs"
        assert [shared[row] for row in shared] == shared, "what is taken is that row's own"
    assert len(set(zip(content, motion, strict=True))) == n, "no two share both"
    assert torch.equal(sharing(n, True, False).content, both.content)
    assert torch.equal(sharing(n, False, True).motion, both.motion)
    group = next(size for size in (4, 3, 2, 1) if n % size == 0)
    if n > 4 and n % 4 == 0:
        for first in range(n // group):  # of vidgen.layers.batch_deviation
            rows = range(first, n, n // group)
            assert len({content[row] for row in rows}) == len({motion[row] for row in rows}) == group


@pytest.mark.parametrize("n", [4, 8, 9, 32])
def test_consistency_is_about_1_where_a_code_says_nothing(n: int) -> None:
    shared, found = sharing(n, True, True), {"own": [], "other": []}
    draws = torch.Generator().manual_seed(0)
    for _ in range(200):
        codes = torch.randn(n, 3, generator=draws), 100 * torch.randn(n, 9, generator=draws)
        for name, part in (("own", shared.content), ("other", shared.motion)):
            seen = [each[part] for each in codes]
            found[name].append(losses.consistency_loss(seen, shared.content, shared.motion))
    assert max(found["own"]) == 0, "what the code decides"
    assert torch.stack(found["other"]).median() == pytest.approx(1, abs=0.15), "what the other one decides"
    grey = torch.zeros(n, 5, requires_grad=True)
    losses.consistency_loss([grey], shared.content, shared.motion).backward()
    assert grey.grad is not None and grey.grad.isfinite().all()


def test_pairs_of_clips_share_codes_where_asked(source: ShapeSource) -> None:
    for options in ({"consistency": 1.0}, {"motion_consistency": 1.0}):
        t, found = trainer(source, batch=9, **options), []
        t._latents = lambda *codes: found.append(codes) or type(t)._latents(t, *codes)  # noqa: B023
        (name,) = options
        assert math.isfinite(t.step(0)[name])
        content, motion, times, label = found[0]
        alike = torch.equal(content[:8:2], content[1:8:2])
        moving = [torch.equal(part[:8:2].roll(1, 0), part[1:8:2]) for part in (motion, times, label)]
        assert alike == ("consistency" in options), options
        assert (all(moving[:2]), all(moving)) == ("motion_consistency" in options,) * 2, options
        assert len(content.unique(dim=0)) == (5 if alike else 9)
    assert not {"consistency", "motion_consistency"} & set(trainer(source, batch=4).step(0))


def test_clips_are_compared_by_the_codes_that_they_share(source: ShapeSource) -> None:
    t = trainer(source, consistency=1.0, motion_consistency=1.0, spread=1.0, batch=8, reach=0)
    batch, times = t._batch(np.random.default_rng(0), 8), torch.arange(3.0).expand(8, 3)
    shared = sharing(8, True, True)
    colours = torch.rand(8, 1, 3, 1, 1, generator=torch.Generator().manual_seed(0))[shared.content]
    places = torch.zeros(8, 3, 1, 16, 16)
    for row, motion in enumerate(shared.motion):
        for time in range(3):
            places[row, time, 0, 2 * time, 2 * motion : 2 * motion + 2] = 1
    video = colours * (1 - places) + 0.1 * places
    found = t._compared(batch, video, times, shared)
    assert found["consistency"] < 0.25 and found["motion_consistency"] < 0.05
    swapped = t._compared(batch, video[torch.tensor([0, 3, 2, 5, 4, 7, 6, 1])], times, shared)
    assert swapped["consistency"] > 0.5 and swapped["motion_consistency"] > 0.5
    alone = losses.collapse_loss(video[::2, 0], batch.video[:, 0])
    torch.testing.assert_close(found["spread"], alone)


@pytest.mark.parametrize("name", ["spread", "energy", "consistency", "motion_consistency"])
def test_a_weight_has_an_effect(source: ShapeSource, name: str) -> None:
    slopes = {}
    for weight in (1.0, 2.0, 3.0):
        t = trainer(source, batch=4, redraw=0.0, poses=0, warm_up=0, **{name: weight})
        with torch.no_grad():  # other than grey
            for layer in t.g.image.colours:
                layer.weight.normal_(generator=torch.Generator().manual_seed(1))
        t.step(0)
        slopes[weight] = torch.cat([w.grad.flatten() for w in t.g.parameters() if w.grad is not None])
    more, again = slopes[2.0] - slopes[1.0], slopes[3.0] - slopes[2.0]
    assert more.abs().max() > 1e-3
    torch.testing.assert_close(more, again, atol=1e-4, rtol=1e-2)


def test_what_needs_several_clips_or_frames_says_so(source: ShapeSource) -> None:
    for name, least in (("spread", 2), ("consistency", 4), ("motion_consistency", 4)):
        t = trainer(source, batch=least - 1, redraw=0.0, poses=0, warm_up=0, **{name: 1.0})
        with pytest.raises(
            VidgenError, match=f"too small for --{name.replace('_', '-')}: choose parts of {least} clips"
        ):
            t.step(0)
        assert t.fewest == least
    with pytest.raises(
        VidgenError, match="A part of 1 .* too small for --redraw, --consistency: .* set them to 0"
    ):
        trainer(source, batch=1, consistency=1.0, warm_up=9).step(0)
    for name in ("energy", "motion_consistency"):
        with pytest.raises(VidgenError, match=f"{name} compares neighbouring frames"):
            trainer(source, frames=1, redraw=0.0, poses=0, **{name: 1.0})


def test_references_may_be_the_clips_own_frames(source: ShapeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    for own in (False, True):
        t, seen = trainer(source, warm_up=9, own_references=own), []
        monkeypatch.setattr(t, "generate", lambda batch, *_: seen.append(batch))  # noqa: B023
        monkeypatch.setattr(t, "update_g", lambda *_: {})
        t.step(0)
        pairs = zip(seen[0].video, seen[0].references, strict=True)
        shown = all(any(torch.equal(one, frame) for frame in clip) for clip, ones in pairs for one in ones)
        assert shown == own
        assert seen[0].references.shape[:2] == (3, 3)


def test_knots_stand_where_the_clip_begins(source: ShapeSource) -> None:
    t = trainer(source, redraw_reach=8)
    count = t.g.motion_length(9 - 1)
    knots = torch.randn(3, count, 4)
    placed = t._placed(knots, torch.tensor([0, 1, 2]))
    assert placed.shape == (3, t.g.motion_length(9 - 1 + 8), 4)
    for index in range(3):
        assert torch.equal(placed[index, index : index + count], knots[index])
    times = 8 + torch.arange(9.0)[None]
    moved = placed.clone()
    moved[2, :2] = 1.0  # before the first that the clip touches
    assert torch.equal(
        t.g.path(placed[2:], times, torch.tensor([0])), t.g.path(moved[2:], times, torch.tensor([0]))
    )


def run(out: Path, *extra: str) -> int:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    line = ["--data=shapes", "--out", str(out), "--threads=1", "--warm-up=1", "--device=cpu"]
    return main([*line, *options, *extra])


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--steps=4", "--save-every=2", "--augment-images=3", "--augment=0.01", "--r1-every=2"]
    assert run(tmp_path / "whole", *words) == 0
    real_step = MoStGANVTrainer.step

    def broken(self: MoStGANVTrainer, index: int) -> dict[str, float]:
        if index == 3:
            raise KeyboardInterrupt
        return real_step(self, index)

    monkeypatch.setattr(MoStGANVTrainer, "step", broken)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", *words)
    monkeypatch.undo()
    assert run(tmp_path / "cut", *words) == 0
    whole, cut = (load_model(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    for name, value in whole[0].state_dict().items():
        assert torch.equal(value, cut[0].state_dict()[name]), name
    assert (tmp_path / "cut" / "samples-000004.png").exists()
    assert whole[1]["title"] == "MoStGAN-V on moving shapes"
    assert whole[1]["card"]["options"]["motion_styles"] == 2


def test_a_discriminator_can_be_chosen_until_it_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--steps=2", "--revise", "--d-base-width"]
    assert run(tmp_path, "--steps=1") == 0
    assert run(tmp_path, *words, "8") == 0
    assert load_model(tmp_path / "model.safetensors")[1]["card"]["changes"][0]["options"] == {
        "steps": [1, 2],
        "d_base_width": [4, 8],
    }
    assert run(tmp_path, "--steps=3", *words[1:], "4") != 0
    assert "holds another network" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "at least 1"),
        ({"kl": -1.0}, "negative"),
        ({"frames": 99}, "9 frames"),
        ({"longest": 16}, "8 apart"),
        ({"augment": 1.0}, "below 1"),
        ({"motion_styles": 0, "diversity": 0.1}, "diversity 0"),
        ({"order": "both"}, "content"),
        ({"canvas": 6, "layout": True}, "no poses"),
        ({"canvas": 6, "layout": True, "poses": 0, "redraw_reach": 4}, "no redraw_reach"),
        ({"canvas": 6, "poses": 0}, "layout true"),
    ],
)
def test_options_are_checked(source: ShapeSource, options: dict, message: str) -> None:
    with pytest.raises(VidgenError, match=message):
        trainer(source, **options)


def test_mirrored_clips_of_another_category_are_refused(source: ShapeSource) -> None:
    assert trainer(source, flips=True).o.flips
    turned = ShapeSource(16, 9, count=8)
    turned.mirrors = False
    with pytest.raises(VidgenError, match="flips false"):
        trainer(turned, flips=True)


def test_the_gradient_penalty_by_hand() -> None:
    seen = torch.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True)
    slope = torch.tensor([2.0, -1.0], requires_grad=True)
    penalty = losses.gradient_penalty((seen.square() @ slope), seen)
    each = [(4 * 1) ** 2 + (2 * 2) ** 2, (4 * 3) ** 2 + (2 * 1) ** 2]
    assert penalty.item() == pytest.approx(sum(each) / 2)
    penalty.backward()
    assert slope.grad is not None


def test_augmentation_is_the_same_on_all_frames_and_on_differences() -> None:
    torch.manual_seed(0)
    augment = AdaptiveAugment(0.6, 100)
    augment.chance.fill_(0.8)
    video = torch.rand(6, 1, 3, 16, 16).expand(-1, 3, -1, -1, -1).clone().requires_grad_()
    changed = augment(video)
    assert changed.shape == video.shape
    torch.testing.assert_close(changed, changed[:, :1].expand_as(changed))
    assert (changed - video).abs().flatten(1).amax(1).gt(0.01).sum() >= 4
    changed.sum().backward()
    assert torch.isfinite(video.grad).all()
    assert video.grad.abs().sum() > 0


def test_augmentation_without_a_chance_changes_nothing() -> None:
    video = torch.rand(2, 3, 3, 8, 8)
    assert torch.equal(AdaptiveAugment(0.6, 100)(video), video)


def test_the_chance_follows_the_logits() -> None:
    augment = AdaptiveAugment(0.6, 100)
    for _ in range(20):
        augment.adapt(torch.ones(5))
    sure = float(augment.chance)
    assert 0 < sure <= AdaptiveAugment.LARGEST
    for _ in range(200):
        augment.adapt(torch.ones(5))
    assert float(augment.chance) == pytest.approx(AdaptiveAugment.LARGEST)
    for _ in range(200):
        augment.adapt(torch.tensor([1.0, -1.0]))
    assert float(augment.chance) == 0


def test_mirroring_picks_clips() -> None:
    video = torch.rand(2, 3, 3, 4, 4)
    mirrored = mirror(video, torch.tensor([True, False]))
    assert torch.equal(mirrored[0], video[0].flip(-1))
    assert torch.equal(mirrored[1], video[1])


def test_knot_posterior_hears_the_start() -> None:
    posterior = KnotPosterior(9, 5, 4, 2, torch.tensor([8.0, 16.0]))
    seen, label = torch.randn(2, 9, 128), torch.tensor([0, 1])
    mean, log_variance = posterior(seen, torch.zeros(2), label)
    assert mean.shape == log_variance.shape == (2, 5, 4)
    assert not torch.equal(mean, posterior(seen, torch.full((2,), 3.0), label)[0])


def test_frames_are_drawn_from_their_own_codes_first(source: ShapeSource) -> None:
    t = trainer(source, poses=3, poses_match=1.0, poses_start=2, poses_end=4, warm_up=9)
    assert [round("match" in t.step(index), 2) for index in range(6)] == [1, 1, 1, 1, 0, 0]
    batch = source.batch(np.random.default_rng(0), 3, 9, 3)
    point, seen = torch.zeros(3, 9, 16), t.q_frames(batch.video)
    for share in (0.0, 1.0):
        made: dict = {"kl": {}}
        taught = t._taught(point, seen, batch.label, share, made)
        assert torch.equal(taught[..., :8], point[..., :8]), "the style stays"
        assert taught[..., 8:].any() == bool(share)
        assert made["match"].item() == pytest.approx(1, rel=0.01), "codes of variance 1, against zeros"
    codes, (mean, _) = t.q_poses(seen, batch.label)
    assert codes.shape == (3, 9, 8)
    assert mean.shape == (3, 9, 3)


def test_codes_of_frames_may_tell_movement_alone(source: ShapeSource) -> None:
    t = trainer(source, poses=3, poses_still=False)
    seen, label = t.q_frames(source.batch(np.random.default_rng(0), 3, 9, 3).video), torch.tensor([0, 1, 1])
    t.q_poses.eval()
    assert t.q_poses(seen, label)[1][0].mean(1).abs().max() < 1e-4
    t.q_poses.still = True
    assert t.q_poses(seen, label)[1][0].mean(1).abs().max() > 1e-2


def test_knots_follow_the_codes_of_the_frames(source: ShapeSource) -> None:
    t = trainer(source, poses=3, poses_still=False, waves=8, batch=8)
    t.g.image.forward = lambda points: points.new_zeros(len(points), 3, 16, 16)  # no picture is needed
    batch, found = source.batch(np.random.default_rng(0), 8, 9, 3), []
    parts = [*t.q_motion.parameters(), *t.g.motion.parameters()]
    optimizer = torch.optim.Adam(parts, 0.01)
    for _ in range(60):
        made = t.generate(batch, adversarial=False, taught=1.0)
        optimizer.zero_grad()
        made["match"].backward()
        optimizer.step()
        found.append(made["match"].item())
    assert np.mean(found[-10:]) < 0.75 < 0.95 < found[0]


@pytest.mark.parametrize("preset", PRESETS)
def test_style_weights_start_as_small_as_asked(source: ShapeSource, preset: str) -> None:
    loud, quiet = (trainer(source, preset, style_start=start, redraw=0.0) for start in (1.0, 0.1))
    for a, b in zip(loud.g.image.convs, quiet.g.image.convs, strict=True):
        torch.testing.assert_close(b.affine.weight, 0.1 * a.affine.weight)
    assert any(layer.weight.any() for layer in quiet.g.image.colours)
    redrawing = trainer(source, preset, redraw=40.0)
    assert not any(layer.weight.any() for layer in redrawing.g.image.colours), "the first picture is grey"


def test_no_price_silences_an_inferred_code() -> None:
    """Whatever asks for shorter means has no gradient, and few clips are measured as all the data are."""
    torch.manual_seed(0)
    moments = StandardMoments(4)
    data = torch.cat([3 + 0.1 * torch.randn(600, 4), torch.zeros(600, 4)], 1)
    for batch in data.split(2):
        moments(batch)
    mean, log_variance = moments.eval()(data)
    torch.testing.assert_close(mean.mean(0), torch.zeros(4), atol=0.2, rtol=0)
    torch.testing.assert_close(mean.std(0), torch.ones(4), atol=0.15, rtol=0)
    assert log_variance.eq(-4).all()
    few = data[:6]
    torch.testing.assert_close(moments.train()(few)[0], moments.eval()(few)[0])
    scale = torch.ones((), requires_grad=True)
    moments.train()(few * scale)[0].square().sum().backward()
    assert scale.grad.abs() < 0.02, "48 without the gradient of the statistics"


def test_a_sheet_leaves_the_training_as_it_was(source: ShapeSource, tmp_path: Path) -> None:
    t = trainer(source)
    networks = t.q_content, t.q_motion
    assert all(isinstance(network.moments, StandardMoments) for network in networks)
    t.step(0)
    before = {name: value.clone() for part in networks for name, value in part.state_dict().items()}
    t.sample(tmp_path, 1)
    after = {name: value for part in networks for name, value in part.state_dict().items()}
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(network.training for network in networks)


def test_parts_of_one_clip_are_refused(source: ShapeSource) -> None:
    with pytest.raises(VidgenError, match="A part of 1 .* too small for --redraw"):
        trainer(source, batch=1).step(0)


def test_an_inferred_code_is_never_wider_than_its_prior() -> None:
    _, log_variance = StandardMoments(1)(torch.tensor([[0.0, -99.0], [0.0, 99.0]]))
    assert log_variance.flatten().tolist() == pytest.approx([-8, 0])


def test_the_flows_learn_and_the_clips_are_redrawn_through_them(source: ShapeSource) -> None:
    t = trainer(source, warm_up=9, couplings=4, kl_start=0, kl_full=1, kl=0.5, redraw=1.0)
    t.set_rates(0, 10)
    for index in range(2):
        log = t.step(index)
    assert math.isfinite(sum(log.values()))
    for flow in (t.g.content_flow, t.g.knot_flow):
        assert min(coupling.body[-1].weight.abs().max().item() for coupling in flow.couplings) > 0


def test_flows_are_the_same_prior_to_begin_with(source: ShapeSource) -> None:
    """The distance from it, estimated from draws, is then on average the closed form's."""
    t = trainer(source, couplings=2)
    torch.manual_seed(0)
    content = torch.randn(1, 6).expand(20_000, 6), torch.full((20_000, 6), -1.0)
    motion = torch.randn(1, 3, 4).expand(20_000, 3, 4), torch.full((20_000, 3, 4), -2.0)
    label = torch.zeros(20_000, dtype=torch.long)
    (noise, knots), found = t._noise(content, motion, label)
    assert (noise.shape, knots.shape) == ((20_000, 6), (20_000, 3, 4))
    for moments, distance in zip((content, motion), found.values(), strict=True):
        assert distance.item() == pytest.approx(losses.kl_to_normal(*moments).item(), rel=0.02)


def test_the_bench_compares_equal_steps() -> None:
    options = {**TINY, "flips": False, "reach": 8, "batch": 2, "augment": 0.6}
    found = bench_mostganv.measure(Options(**options), repeats=1)
    assert found["losses_apart"] < 1e-4
    assert found["plain_s"] > 0 < found["ours_s"] and found["frames"] == 6
