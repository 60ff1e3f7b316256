"""`python -m vidgen retarget`: every option changes the film, every mistake is one sentence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vidgen import __main__ as cli
from vidgen.catalogue import WEIGHTS
from vidgen.checkpoint import save_model
from vidgen.models.mocogan import MoCoGAN, MoCoGANConfig
from vidgen.models.recyclegan import RecycleGAN, RecycleGANConfig
from vidgen.session import Session
from vidgen.video_io import read_clip, write_clip

Run = Callable[..., tuple[int, str, str]]
FACE = WEIGHTS / "examples" / "expressions.mp4"
FRAMES = 12
SIZE = 16


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with two tiny translators, one of them reversible, and a generator."""
    folder = tmp_path_factory.mktemp("weights")
    for name, reversible in (("character", False), ("both-ways", True)):
        torch.manual_seed(0)
        config = RecycleGANConfig(
            size=SIZE, width=4, blocks=1, predictor_width=4, reversible=reversible, residual=True
        )
        save_model(folder / f"{name}.safetensors", RecycleGAN(config), {"fps": 25, "licence": "MIT"})
    generator = MoCoGAN(MoCoGANConfig(size=16, content_dim=12, base_width=8))
    save_model(folder / "mocogan-shapes.safetensors", generator, {"fps": 8, "licence": "MIT"})
    return folder


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a short film of a face."""
    path = tmp_path_factory.mktemp("clips") / "me.mp4"
    clip = read_clip(FACE, max_frames=FRAMES)
    write_clip(path, clip.frames, clip.fps)
    return path


@pytest.fixture
def run(
    weights: Path,
    face: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Give a function that runs the command in a folder that holds me.mp4: (code, standard output, error)."""
    shutil.copy(face, tmp_path / "me.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "open_session", lambda: Session(weights, threads=1))

    def call(*options: object) -> tuple[int, str, str]:
        code = cli.main(["retarget", *map(str, options)])
        return code, *capsys.readouterr()

    return call


def film(run: Run, *options: object) -> np.ndarray:
    code, _, error = run("--model", "both-ways", "--input", "me.mp4", "--out", "out.mp4", *options)
    assert code == 0, error
    return read_clip("out.mp4").frames


def test_a_film_is_written_and_told(run: Run) -> None:
    code, text, error = run("--model", "character", "--input", "me.mp4", "--out", "out.mp4")
    assert (code, error) == (0, "")
    assert text.startswith(f"out.mp4: {FRAMES} frames at ")
    assert text.count("\n") == 1
    clip = read_clip("out.mp4")
    assert clip.frames.shape == (FRAMES, SIZE, SIZE, 3)
    assert clip.fps == pytest.approx(read_clip("me.mp4").fps, rel=0.01)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (["--crop", "none"], (FRAMES, SIZE, SIZE, 3)),
        (["--crop", "10,20,40,30"], (FRAMES, SIZE, SIZE, 3)),
        (["--blend", "1"], (FRAMES, SIZE, SIZE, 3)),
        (["--paste-back"], None),
        (["--continue", "5"], (FRAMES + 5, SIZE, SIZE, 3)),
        (["--panels", "source,result,cycle,residual"], (FRAMES, SIZE, 4 * SIZE, 3)),
    ],
)
def test_every_option_changes_the_film(run: Run, options: list[str], shape: tuple | None) -> None:
    plain, changed = film(run), film(run, *options)
    assert changed.shape == (shape or read_clip("me.mp4").frames.shape)
    assert plain.shape != changed.shape or (plain != changed).any()


def test_a_box_is_widened_to_a_square(run: Run) -> None:
    assert (film(run, "--crop", "10,20,40,30") == film(run, "--crop", "10,15,40,40")).all()


def test_panels_come_in_the_order_asked_for(run: Run) -> None:
    one, other = film(run, "--panels", "source,result"), film(run, "--panels", "result,source")
    assert np.abs(one[:, :, :SIZE].astype(int) - other[:, :, SIZE:]).mean() < 6


USUAL = {"--model": "character", "--input": "me.mp4", "--out": "out.mp4"}


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"--model": None}, "--model"),
        ({"--input": None}, "--input"),
        ({"--out": None}, "--out"),
        ({"--model": "nobody"}, "no model 'nobody'"),
        ({"--model": "mocogan-shapes"}, "does not translate"),
        ({"--input": "none.mp4"}, "none.mp4"),
        ({"--input": "http://example.org/a.mp4"}, "http://example.org/a.mp4"),
        ({"--out": "out.gif"}, "must end in"),
        ({"--out": "none/out.mp4"}, "no folder"),
        ({"--out": "me.mp4"}, "is the source itself"),
        ({"--crop": "face"}, "crop is 'face'"),
        ({"--crop": "1,2,3"}, "x,y,w,h"),
        ({"--crop": "1,2,nan,4"}, "box"),
        ({"--crop": "1,2,3,4"}, "4 pixels wide"),
        ({"--crop": "9999,0,50,50"}, "outside"),
        ({"--face": "0"}, "no face 0"),
        ({"--face": "3"}, "no face 3"),
        ({"--face": "x"}, "--face"),
        ({"--blend": "1.5"}, "blend"),
        ({"--blend": "nan"}, "blend"),
        ({"--continue": "-1"}, "continue"),
        ({"--panels": "source,face"}, "face"),
        ({"--panels": ""}, "panels"),
        ({"--panels": "cycle"}, "one way only"),
        ({"--panels": "source,result", "--paste-back": True}, "paste_back"),
        ({"--panel": "source"}, "did you mean --panels?"),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence(run: Run, options: dict, part: str) -> None:
    words = []
    for name, value in (USUAL | options).items():
        if value is not None:
            words += [name] if value is True else [name, value]
    before = Path("me.mp4").read_bytes()
    code, text, error = run(*words)
    assert (code, text, error.count("\n")) == (2, "", 1), error
    assert part in error
    assert "Traceback" not in error
    assert os.listdir() == ["me.mp4"]
    assert Path("me.mp4").read_bytes() == before
