"""Metrics with known answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vidgen.data.shapes import ShapeClips
from vidgen.errors import VidgenError
from vidgen.metrics import scores, shapes
from vidgen.metrics.features import (
    FORMAT,
    Judge,
    JudgeConfig,
    clip_features,
    load_judge,
    read_factors,
    to_video,
)

ROOT = Path(__file__).parents[1]
RNG_SEED = 7
Degradation = Callable[[np.ndarray, int], np.ndarray]
TINY = JudgeConfig(
    size=16,
    width=8,
    dims=8,
    heads={"category": 3},
    values={"pose": 2},
    content=("category",),
    motion=("pose",),
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(RNG_SEED)


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def square_clips(colours: np.ndarray, size: int = 24) -> np.ndarray:
    """Draw a square of colours [n, t, 3] that moves a pixel a frame: uint8 [n, t, h, w, c]."""
    n, t, _ = colours.shape
    clips = np.zeros((n, t, size, size, 3), np.uint8)
    for index in range(t):
        clips[:, index, 4:12, index : index + 8] = colours[:, index, None, None]
    return clips


class TestFrechetDistance:
    def test_identical_sets_give_zero(self, rng: np.random.Generator) -> None:
        features = rng.normal(size=(200, 16))
        assert scores.frechet_distance(features, features) == pytest.approx(0, abs=1e-9)

    def test_a_shift_gives_its_square(self, rng: np.random.Generator) -> None:
        features = rng.normal(size=(50, 8))
        assert scores.frechet_distance(features, features + 3) == pytest.approx(8 * 9)

    def test_diagonal_gaussians_give_the_closed_form(self, rng: np.random.Generator) -> None:
        whitened = rng.normal(size=(500, 6))
        whitened -= whitened.mean(0)
        whitened = whitened @ np.linalg.inv(np.linalg.cholesky(np.cov(whitened.T))).T
        a, b = np.array([1, 2, 3, 4, 5, 6.0]), np.array([2, 2, 1, 0, 5, 9.0])
        expected = np.sum((a - b) ** 2)  # commuting covariances: the squared gap of standard deviations
        assert scores.frechet_distance(whitened * a, whitened * b) == pytest.approx(expected)

    def test_full_covariances_agree_with_the_plain_formula(self, rng: np.random.Generator) -> None:
        first = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)) + 1
        second = rng.normal(size=(250, 5)) @ rng.normal(size=(5, 5))
        s1, s2 = np.cov(first.T), np.cov(second.T)
        root = np.sqrt(np.linalg.eigvals(s1 @ s2).real).sum()
        plain = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * root
        assert scores.frechet_distance(first, second) == pytest.approx(plain)

    def test_singular_covariances_are_exact(self, rng: np.random.Generator) -> None:
        features = rng.normal(size=(6, 40))
        assert scores.frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
        line = np.linspace(-1, 1, 30)[:, None] * np.eye(1, 40)
        assert scores.frechet_distance(line, 2 * line) == pytest.approx(line[:, 0].var(ddof=1))

    @pytest.mark.parametrize("rank", [1, 3, 6])
    def test_singular_covariances_give_the_closed_form(self, rng: np.random.Generator, rank: int) -> None:
        """Rows A z and B z of the same white z, A and B commuting: the gap of A and B, and of the means."""
        white = rng.normal(size=(400, 8))
        white -= white.mean(0)
        white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white.T))).T
        axes = np.linalg.qr(rng.normal(size=(8, 8)))[0]
        a, b = np.arange(1, 9) * (np.arange(8) < rank), np.full(8, 2.0) * (np.arange(8) >= rank - 1)
        first, second = (white * a) @ axes.T + 1, (white * b) @ axes.T + 3
        expected = np.sum((a - b) ** 2) + 8 * 2**2
        assert scores.frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)
        assert scores.frechet_distance(first, second, ddof=0) == pytest.approx(
            np.sum((a - b) ** 2) * 399 / 400 + 8 * 2**2, rel=1e-12
        )

    def test_small_eigenvalues_far_from_zero_keep_their_digits(self) -> None:
        """Constant features far from zero: a covariance of squares would lose the spread among the digits."""
        spread = np.array([[-1.0], [0.0], [1.0]]) * 1e-3
        wide = scores.frechet_distance(1e6 + spread, 1e6 + 3 * spread)
        assert wide == pytest.approx((2 * 1e-3) ** 2, rel=1e-3)

    def test_features_may_come_in_any_parts(self, rng: np.random.Generator) -> None:
        first, second = rng.normal(size=(210, 12)) @ rng.normal(size=(12, 12)) + 5, rng.normal(size=(90, 12))
        whole, parts = scores.frechet_distance(first, second), scores.Gaussian()
        for part in np.split(first, [1, 2, 9, 150]):
            parts.add(part)
        assert parts.count == 210 and parts.rows.shape == (12, 12)
        assert np.allclose(parts.root() @ parts.root().T, np.cov(first.T))
        assert scores.frechet_distance(parts, second) == pytest.approx(whole, rel=1e-12)

    def test_order_and_size_do_not_matter(self, rng: np.random.Generator) -> None:
        first, second = rng.normal(size=(30, 50)), rng.normal(size=(90, 50)) + 1
        forth, back = scores.frechet_distance(first, second), scores.frechet_distance(second, first)
        assert forth == pytest.approx(back)
        assert forth == pytest.approx(scores.frechet_distance(first[::-1], second))


class TestContent:
    def test_a_constant_colour_has_no_distance(self, rng: np.random.Generator) -> None:
        colours = np.repeat(rng.integers(40, 256, (5, 1, 3)), 8, axis=1)
        found = shapes.shape_colours(square_clips(colours))
        assert np.allclose(found, colours)
        assert scores.average_content_distance(found) == 0

    def test_two_colours_give_the_mean_over_pairs(self) -> None:
        colours = np.array([[[100, 0, 0], [100, 0, 0], [130, 40, 0]]])
        found = scores.average_content_distance(shapes.shape_colours(square_clips(colours)))
        assert found == pytest.approx(2 * 50 / 3)  # two of the three pairs differ by (30, 40, 0)

    def test_a_soft_rim_is_no_change_of_colour(self) -> None:
        clips = square_clips(np.full((1, 2, 3), 200))
        clips[0, 1, 4:12, 9] = 110  # the second frame's shape lies between pixels
        assert scores.average_content_distance(shapes.shape_colours(clips)) == 0

    def test_a_shape_that_vanishes_counts(self) -> None:
        clips = square_clips(np.full((1, 2, 3), 100))
        clips[0, 1] = 3
        assert scores.average_content_distance(shapes.shape_colours(clips)) == pytest.approx(100 * 3**0.5)

    def test_one_pixel_is_a_shape_too(self) -> None:
        clips = np.zeros((1, 1, 8, 8, 3), np.uint8)
        clips[0, 0, 3, 3] = (90, 60, 30)
        assert shapes.shape_colours(clips).tolist() == [[[90, 60, 30]]]

    def test_one_frame_has_no_distance(self) -> None:
        assert scores.average_content_distance(np.ones((4, 1, 3))) == 0


class TestShapes:
    """Factors read off the picture agree with those that it was drawn from."""

    clips = ShapeClips(300, split="test")
    indices = np.arange(300)

    def test_content(self) -> None:
        found, drawn = shapes.shape_content(self.clips.batch(self.indices)), self.clips.factors(self.indices)
        assert np.allclose(found["colour"], drawn["colour"], atol=0.6)
        assert scores.accuracy(found["form"], drawn["shape"]) > 0.95
        side = drawn["size"] * np.where(drawn["shape"] == 1, 1, np.sqrt(np.pi) / 2)
        assert np.abs(found["size"][:, 0] - side).mean() < 0.5

    def test_motion(self) -> None:
        frames, drawn = self.clips.batch(self.indices), self.clips.factors(self.indices)
        gap = shapes.shape_motion(frames)["trajectory"] - drawn["trajectory"]
        assert np.linalg.norm(gap, axis=-1).mean() < 0.5
        assert scores.accuracy(shapes.shape_axis(frames), drawn["direction"]) > 0.95

    def test_real_clips_have_no_content_distance(self) -> None:
        assert scores.average_content_distance(shapes.shape_colours(self.clips.batch(self.indices))) < 0.01

    def test_a_still_and_an_empty_clip_have_no_axis(self) -> None:
        frames = self.clips.batch(self.indices[:20])
        assert (shapes.shape_axis(np.repeat(frames[:, :1], 5, axis=1)) == -1).all()
        assert (shapes.shape_axis(np.zeros_like(frames)) == -1).all()
        assert np.isfinite(shapes.shape_content(np.zeros_like(frames))["size"]).all()


class TestControl:
    def test_accuracy(self) -> None:
        assert scores.accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])) == 0.75

    def test_factors_that_stay_give_zero_and_free_ones_one(self, rng: np.random.Generator) -> None:
        base = {"colour": rng.normal(size=(4000, 3)), "shape": rng.integers(0, 2, 4000)}
        other = {"colour": rng.normal(size=(4000, 3)), "shape": rng.integers(0, 2, 4000)}
        free = {"colour": rng.normal(size=(4000, 3)), "shape": rng.integers(0, 2, 4000)}
        assert scores.swap_error(base, base, other)["mean"] == 0
        assert scores.swap_error(base, free, other)["mean"] == pytest.approx(1, abs=0.05)

    def test_the_share_is_of_the_spread(self) -> None:
        base, moved = {"x": np.zeros((4, 1))}, {"x": np.full((4, 1), 0.5)}
        assert scores.swap_error(base, moved, {"x": np.full((4, 1), 2.0)}) == {"x": 0.25, "mean": 0.25}

    def test_a_factor_without_spread_is_left_out(self) -> None:
        base = {"x": np.zeros(4, int), "y": np.zeros(4)}
        found = scores.swap_error(base, base, {"x": np.zeros(4, int), "y": np.ones(4)})
        assert found == {"y": 0.0, "mean": 0.0}
        assert np.isnan(scores.swap_error({"x": np.zeros(4)}, {"x": np.ones(4)}, {"x": np.zeros(4)})["mean"])


class TestDiversity:
    def test_distances_agree_with_the_plain_formula(self, rng: np.random.Generator) -> None:
        first, second = noise(rng, 70, 2, 4, 4, 3), noise(rng, 66, 2, 4, 4, 3)
        gap = first[:, None].astype(float) - second[None]
        assert np.allclose(scores.distances(first, second), np.sqrt((gap**2).mean((2, 3, 4, 5))), atol=0.01)

    def test_one_clip_over_and_over_has_no_diversity(self, rng: np.random.Generator) -> None:
        assert scores.diversity(np.repeat(noise(rng, 1, 2, 8, 8, 3), 5, axis=0)) == pytest.approx(0, abs=0.1)

    def test_black_and_white_are_255_apart(self) -> None:
        clips = np.stack([np.zeros((2, 8, 8, 3), np.uint8), np.full((2, 8, 8, 3), 255, np.uint8)])
        assert scores.diversity(clips) == pytest.approx(255)

    def test_copies_are_near_and_others_are_not(self, rng: np.random.Generator) -> None:
        known = noise(rng, 9, 2, 8, 8, 3)
        assert scores.nearest_distance(known[3:5], known) == pytest.approx(0, abs=0.1)
        assert scores.nearest_distance(noise(rng, 3, 2, 8, 8, 3), known) > 50

    def test_the_nearest_are_found_whatever_parts_they_come_in(self, rng: np.random.Generator) -> None:
        known, clips = noise(rng, 9, 2, 8, 8, 3), noise(rng, 3, 2, 8, 8, 3)
        clips[1] = known[7]
        nearest = scores.Nearest(clips)
        for part in np.split(known, [2, 5]):
            nearest.add(part)
        table = scores.distances(clips, known)
        assert np.allclose(nearest.distance, table.min(1))
        assert (nearest.found == known[table.argmin(1)]).all()
        assert nearest.distance[1] == pytest.approx(0, abs=0.1)


class TestMeters:
    def test_a_still_clip_reads_zero(self, rng: np.random.Generator) -> None:
        still = np.repeat(noise(rng, 1, 8, 8, 3), 6, axis=0)
        assert scores.meters(still) == {"content_drift": 0, "motion_energy": 0, "flicker": 0}

    def test_a_steady_change_is_motion_and_no_flicker(self) -> None:
        ramp = np.broadcast_to(np.arange(0, 80, 10, dtype=np.uint8)[:, None, None, None], (8, 4, 4, 3))
        found = scores.meters(ramp)
        assert found["motion_energy"] == pytest.approx(10)
        assert found["flicker"] == 0

    def test_a_point_stands_out_and_an_even_picture_does_not(self) -> None:
        assert scores.sharpness(np.full((2, 8, 8, 3), 9, np.uint8)) == 0
        point = np.zeros((1, 3, 3, 1), np.uint8)
        point[0, 1, 1, 0] = 90
        assert scores.sharpness(point) == pytest.approx(80)  # 90 less the mean of nine

    def test_a_blinking_clip_flickers(self) -> None:
        blink = np.zeros((6, 4, 4, 3), np.uint8)
        blink[::2] = 100
        assert scores.flicker(blink) == pytest.approx(100)
        assert scores.content_drift(blink) > 0.5

    def test_moving_things_about_is_no_drift(self, rng: np.random.Generator) -> None:
        frame = noise(rng, 8, 8, 3)
        moved = np.stack([np.roll(frame, index, axis=1) for index in range(5)])
        assert scores.content_drift(moved) == pytest.approx(0, abs=1e-12)
        assert scores.motion_energy(moved) > 0

    def test_drift_is_whole_when_all_colours_change(self) -> None:
        clip = np.zeros((2, 4, 4, 3), np.uint8)
        clip[1] = 255
        assert scores.content_drift(clip) == pytest.approx(1)

    @pytest.mark.parametrize("frames", [1, 2])
    def test_short_clips_have_meters(self, rng: np.random.Generator, frames: int) -> None:
        assert all(np.isfinite(value) for value in scores.meters(noise(rng, frames, 8, 8, 3)).values())


class TestJudge:
    def test_any_length_and_finite(self) -> None:
        judge = Judge(TINY).eval()
        for t in (1, 5):
            found = judge(torch.zeros(2, t, 3, 16, 16))
            assert found["category"].shape == (2, 3)
            assert found["pose"].shape == (2, t, 2)
            assert judge.features(torch.zeros(2, t, 3, 16, 16)).shape == (2, 16)

    def test_every_parameter_learns(self) -> None:
        torch.manual_seed(0)
        judge = Judge(TINY)
        targets = {"category": torch.tensor([0, 1, -100, 2]), "pose": torch.ones(4, 4, 2)}
        judge.loss(torch.randn(4, 4, 3, 16, 16), targets).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in judge.parameters())

    def test_clips_are_judged_alone(self, rng: np.random.Generator) -> None:
        torch.manual_seed(0)
        judge, clips = Judge(TINY).eval(), noise(rng, 40, 3, 16, 16, 3)
        assert np.allclose(clip_features(judge, clips)[35], clip_features(judge, clips[35:36])[0], atol=1e-5)
        assert read_factors(judge, clips)["category"].dtype == np.int64

    def test_shuffled_frames_score_worse_than_ordered_ones_but_not_frame_by_frame(
        self, rng: np.random.Generator
    ) -> None:
        torch.manual_seed(0)
        judge = Judge(TINY).eval()
        ramps = np.clip(
            rng.integers(0, 100, (60, 1, 1, 1, 3)) + 15 * np.arange(8)[:, None, None, None], 0, 255
        )
        clips = np.broadcast_to(ramps, (60, 8, 16, 16, 3)).astype(np.uint8)
        real, fake = clips[:30], clips[30:]
        shuffled = fake[:, rng.permutation(8)]
        features = [clip_features(judge, part) for part in (real, fake, shuffled)]
        ordered, mixed = (scores.frechet_distance(features[0], part) for part in features[1:])
        assert mixed > 1.5 * ordered
        still = [clip_features(judge, part)[:, : TINY.dims] for part in (fake, shuffled)]
        assert np.allclose(*still, atol=1e-5)

    def test_to_video_spans_minus_one_to_one(self) -> None:
        clips = np.zeros((1, 1, 16, 16, 3), np.uint8)
        clips[..., 0] = 255
        video = to_video(clips)
        assert video.shape == (1, 1, 3, 16, 16)
        assert (video.min(), video.max()) == (-1, 1)

    def test_an_unknown_factor_is_named(self) -> None:
        with pytest.raises(VidgenError, match="no output 'hat'; it has category"):
            JudgeConfig(heads={"category": 2}, content=("hat",))

    def test_a_frame_size_that_does_not_fit_is_named(self) -> None:
        with pytest.raises(VidgenError, match="frame size is 60"):
            JudgeConfig(size=60)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "weights" / "probes").glob("*.safetensors")), ids=lambda p: p.stem
)
def test_shipped_judges_are_good_and_have_a_card(path: Path) -> None:
    judge, about = load_judge(path)
    card, test = path.with_suffix(".md").read_text(), about["test"]
    if "categories" not in about:  # it reads factors alone
        assert all(f"{value:.3f}" in card for value in test.values())
    if path.stem == "avatars":  # correlations
        assert min(test[name] for name in ("yaw", "pitch", "roll", "mouth_open")) > 0.9
    if path.stem == "heads":  # mean errors, of vectors whose entries span 2
        assert test["glasses"] > 0.9
        assert max(test[name] for name in ("skin", "clothes", "backdrop", "pose")) < 0.25
    if path.stem == "clouds":
        assert test["order"] > 0.8
        assert max(test[name] for name in ("colour", "cover", "grain")) < 0.15
    if path.stem == "shapes":
        assert test["form"] > 0.6
        assert max(test[name] for name in ("colour", "size", "position")) < 0.25
    if "categories" not in about:
        return
    assert test["category"] > 0.95
    assert judge.logits(torch.zeros(1, 16, 3, 64, 64)).shape == (1, len(about["categories"]))
    assert f"{test['category']:.3f}" in card


DEGREES = 3


def blurred(clips: np.ndarray, degree: int) -> np.ndarray:
    """Blur every frame by `degree` px."""
    return np.stack([[cv2.GaussianBlur(f, (0, 0), degree) for f in c] for c in clips]) if degree else clips


def noisy(clips: np.ndarray, degree: int) -> np.ndarray:
    """Add noise of 20 levels a degree."""
    added = np.random.default_rng(0).normal(0, 20 * degree, clips.shape) if degree else 0
    return np.clip(clips + added, 0, 255).astype(np.uint8)


def frozen(clips: np.ndarray, degree: int) -> np.ndarray:
    """Let the last 5, 10, 15 of 16 frames repeat the one before."""
    last = clips.shape[1] - 5 * degree
    return np.concatenate([clips[:, :last], np.repeat(clips[:, last - 1 : last], 5 * degree, 1)], 1)


def shuffled(clips: np.ndarray, degree: int) -> np.ndarray:
    """Change the order of 5, 10, 15 of the frames of each clip."""
    out, rng = clips.copy(), np.random.default_rng(0)
    for clip in out:
        places = rng.permutation(len(clip))[: 5 * degree]
        clip[np.sort(places)] = clip[places]
    return out


def swapped(clips: np.ndarray, degree: int) -> np.ndarray:
    """Let a third of the clips, two, or all show another clip from half-way on."""
    out, count = clips.copy(), len(clips) * degree // DEGREES
    out[:count, clips.shape[1] // 2 :] = np.roll(clips, 7, 0)[:count, clips.shape[1] // 2 :]
    return out


class TestDegradation:
    """The worse the clips, the worse the figure."""

    clips = ShapeClips(96, split="test").batch(range(96))
    labels = ShapeClips(96, split="test").labels[48:]
    real, made = clips[:48], clips[48:]

    @pytest.mark.parametrize("worse", [blurred, noisy, frozen, shuffled, swapped])
    def test_the_distance_grows_with_what_is_wrong(self, worse: Degradation) -> None:
        judge, _ = load_judge(ROOT / "weights" / "probes" / "actions.safetensors")
        features = [clip_features(judge, worse(self.made, degree)) for degree in range(DEGREES + 1)]
        found = [scores.frechet_distance(features[0], some) for some in features]
        assert found[0] == pytest.approx(0, abs=1e-6) and np.all(np.diff(found) > 0), found

    @pytest.mark.parametrize("worse", [noisy, swapped])
    def test_so_does_the_content_distance(self, worse: Degradation) -> None:
        drawn = [worse(self.made, degree) for degree in range(DEGREES + 1)]
        found = [scores.average_content_distance(shapes.shape_colours(clips)) for clips in drawn]
        assert np.all(np.diff(found) > 0), found

    def test_a_frozen_frame_has_no_content_distance_and_no_category(self) -> None:
        drawn = [frozen(self.made, degree) for degree in range(DEGREES + 1)]
        control = [scores.accuracy(shapes.shape_axis(clips), self.labels) for clips in drawn]
        assert control[0] > 0.9 and control[-1] == 0 and np.all(np.diff(control) <= 0), control
        assert scores.average_content_distance(shapes.shape_colours(drawn[-1])) < 1e-9

    @pytest.mark.parametrize("worse", [noisy, shuffled])
    def test_flicker_grows(self, worse: Degradation) -> None:
        drawn = [worse(self.made, degree) for degree in range(DEGREES + 1)]
        found = [np.mean([scores.flicker(clip) for clip in clips]) for clips in drawn]
        assert np.all(np.diff(found) > 0), found

    @pytest.mark.parametrize(("change", "sign"), [(blurred, -1), (noisy, 1)])
    def test_blur_takes_sharpness_away_and_noise_adds_it(self, change: Degradation, sign: int) -> None:
        drawn = [change(self.made, degree) for degree in range(DEGREES + 1)]
        found = [np.mean([scores.sharpness(clip) for clip in clips]) for clips in drawn]
        assert np.all(sign * np.diff(found) > 0), found

    def test_drift_grows_as_identities_change_half_way(self) -> None:
        drawn = [swapped(self.made[:6], degree) for degree in range(DEGREES + 1)]
        found = [np.mean([scores.content_drift(clip) for clip in clips]) for clips in drawn]
        assert np.all(np.diff(found) > 0), found

    @pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
    def test_the_swap_error_is_the_share_that_goes_wrong(
        self, rng: np.random.Generator, share: float
    ) -> None:
        base, other, third = (shapes.shape_content(part)["colour"] for part in np.split(self.clips, 3))
        wrong = rng.permutation(len(base)) < share * len(base)
        moved = {"colour": np.where(wrong[:, None], third, base)}
        found = scores.swap_error({"colour": base}, moved, {"colour": other})["mean"]
        assert found == pytest.approx(share, abs=0.15)

    def test_copies_are_nearer_the_more_of_them_there_are(self) -> None:
        found = []
        for copies in (0, 16, 32, 48):
            made = np.concatenate([self.real[:copies], self.made[copies:]])
            found.append(scores.nearest_distance(made[:, ::4], self.real[:, ::4]))
        assert np.all(np.diff(found) < 0) and found[-1] == pytest.approx(0, abs=0.1), found

    def test_diversity_falls_as_clips_repeat(self) -> None:
        found = [
            scores.diversity(np.resize(self.made[:count, ::4], (48, 4, 64, 64, 3))) for count in (48, 9, 1)
        ]
        assert np.all(np.diff(found) < 0) and found[-1] == pytest.approx(0, abs=0.1), found


class TestLoadJudge:
    def write(self, path: Path, **changes: str) -> Path:
        config = {"size": 16, "width": 8, "dims": 8, "heads": {"category": 3}}
        judge = Judge(JudgeConfig(**config))
        metadata = {"format": FORMAT, "config": json.dumps(config), "about": '{"test": 1}', **changes}
        save_file({name: value.half() for name, value in judge.state_dict().items()}, path, metadata)
        return path

    def test_a_judge_comes_back(self, tmp_path: Path) -> None:
        judge, about = load_judge(self.write(tmp_path / "a.safetensors"))
        assert about == {"test": 1}
        assert judge.logits(torch.zeros(1, 2, 3, 16, 16)).shape == (1, 3)

    def test_mistakes_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(VidgenError, match=r"no judge .*python -m train\.probes"):
            load_judge(tmp_path / "none.safetensors")
        with pytest.raises(VidgenError, match="not one of vidgen's judges"):
            load_judge(self.write(tmp_path / "b.safetensors", format="other"))
        with pytest.raises(VidgenError, match="not a readable judge"):
            load_judge(self.write(tmp_path / "c.safetensors", config='{"heads": {"category": 9}}'))
        (tmp_path / "d.safetensors").write_bytes(b"junk")
        with pytest.raises(VidgenError, match="not a readable judge"):
            load_judge(tmp_path / "d.safetensors")
