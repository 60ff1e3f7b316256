"""Shape motion: what is drawn is what the factors say, always the same, and never in both splits."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vidgen.data.shapes import CATEGORIES, ShapeClips, main, statistics
from vidgen.errors import VidgenError


def test_a_clip_depends_on_seed_split_and_index_only() -> None:
    few, many = ShapeClips(4, size=32, length=8, seed=3), ShapeClips(9, size=32, length=8, seed=3)
    assert np.array_equal(few.batch(range(4)), many.batch(range(9))[:4])
    assert np.array_equal(few.clip(2), many.batch([7, 2])[1])
    assert not np.array_equal(few.clip(0), ShapeClips(1, size=32, length=8, seed=4).clip(0))


def test_splits_are_disjoint() -> None:
    train, test = (ShapeClips(200, size=16, length=2, split=split) for split in ("train", "test"))
    colours = [{tuple(row) for row in clips.factors(range(200))["colour"]} for clips in (train, test)]
    assert len(colours[0] & colours[1]) <= 2  # of 16.7 million colours, a chance meeting
    assert not set(train.content_ids) & set(test.content_ids)


@pytest.mark.parametrize(("size", "length"), [(16, 1), (64, 16), (100, 33)])
def test_any_size_and_length(size: int, length: int) -> None:
    clips = ShapeClips(3, size=size, length=length)
    batch = clips.batch([0, 2])
    assert batch.shape == (2, length, size, size, 3) and batch.dtype == np.uint8
    assert clips.factors([0, 2])["trajectory"].shape == (2, length, 2)


def test_the_picture_shows_the_factors() -> None:
    clips = ShapeClips(40, size=64, length=8)
    factors, video = clips.factors(range(40)), clips.batch(range(40))
    assert np.array_equal(video.max((1, 2, 3)), factors["colour"])
    assert factors["colour"].max(1).min() >= 32
    weight = video.max(-1) / factors["colour"].max(1)[:, None, None, None]
    grid = np.arange(64) + 0.5
    centres = np.stack([weight.sum(2) @ grid, weight.sum(3) @ grid], -1) / weight.sum((2, 3))[..., None]
    assert np.abs(centres - factors["trajectory"]).max() < 0.1
    area = np.where(factors["shape"] == 1, factors["size"] ** 2, np.pi * factors["size"] ** 2 / 4)
    assert np.abs(weight.sum((2, 3)) / area[:, None] - 1).max() < 0.05


def test_the_label_is_the_direction_of_motion() -> None:
    clips = ShapeClips(60, length=8)
    factors = clips.factors(range(60))
    step = factors["trajectory"][:, -1] - factors["trajectory"][:, 0]
    up, left = clips.labels == 0, clips.labels == 1
    assert up.any() and left.any() and clips.categories == CATEGORIES
    assert (step[up, 1] < -40).all() and np.allclose(step[up, 0], 0)
    assert (step[left, 0] < -40).all() and np.allclose(step[left, 1], 0)
    assert set(factors["shape"]) == {0, 1}


def test_sample_gives_windows_of_the_clips_with_their_labels() -> None:
    clips = ShapeClips(5, size=32, length=12)
    video, labels = clips.sample(np.random.default_rng(1), 20, 4, stride=3)
    again, _ = clips.sample(np.random.default_rng(1), 20, 4, stride=3)
    assert np.array_equal(video, again) and video.shape == (20, 4, 32, 32, 3)
    windows = {clips.clip(i)[s : s + 10 : 3].tobytes(): clips.labels[i] for i in range(5) for s in range(3)}
    assert all(windows[clip.tobytes()] == label for clip, label in zip(video, labels, strict=True))
    with pytest.raises(VidgenError, match="5 frames at stride 3 do not fit in 12-frame clips"):
        clips.sample(np.random.default_rng(1), 2, 5, stride=3)


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"size": 4}, {"length": 0}, {"seed": -1}, {"split": "valid"}]
)
def test_wrong_options_are_named(wrong: dict) -> None:
    with pytest.raises(VidgenError, match=next(iter(wrong))):
        ShapeClips(**{"count": 2, **wrong})


def test_figures_are_those_of_the_authors_strips() -> None:
    figures = statistics(ShapeClips(400, length=32).batch(range(400)))
    for name, expected, tolerance in (
        ("area mean", 113, 8),
        ("speed mean", 2.06, 0.08),
        ("colour mean", 127, 8),
    ):
        assert abs(figures[name] - expected) < tolerance, (name, figures[name])


def test_the_command_compares_with_strips(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    strip = np.concatenate(list(ShapeClips(1, length=32).clip(0)), axis=1)
    Image.fromarray(strip).convert("RGBA").save(tmp_path / "0.png")
    assert main([str(tmp_path)]) == 0
    assert "speed mean" in capsys.readouterr().out
    assert main([str(tmp_path / "nothing")]) == 2
    assert "usage" in capsys.readouterr().err
