"""What the weights say of themselves: a file that says nonsense is told by name, and hides no other."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from vidgen import catalogue
from vidgen.errors import VidgenError
from vidgen.session import Session

CONFIG = {"size": 32, "clip_length": 8}
ABOUT = {"title": "Fine", "categories": ["a", "b"], "fps": 8, "licence": "MIT"}


def write(path: Path, config: Any, about: Any) -> None:
    """Write a weights file of one number that describes itself so."""
    metadata = {"format": "vidgen-1", "family": "mocogan"}
    metadata |= {"config": json.dumps(config), "about": json.dumps(about)}
    save_file({"model.x": np.zeros(1, np.float32)}, str(path), metadata)


def test_a_description_is_read(tmp_path: Path) -> None:
    write(tmp_path / "fine.safetensors", CONFIG, ABOUT)
    info = Session(tmp_path).info("fine")
    assert (info.name, info.size, info.fps, info.clip_length) == ("fine", 32, 8.0, 8)
    assert (info.categories, info.licence, info.category_axes) == (["a", "b"], "MIT", None)
    assert info.direction_names[5] == "Direction 6"


@pytest.mark.parametrize(
    ("config", "about"),
    [
        ({}, ABOUT),
        ([], ABOUT),
        (7, ABOUT),
        ({"size": "64"}, ABOUT),
        ({"size": True}, ABOUT),
        ({"size": None}, ABOUT),
        ({"size": 0}, ABOUT),
        (CONFIG, []),
        (CONFIG, "about"),
        (CONFIG, ABOUT | {"title": 3}),
        (CONFIG, ABOUT | {"fps": "fast"}),
        (CONFIG, ABOUT | {"fps": float("nan")}),
        (CONFIG, ABOUT | {"fps": 10**400}),
        (CONFIG, ABOUT | {"fps": 0}),
        (CONFIG, ABOUT | {"clip_length": 1.5}),
        (CONFIG, ABOUT | {"default_frames": [1]}),
        (CONFIG, ABOUT | {"categories": "ab"}),
        (CONFIG, ABOUT | {"categories": [1, 2]}),
        (CONFIG, ABOUT | {"category_axes": ["action"]}),
        (CONFIG, ABOUT | {"category_axes": {"action": 3}}),
        (CONFIG, ABOUT | {"direction_names": ["one"]}),
    ],
)
def test_nonsense_is_one_sentence_that_names_the_file(tmp_path: Path, config: Any, about: Any) -> None:
    path = tmp_path / "odd.safetensors"
    write(path, config, about)
    with pytest.raises(VidgenError) as told:
        catalogue.describe(path)
    assert "odd.safetensors" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_broken_file_hides_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "fine.safetensors", CONFIG, ABOUT)
    write(tmp_path / "odd.safetensors", {}, ABOUT)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "fine.safetensors").read_bytes()[:40])
    session = Session(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert [model.name for model in session.models()] == ["fine"]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "cut.safetensors" in told[0]
    assert "odd.safetensors" in told[1]
    for name in ("cut", "odd"):
        with pytest.raises(VidgenError, match=f"{name}.safetensors"):
            session.info(name)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".safetensors", "a\0b", "", "."])
def test_a_name_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    write(tmp_path / "fine.safetensors", CONFIG, ABOUT)
    with pytest.raises(VidgenError, match="no model|no weights file|not a readable"):
        Session(tmp_path).info(name)


def test_a_model_that_comes_later_is_found(tmp_path: Path) -> None:
    session = Session(tmp_path)
    with pytest.raises(VidgenError, match="no model 'fine'"):
        session.info("fine")
    write(tmp_path / "first.safetensors", CONFIG, ABOUT)
    shutil.copy(tmp_path / "first.safetensors", tmp_path / "fine.safetensors")
    assert session.info("fine").name == "fine"
