"""Seeds, recipes and the rendering path: a seed is a promise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vidgen import sampling
from vidgen.checkpoint import load_model, save_model
from vidgen.errors import VidgenError
from vidgen.models.mocogan import MoCoGAN, MoCoGANConfig
from vidgen.recipe import RANGES, Recipe
from vidgen.session import Session

LABELS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder with a model whose pictures really depend on its codes."""
    torch.manual_seed(0)
    config = MoCoGANConfig(
        32, content_dim=10, motion_dim=4, state_dim=5, base_width=8, num_labels=3, clip_length=8
    )
    model = MoCoGAN(config)
    with torch.no_grad():
        for layer in model.image.modules():
            if isinstance(layer, torch.nn.ConvTranspose2d):  # as large as trained weights are
                layer.weight.normal_(0, 1.4 / (layer.in_channels * 4) ** 0.5)
    path = tmp_path_factory.mktemp("weights")
    about = {"title": "Tiny", "categories": LABELS, "fps": 8, "clip_length": 8, "licence": "MIT"}
    save_model(path / "tiny.safetensors", model, about)
    return path


@pytest.fixture(scope="module")
def session(folder: Path) -> Session:
    return Session(folder, threads=1)


BASE = Recipe(model="tiny", content_seed=3, motion_seed=5, frames=8, fps=8)


def test_same_recipe_same_bits(folder: Path, session: Session) -> None:
    again = Session(folder).render(BASE)
    assert again.dtype == np.uint8
    assert again.shape == (8, 32, 32, 3)
    assert again.std() > 5
    np.testing.assert_array_equal(session.render(BASE), again)


def test_known_codes() -> None:
    rows = sampling.normal_rows(7, sampling.MOTION, 6, 3)
    # Written down once: another generator, order or purpose would break every recipe that was ever kept.
    expected = [
        [2.97370839, 0.11297269, 0.20129560],
        [0.85737562, -0.38504389, -1.12560081],
        [0.56058443, -0.05482454, -0.01488848],
        [-0.01994889, -0.27356952, 0.61897737],
        [-0.67689174, -1.87602174, 0.01140240],
        [-1.53811824, 1.12248695, -1.01553798],
    ]
    np.testing.assert_allclose(rows.numpy(), expected, rtol=1e-5, atol=1e-7)
    assert not torch.equal(rows[:1], sampling.normal_rows(7, sampling.CONTENT, 1, 3))


def test_more_rows_begin_with_the_fewer() -> None:
    assert torch.equal(sampling.normal_rows(1, 2, 50, 4)[:7], sampling.normal_rows(1, 2, 7, 4))


@pytest.mark.parametrize(
    ("smoothness", "strength", "at"), [(0, 1, 4), (0.8, 1, 4), (0, 0.5, 4), (0.3, 1.7, 12)]
)
def test_longer_clip_begins_with_the_shorter(
    session: Session, smoothness: float, strength: float, at: int
) -> None:
    recipe = BASE.replace(smoothness=smoothness, strength=strength, speed=0.7)
    recipe = recipe.replace(category=1, category_to=2, category_at=at)
    long, short = session.render(recipe.replace(frames=40)), session.render(recipe.replace(frames=9))
    np.testing.assert_allclose(long[:9].astype(int), short, atol=1)


def test_alone_or_in_a_batch_or_in_any_grid(session: Session) -> None:
    grid = np.stack(list(session.grid(BASE, [1, 2, 3, 4, 5], [6, 7, 8])))
    assert grid.shape == (5, 3, 8, 32, 32, 3)
    for row, column in ((0, 0), (4, 2), (2, 1)):
        alone = session.render(BASE.replace(content_seed=row + 1, motion_seed=column + 6))
        np.testing.assert_allclose(grid[row, column].astype(int), alone, atol=1)


def test_rows_share_content_and_columns_motion(session: Session) -> None:
    first, second = (
        session._codes([BASE.replace(motion_seed=seed)], session._load("tiny")) for seed in (1, 2)
    )
    assert torch.equal(first.content, second.content)
    assert not torch.equal(first.motion, second.motion)


def test_fast_path_equals_the_plain_forward(session: Session, folder: Path) -> None:
    model, _, _ = load_model(folder / "tiny.safetensors")
    codes = session._codes([BASE, BASE.replace(content_seed=9)], session._load("tiny"))
    with torch.inference_mode():
        plain = model(codes.content, codes.motion, codes.times, codes.label, codes.strength)
    plain = ((plain + 1) * 127.5).round().permute(0, 1, 3, 4, 2).numpy()
    for dtype, mean, most in ((torch.float32, 0.01, 1), (torch.bfloat16, 1.0, 12)):
        fast = sampling.Renderer(model, dtype=dtype).clips(codes).astype(float)
        assert np.abs(fast - plain).mean() < mean
        assert np.abs(fast - plain).max() <= most


