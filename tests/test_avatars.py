"""Avatars: always the same, never in both splits, and what is drawn is what the factors say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from train.data.avatars import (
    CHARACTERS,
    EXPRESSIONS,
    FACTORS,
    RANGES,
    AvatarClips,
    Identity,
    draw,
    random_motion,
)
from train.data.heads import Heads, head_swaps
from vidgen.data.pack import Pack
from vidgen.data.pack import pack as make_pack
from vidgen.errors import VidgenError

REST = dict.fromkeys(FACTORS, 0.0) | {"scale": 1.0}


def portrait(size: int = 64, who: Identity | None = None, **factors: float) -> np.ndarray:
    """Draw one frame, float [h, w, c] in -1..1; Mia at rest but for `factors`."""
    motion = {name: torch.tensor([value]) for name, value in (REST | factors).items()}
    return draw([who or CHARACTERS["mia"]], motion, size)[0].permute(1, 2, 0).numpy()


def middle(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Find the middle (x, y) of a mask in half frames."""
    y, x = np.nonzero(mask)
    return np.array([x.mean(), y.mean()]) * 2 / len(picture) - 1


def white(picture: np.ndarray) -> np.ndarray:
    """Mark the eyes' whites, which nothing else of a closed-mouthed Mia above the collar is as pale as."""
    rows = np.arange(len(picture))[:, None] < 0.6 * len(picture)
    return (picture.min(-1) > 0.85) & rows


def test_a_clip_depends_on_seed_split_and_index_only() -> None:
    few, many = AvatarClips(3, 32, 4, seed=3), AvatarClips(9, 32, 4, seed=3)
    assert np.array_equal(few.clip(2), many.clip(2))
    assert not np.array_equal(few.clip(0), AvatarClips(1, 32, 4, seed=4).clip(0))
    assert not np.array_equal(few.clip(0), AvatarClips(1, 32, 4, seed=3, split="test").clip(0))
    assert few.identity(1) == many.identity(1) != few.identity(2)


def test_two_characters_perform_the_same_motion() -> None:
    mia, theo = (AvatarClips(2, 32, 6, seed=1, identities=name) for name in ("mia", "theo"))
    assert all(np.array_equal(mia.factors(1)[name], theo.factors(1)[name]) for name in FACTORS)
    assert not np.array_equal(mia.clip(1), theo.clip(1))


@pytest.mark.parametrize(("size", "length"), [(16, 1), (48, 3), (129, 2)])
def test_any_size_and_length(size: int, length: int) -> None:
    clip = AvatarClips(2, size, length).clip(1)
    assert clip.shape == (length, size, size, 3) and clip.dtype == np.uint8


def test_a_bigger_picture_is_the_same_picture() -> None:
    small, big = portrait(64, yaw=10.0, smile=0.5), portrait(128, yaw=10.0, smile=0.5)
    shrunk = big.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(shrunk - small).mean() < 0.02


def test_a_frame_does_not_depend_on_the_others_drawn_with_it() -> None:
    people = [CHARACTERS["mia"], Identity.random(np.random.default_rng(0)), CHARACTERS["theo"]]
    course = random_motion(np.random.default_rng(1), 3)
    motion = {name: torch.from_numpy(value) for name, value in course.items()}
    together = draw(people, motion, 32)
    alone = draw(people[1:2], {name: value[1:2] for name, value in motion.items()}, 32)
    assert torch.isfinite(together).all() and together.abs().max() <= 1
    assert torch.allclose(together[1], alone[0], atol=1e-5)


@pytest.mark.parametrize("name", FACTORS)
def test_each_factor_changes_the_picture(name: str) -> None:
    low, high = RANGES[name]
    assert np.abs(portrait(**{name: high}) - portrait(**{name: low})).mean() > 0.002


def test_the_eyes_go_where_the_head_turns() -> None:
    rest = middle(portrait(128), white(portrait(128)))
    turned, nodded = portrait(128, yaw=20.0), portrait(128, pitch=10.0)
    assert middle(turned, white(turned))[0] > rest[0] + 0.08
    assert middle(nodded, white(nodded))[1] > rest[1] + 0.05
    assert abs(rest[0]) < 0.02


