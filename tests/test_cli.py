"""The command line: every option changes something, every mistake is one sentence and leaves nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vidgen import __main__ as cli
from vidgen import bench
from vidgen.checkpoint import save_model
from vidgen.models.mocogan import MoCoGAN, MoCoGANConfig
from vidgen.recipe import Recipe
from vidgen.session import Session
from vidgen.video_io import read_clip, read_recipe, write_clip

Run = Callable[..., tuple[int, str, str]]
CATEGORIES = ["walk south", "walk east", "wave"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a tiny model that knows categories and one that does not."""
    folder = tmp_path_factory.mktemp("weights")
    for name, labels in (("mocogan-sprites", 3), ("mocogan-shapes", 0)):
        torch.manual_seed(0)
        config = MoCoGANConfig(
            size=16, content_dim=12, num_labels=labels, base_width=8, category_input="both"
        )
        model = MoCoGAN(config)
        for value in model.image.parameters():
            value.data.mul_(6)  # new weights draw grey on grey
        about = {"fps": 8, "categories": CATEGORIES[:labels], "licence": "MIT", "default_frames": 10}
        save_model(folder / f"{name}.safetensors", model, about)
    (folder / "broken.safetensors").write_bytes(b"\x08" + bytes(7) + b"{broken}")
    return folder