def test_playback_and_speed() -> None:
    times = lambda **changes: sampling.frame_times(BASE.replace(**changes), 8).tolist()  # noqa: E731
    assert times(frames=4) == [0, 1, 2, 3]
    assert times(frames=4, playback="reverse") == [3, 2, 1, 0]
    assert times(frames=6, playback="loop") == [0, 1, 2, 3, 2, 1]
    assert times(frames=3, playback="freeze") == [0, 0, 0]
    assert times(frames=3, speed=0.5) == [0, 0.5, 1]
    assert times(frames=3, fps=16) == [0, 0.5, 1]


def test_reverse_is_the_forward_clip_backwards(session: Session) -> None:
    forward, backward = session.render(BASE), session.render(BASE.replace(playback="reverse"))
    np.testing.assert_array_equal(forward[::-1], backward)


def test_every_field_changes_the_picture(session: Session) -> None:
    changes = {
        "content_seed": 4,
        "motion_seed": 6,
        "directions": (2, 0, 0, 0, 0, 0),
        "pad": (0, 2),
        "strength": 0,
        "smoothness": 1,
        "speed": 2,
        "playback": "reverse",
        "category": 1,
        "fps": 20,
    }
    pairs = {
        "content_mix": {"content_to": 8, "content_mix": 0.5},
        "motion_mix": {"motion_to": 8, "motion_mix": 0.5},
        "splice": {"splice_seed": 8, "splice_at": 2},
        "category_to": {"category": 0, "category_to": 1, "category_at": 4},
    }
    plain = session.render(BASE.replace(category=0))
    for name, change in {**{key: {key: value} for key, value in changes.items()}, **pairs}.items():
        changed = session.render(BASE.replace(**{"category": 0, **change}))
        assert np.abs(changed.astype(int) - plain).max() > 0, name


def test_ends_of_a_mix_are_the_two_clips(session: Session) -> None:
    there = session.render(BASE.replace(content_to=8, content_mix=1))
    np.testing.assert_allclose(there.astype(int), session.render(BASE.replace(content_seed=8)), atol=1)
    moved = session.render(BASE.replace(motion_to=8, motion_mix=1, category=0))
    np.testing.assert_allclose(
        moved.astype(int), session.render(BASE.replace(motion_seed=8, category=0)), atol=1
    )


@pytest.mark.parametrize("speed", [1, 2, 0.5])
def test_splice_takes_the_frames_of_each_motion(session: Session, speed: float) -> None:
    first, second = (
        BASE.replace(category=0, speed=speed),
        BASE.replace(category=0, speed=speed, motion_seed=8),
    )
    spliced = session.render(first.replace(splice_seed=8, splice_at=5)).astype(int)
    np.testing.assert_allclose(spliced[:5], session.render(first)[:5], atol=1)
    np.testing.assert_allclose(spliced[5:], session.render(second)[5:], atol=1)
    many = session.render_many([first, first.replace(splice_seed=8, splice_at=5)]).astype(int)
    np.testing.assert_allclose(many[0], session.render(first), atol=1)
    np.testing.assert_allclose(many[1], spliced, atol=1)


def test_slerp_keeps_length_and_ends() -> None:
    a, b = torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sampling.slerp(a, b, 0.0), a)
    torch.testing.assert_close(sampling.slerp(a, b, 1.0), b)
    middle = sampling.slerp(a, b, 0.5).norm(dim=-1)
    torch.testing.assert_close(middle, (a.norm(dim=-1) + b.norm(dim=-1)) / 2)
    torch.testing.assert_close(sampling.slerp(a, 2 * a, 0.5), 1.5 * a)
    assert torch.isfinite(sampling.slerp(a, -a, 0.5)).all()


def test_smoothness_calms_the_path(session: Session) -> None:
    rough, soft = (session.motion_path(BASE.replace(smoothness=value, frames=64)) for value in (0, 1))
    assert np.abs(np.diff(soft, axis=0)).mean() < 0.6 * np.abs(np.diff(rough, axis=0)).mean()


def test_stream_is_the_clip(session: Session) -> None:
    recipe = BASE.replace(frames=37)
    chunks = list(session.stream(recipe))
    assert max(len(chunk) for chunk in chunks) <= sampling.CHUNK
    np.testing.assert_array_equal(np.concatenate(chunks), session.render(recipe))