def test_a_blink_hides_the_eyes_and_an_open_mouth_shows_teeth() -> None:
    assert white(portrait(128)).sum() > 20
    assert white(portrait(128, blink=1.0)).sum() == 0
    lower = portrait(128, mouth_open=0.5)[64:96].min(-1) > 0.8
    assert lower.sum() > 20 > (portrait(128)[64:96].min(-1) > 0.8).sum()


def test_motion_is_smooth_within_range_and_mostly_frontal() -> None:
    courses = [random_motion(np.random.default_rng(seed), 100) for seed in range(40)]
    together = {name: np.concatenate([course[name] for course in courses]) for name in FACTORS}
    for name, value in together.items():
        low, high = RANGES[name]
        assert value.min() >= low and value.max() <= high and value.std() > 0.02 * (high - low) / 2
    assert np.mean(np.abs(together["yaw"]) < 25) > 0.9 and np.mean(np.abs(together["pitch"]) < 12) > 0.9
    assert 0.01 < np.mean(together["blink"] > 0.8) < 0.15
    assert max(np.abs(np.diff(course["yaw"])).max() for course in courses) < 6


def test_expressions_name_known_factors() -> None:
    assert len(EXPRESSIONS) == 6
    assert {name for gains in EXPRESSIONS.values() for name in gains} <= set(FACTORS)


def test_sample_gives_windows_of_the_clips_with_their_factors() -> None:
    clips = AvatarClips(2, 16, 7, seed=2)
    frames, factors = clips.sample(np.random.default_rng(0), 5, length=3, stride=2)
    assert frames.shape == (5, 3, 16, 16, 3) and factors["yaw"].shape == (5, 3)
    whole = [(clips.clip(index), clips.factors(index)["yaw"]) for index in range(2)]
    for window, yaw in zip(frames, factors["yaw"], strict=True):
        found = [
            np.array_equal(clip[s : s + 5 : 2], window) and np.array_equal(course[s : s + 5 : 2], yaw)
            for clip, course in whole
            for s in range(3)
        ]
        assert any(found)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"count": 0}, "count is 0, but must be at least 1"),
        ({"count": 1, "size": 8}, "size is 8, but must be at least 16"),
        ({"count": 1, "split": "val"}, "unknown split 'val': choose one of train, test"),
        ({"count": 1, "identities": "bob"}, "unknown character 'bob': choose one of random, mia, theo"),
    ],
)
def test_mistakes_are_told(arguments: dict, sentence: str) -> None:
    with pytest.raises(VidgenError, match=sentence):
        AvatarClips(**arguments)


def test_windows_that_do_not_fit_and_clips_that_are_not_there_are_told() -> None:
    clips = AvatarClips(2, 16, 4)
    with pytest.raises(VidgenError, match="3 frames at stride 2 do not fit in 4-frame clips"):
        clips.sample(np.random.default_rng(0), 1, length=3, stride=2)
    with pytest.raises(VidgenError, match="there is no clip 2; there are 2"):
        clips.clip(2)


def test_a_packs_test_heads_can_be_mixed(tmp_path: Path) -> None:
    heads = Heads("random", 30, 32, 12)
    make_pack(heads, tmp_path / "heads.pack", tests=heads.tests)
    pack = Pack(tmp_path / "heads.pack", "test")
    assert len(pack) == 3
    mixed = head_swaps(pack, 8)
    assert mixed is not None
    sets = mixed(np.random.default_rng(0), 12)
    columns = {name: chosen.columns for name, chosen in sets.items()}
    base = sets["base"].clips()
    faces, motions, starts = columns["base"]
    for clip, face, motion, start in zip(base, *columns["base"], strict=True):
        if face == motion:
            np.testing.assert_array_equal(clip, pack.window(int(face), int(start), 8))
    assert (faces == motions).any() and (faces != motions).any()
    assert (columns["motion"][0] == faces).all() and (columns["content"][1] == motions).all()
    assert (columns["content"][2] == starts).all() and (columns["other"][1] != motions).any()
    assert base.shape == (12, 8, 32, 32, 3)
    make_pack(Heads("theo", 30, 32, 12), tmp_path / "theo.pack", tests=heads.tests)
    assert head_swaps(Pack(tmp_path / "theo.pack", "test"), 8) is None, "these are other heads"