@pytest.fixture
def run(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Give a function that runs the command line in an empty folder: (code, standard output, error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "open_session", lambda: Session(weights))

    def call(*argv: object) -> tuple[int, str, str]:
        code = cli.main([str(word) for word in argv])
        return code, *capsys.readouterr()

    return call


def sample(run: Run, out: str, *options: object) -> np.ndarray:
    code, _, error = run("sample", "--out", out, *options)
    assert code == 0, error
    return read_clip(out).frames


def test_models_are_listed_without_the_broken_one(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    code, text, _ = run("models", "--json")
    records = json.loads(text)
    assert code == 0
    assert [record["name"] for record in records] == ["mocogan-shapes", "mocogan-sprites"]
    assert {"name", "family", "size", "categories", "licence", "path"} <= set(records[0])
    assert records[1]["categories"] == CATEGORIES
    assert records[1]["size"] == 16
    assert Path(records[1]["path"]).is_file()
    assert [("broken.safetensors" in record.getMessage()) for record in caplog.records] == [True]
    code, text, _ = run("models")
    assert code == 0
    assert "mocogan-sprites" in text
    assert "walk east" in text
    code, _, error = run("sample", "--out", "a.mp4", "--model", "broken")
    assert (code, error.count("\n")) == (2, 1)
    assert "broken.safetensors" in error


@pytest.mark.parametrize("ending", ["mp4", "gif", "webp", "png"])
def test_a_sample_carries_its_recipe(run: Run, ending: str, weights: Path) -> None:
    frames = sample(
        run, f"a.{ending}", "--content-seed", 3, "--motion-seed", 5, "--frames", 9, "--category", "Wave"
    )
    assert frames.shape == (9, 16, 16, 3)
    recipe = Recipe.from_dict(read_recipe(f"a.{ending}"))
    assert (recipe.content_seed, recipe.motion_seed, recipe.frames, recipe.category) == (3, 5, 9, 2)
    assert read_clip(f"a.{ending}").fps == recipe.fps == 8
    sample(run, "again.png", "--recipe", f"a.{ending}")
    assert (read_clip("again.png").frames == Session(weights).render(recipe)).all()


def test_the_same_call_gives_the_same_file(run: Run) -> None:
    for name in ("a.png", "b.png"):
        sample(run, name, "--content-seed", 7, "--motion-seed", 1)
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert len(read_clip("a.png").frames) == 10


CHANGES: dict[str, list[object]] = {
    "model": ["mocogan-shapes"],
    "content_seed": [1],
    "motion_seed": [1],
    "content_to": [5],
    "content_mix": [0.5],
    "motion_to": [5],
    "motion_mix": [0.5],
    "splice_seed": [4],
    "splice_at": [2],
    "directions": [3, -3],
    "pad": [2, -2],
    "strength": [0],
    "smoothness": [1],
    "speed": [0.5],
    "playback": ["reverse"],
    "category": ["none"],
    "category_to": [0],
    "category_at": [7],
    "frames": [7],
    "fps": [16],
    "truncation": [1],
}
# Others that must be set for an option to show.
BASE = {
    "content_to": 8,
    "content_mix": 0.2,
    "motion_to": 9,
    "motion_mix": 0.2,
    "splice_seed": 6,
    "splice_at": 5,
}
BASE |= {"category": 1, "category_to": 2, "category_at": 4, "content_seed": 2, "motion_seed": 3}


def flags(values: dict) -> list[object]:
    pairs = ((f"--{name.replace('_', '-')}", value) for name, value in values.items())
    return [
        word for flag, value in pairs for word in [flag, *(value if isinstance(value, list) else [value])]
    ]


def test_every_field_has_an_option() -> None:
    assert set(CHANGES) == {field.name for field in dataclasses.fields(Recipe)}
    assert set(CHANGES) == {option.field for option in cli.SEEDS + cli.OPTIONS}


@pytest.mark.parametrize("field", [name for name in CHANGES if name not in ("truncation", "model")])
def test_every_option_changes_the_clip(run: Run, field: str) -> None:
    base = sample(run, "base.png", *flags(BASE))
    changed = sample(run, "changed.png", *flags(BASE | {field: CHANGES[field]}))
    assert base.shape != changed.shape or (base != changed).any()
    assert getattr(Recipe.from_dict(read_recipe("changed.png")), field) != getattr(
        Recipe.from_dict(read_recipe("base.png")), field
    )


def test_a_model_may_be_a_path(run: Run, weights: Path) -> None:
    named = sample(run, "a.png", "--model", "mocogan-shapes")
    path = sample(run, "b.png", "--model", weights / "mocogan-shapes.safetensors")
    assert (named == path).all()
    assert (sample(run, "c.png") != named).any()


def test_a_recipe_may_be_json_and_options_win(run: Run) -> None:
    Path("r.json").write_text(Recipe(content_seed=4, category=1, frames=5).to_json())
    frames = sample(run, "a.png", "--recipe", "r.json", "--frames", 6, "--category", "none")
    recipe = Recipe.from_dict(read_recipe("a.png"))
    assert len(frames) == 6
    assert recipe == Recipe(content_seed=4, frames=6)


def test_a_grid_holds_the_single_clips(run: Run) -> None:
    options = ["--frames", 5, "--category", 1]
    code, _, error = run("grid", "--contents", 1, 2, "--motions", 4, 5, 6, "--out", "grid.png", *options)
    assert code == 0, error
    film = read_clip("grid.png").frames
    assert film.shape == (5, 34, 52, 3)
    cell = sample(run, "cell.png", "--content-seed", 2, "--motion-seed", 6, *options)
    assert np.abs(film[:, 18:, 36:].astype(int) - cell).max() <= 1
    recipe = read_recipe("grid.png")
    assert (recipe["content_seed"], recipe["motion_seed"]) == (1, 4)


def test_bench_reports(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = bench.measure
    monkeypatch.setattr(
        bench, "measure", lambda info, threads: measure(info, threads, clips=3, frames=5, runs=1)
    )
    code, text, error = run("bench", "--json")
    assert code == 0, error
    result = json.loads(text)
    assert result["model"] == "mocogan-sprites"
    assert result["speedup"] == pytest.approx(result["plain_seconds"] / result["fast_seconds"])
    assert result["mean_difference"] < 1
    assert result["max_difference"] <= 4
    code, text, _ = run("bench", "--model", "mocogan-shapes", "--threads", 2)
    assert code == 0
    assert "speedup" in text
    assert "threads                          2" in text


MISTAKES: list[tuple[list[object], str]] = [
    ([], "required"),
    (["smple"], "smple"),
    (["sample"], "--out"),
    (["sample", "--out", "a.mp4", "--model", "mocogan-sprite"], "did you mean 'mocogan-sprites'"),
    (["sample", "--out", "a.mp4", "--model", "no/such.safetensors"], "no/such.safetensors"),
    (["sample", "--out", "a.mp4", "--contnt-seed", "3"], "did you mean --content-seed?"),
    (["sample", "--out", "a.mp4", "--cont", "3"], "--cont"),
    (["sample", "--out", "a.mp4", "stray"], "stray"),
    (["grid", "--out", "a.mp4", "--contents", 1, "--motion", 2], "--motion"),
    (["sample", "--out", "a.mp4", "--category", 3], "0 to 2"),
    (["sample", "--out", "a.mp4", "--category", -1], "0 to 2"),
    (["sample", "--out", "a.mp4", "--category", "9" * 5000], "0 to 2"),
    (["sample", "--out", "a.mp4", "--category", "wav"], "did you mean 'wave'"),
    (["sample", "--out", "a.mp4", "--model", "mocogan-shapes", "--category", 0], "no categories"),
    (["sample", "--out", "a.mp4", "--truncation", 0.5], "truncation"),
    (["sample", "--out", "a.mp4", "--playback", "sideways"], "sideways"),
    (["sample", "--out", "a.mp4", "--directions", *range(7)], "six"),
    (["sample", "--out", "a.mp4", "--pad", 1], "--pad"),
    (["sample", "--out", "a.txt"], "must end in"),
    (["sample", "--out", "none/a.mp4"], "no folder"),
    (["sample", "--out", "."], "must end in"),
    (["sample", "--out", "a.mp4", "--recipe", "none.mp4"], "none.mp4"),
    (["sample", "--out", "a.mp4", "--recipe", "none.json"], "none.json"),
    (["sample", "--out", "a.mp4", "--recipe", "/dev/null"], "/dev/null"),
    (["grid", "--out", "a.mp4", "--contents", "--motions", 1], "--contents"),
    (["grid", "--out", "a.mp4", "--contents", 1, "--motions", -1], "motion_seed"),
    (["grid", "--out", "a.mp4", "--contents", 2**31, "--motions", 1], "content_seed"),
    (["bench", "--model", "nothing"], "nothing"),
    (["bench", "--threads", 0], "threads"),
    (["bench", "--threads", 10**9], "threads"),
]
for _field in ("speed", "fps", "strength", "smoothness", "content_mix", "pad", "directions"):
    for _value in ("nan", "inf", "1e9", "-7", "x"):
        _words = [_value, "0"] if _field == "pad" else [_value]
        MISTAKES.append((["sample", "--out", "a.mp4", f"--{_field.replace('_', '-')}", *_words], _field[:3]))
for _field in ("frames", "content_seed", "motion_to", "splice_at"):
    for _value in ("nan", "1e9", str(10**10), "-1", "1.5"):
        MISTAKES.append((["sample", "--out", "a.mp4", f"--{_field.replace('_', '-')}", _value], _field[:3]))


@pytest.mark.parametrize(("argv", "part"), MISTAKES, ids=lambda value: str(value)[-60:])
def test_a_mistake_is_one_sentence(run: Run, argv: list[object], part: str) -> None:
    code, text, error = run(*argv)
    assert code == 2
    assert text == ""
    assert error.count("\n") == 1
    assert part in error
    assert "Traceback" not in error
    assert os.listdir() == []


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"speed": NaN}', '{"speed": 1e9}', '{"sped": 1}', '{"frames": "x"}']
)
def test_a_bad_recipe_is_one_sentence(run: Run, text: str) -> None:
    Path("r.json").write_text(text)
    code, _, error = run("sample", "--out", "a.mp4", "--recipe", "r.json")
    assert (code, error.count("\n")) == (2, 1)
    Path("r.json").write_bytes(b"\xff\xfe")
    assert run("sample", "--out", "a.mp4", "--recipe", "r.json")[0] == 2
    assert os.listdir() == ["r.json"]


def test_a_clip_without_recipe_is_told(run: Run) -> None:
    write_clip("plain.mp4", np.zeros((2, 16, 16, 3), np.uint8), 12)
    code, _, error = run("sample", "--out", "a.mp4", "--recipe", "plain.mp4")
    assert code == 2
    assert "plain.mp4 carries no recipe" in error


def test_foreign_weights_are_told(run: Run, weights: Path) -> None:
    for name, data in (("empty", b""), ("foreign", b"PK\x03\x04" * 100)):
        Path(f"{name}.safetensors").write_bytes(data)
        code, _, error = run("sample", "--out", "a.mp4", "--model", f"{name}.safetensors")
        assert (code, error.count("\n")) == (2, 1)
        assert name in error
    whole = (weights / "mocogan-shapes.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(whole[: len(whole) // 2])
    code, _, error = run("sample", "--out", "a.mp4", "--model", "cut.safetensors")
    assert (code, error.count("\n")) == (2, 1)
    assert not Path("a.mp4").exists()


def test_a_bad_place_is_told_before_rendering(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_session() -> Session:
        raise AssertionError("the path was not checked first")

    monkeypatch.setattr(cli, "open_session", no_session)
    Path("folder.mp4").mkdir()
    for command in (["sample"], ["grid", "--contents", 1, "--motions", 1]):
        code, _, error = run(*command, "--out", "folder.mp4")
        assert code == 2
        assert "is a folder" in error


def test_a_grid_has_a_largest_size(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "MAX_GRID_BYTES", 1000)
    code, _, error = run("grid", "--contents", 1, 2, "--motions", 1, "--out", "a.mp4")
    assert code == 2
    assert "fewer cells" in error


def test_help_and_interrupt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text, _ = run("sample", "--help")
    assert code == 0
    assert "--content-seed" in text

    def interrupt() -> Session:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "open_session", interrupt)
    assert run("models")[0] == 130


def test_the_module_runs() -> None:
    command = [sys.executable, "-m", "vidgen", "sample", "--out", "a.xyz"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "must end in" in done.stderr