def test_motion_path_is_what_moves(session: Session) -> None:
    path = session.motion_path(BASE)
    assert path.shape == (8, 2)
    assert np.ptp(session.motion_path(BASE.replace(playback="freeze")), axis=0).max() == 0
    assert np.ptp(path, axis=0).max() > 0


def test_info_and_models(session: Session) -> None:
    info = session.info("tiny")
    assert (info.size, info.categories, info.fps, info.family) == (32, LABELS, 8, "mocogan")
    assert [model.name for model in session.models()] == ["tiny"]
    assert len(info.direction_names) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "tinny"}, "tiny"),
        ({"model": "/nowhere/x.safetensors"}, "no weights file"),
        ({"category": 3}, "0 to 2"),
        ({"category_to": 7}, "0 to 2"),
        ({"truncation": 0.5}, "truncation"),
    ],
)
def test_session_refuses(session: Session, change: dict, message: str) -> None:
    with pytest.raises(VidgenError, match=message):
        session.render(BASE.replace(**change))


def test_foreign_and_broken_files_are_named(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((folder / "tiny.safetensors").read_bytes()[:5000])
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(1)}, str(foreign))
    other = tmp_path / "other.safetensors"
    tensors = {"model.x": torch.zeros(1)}
    meta = {"format": "vidgen-1", "family": "mocogan", "config": json.dumps({"size": 32}), "about": "{}"}
    save_file(tensors, str(other), meta)
    for path in (broken, foreign, other):
        with pytest.raises(VidgenError, match=path.name):
            load_model(path)


def test_unwritable_weights_leave_nothing(tmp_path: Path) -> None:
    model = MoCoGAN(MoCoGANConfig(32, base_width=4))
    with pytest.raises(VidgenError, match="cannot be written|is a folder"):
        save_model(tmp_path / "no" / "x.safetensors", model, {})
    target = tmp_path / "folder.safetensors"
    target.mkdir()
    with pytest.raises(VidgenError, match="cannot be written|is a folder"):
        save_model(target, model, {})
    assert list(tmp_path.iterdir()) == [target]


HUGE = 10**400  # JSON has integers that no float can hold


@pytest.mark.parametrize("name", ["speed", "fps", "frames", "content_seed", "category"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_huge_integer_is_a_number_out_of_range(name: str, sign: int) -> None:
    text = f'{{"{name}": {sign * HUGE}}}'
    assert getattr(Recipe.from_json(text), name) == RANGES[name][sign > 0]
    with pytest.raises(VidgenError, match=f"^{name} is .{{,30}}choose"):
        Recipe.from_json(text, clamp=False)
    with pytest.raises(VidgenError, match=name):
        Recipe(**{name: sign * HUGE})


def test_huge_integers_in_a_list() -> None:
    values = {"directions": [HUGE, -HUGE, 0, 0, 0, 0]}
    assert Recipe.from_dict(values).directions[:2] == (3, -3)
    with pytest.raises(VidgenError, match="directions"):
        Recipe.from_dict(values, clamp=False)


def test_recipe_round_trip() -> None:
    recipe = Recipe(content_seed=7, directions=(1, 0, 0, 0, 0, -0.5), category=2, playback="loop")
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"contentseed": 1}, "no field"),
        ({"speed": float("nan")}, "finite"),
        ({"speed": float("inf")}, "finite"),
        ({"speed": "fast"}, "must be a number"),
        ({"speed": True}, "must be a number"),
        ({"content_seed": 1.5}, "whole"),
        ({"directions": [1, 2]}, "6 numbers"),
        ({"pad": "ab"}, "2 numbers"),
        ({"playback": "sideways"}, "forward"),
        ({"model": ""}, "model"),
        ({"speed": "9" * 500}, "must be a number"),
        ({"frames": None}, "must be a number"),
        ([], "JSON object"),
    ],
)
def test_untrusted_recipes_are_refused(values: object, message: str) -> None:
    with pytest.raises(VidgenError, match=message):
        Recipe.from_dict(values)


def test_numbers_out_of_range_are_clamped_or_refused() -> None:
    assert Recipe.from_dict({"speed": 1e9, "frames": -4, "content_seed": 10**30}).speed == 4
    for name, value in (("speed", 1e9), ("frames", 10**9), ("category", -1)):
        with pytest.raises(VidgenError, match=name):
            Recipe.from_dict({name: value}, clamp=False)
        with pytest.raises(VidgenError, match=name):
            Recipe(**{name: value})
    with pytest.raises(VidgenError, match="JSON"):
        Recipe.from_json("{")
