"""Characters are packed whole or not at all, in the layout that packs have always had."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from vidgen.data import sprites
from vidgen.data.sprites import CELLS_PER_CHARACTER, SpriteClips
from vidgen.errors import VidgenError

COUNT = 3


class Made:
    """What was composed, counted; `fail` is raised in place of the second character."""

    def __init__(self) -> None:
        self.cells: list[np.ndarray] = []
        self.fail: BaseException | None = None

    def compose(self, root: Path, layers: dict[str, list[str]]) -> np.ndarray:
        """Draw noise in place of a character."""
        assert (root / "body").is_dir()
        if self.fail is not None and layers["body"] == ["body/1.png"]:
            raise self.fail
        shape = (CELLS_PER_CHARACTER, 64, 64, 3)
        self.cells.append(np.random.default_rng(len(self.cells)).integers(0, 256, shape, np.uint8))
        return self.cells[-1]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    (tmp_path / "clone" / "body").mkdir(parents=True)
    made = Made()
    monkeypatch.setattr(sprites, "compose", made.compose)
    monkeypatch.setattr(
        sprites,
        "draw_characters",
        lambda root, count, split, seed: [{"body": [f"body/{i}.png"]} for i in range(count)],  # noqa: ARG005
    )
    return made


def open_pack(tmp_path: Path) -> SpriteClips:
    return SpriteClips(tmp_path / "clone", tmp_path / "new" / "cache", COUNT)


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "new" / "cache").iterdir())


def test_the_layout_is_that_of_npy_files(tmp_path: Path, made: Made) -> None:
    clips = open_pack(tmp_path)
    assert names(tmp_path) == ["sprites-train-3-0.json", "sprites-train-3-0.npy"]
    expected = BytesIO()
    np.save(expected, np.stack(made.cells))
    assert clips.pack.read_bytes() == expected.getvalue()
    part = np.lib.format.open_memmap(tmp_path / "old", "w+", np.uint8, clips.cells.shape)
    assert (tmp_path / "old").read_bytes()[:128] == expected.getvalue()[:128], "packs began like this"
    assert part.shape == (COUNT, CELLS_PER_CHARACTER, 64, 64, 3)
    assert json.loads(clips.table.read_text())[2] == {"body": ["body/2.png"]}
    again = open_pack(tmp_path)
    assert len(made.cells) == COUNT, "a pack that is there is not made again"
    assert (again.cells[1] == made.cells[1]).all()


@pytest.mark.parametrize("fail", [KeyboardInterrupt(), VidgenError("a sheet is missing")])
def test_an_interrupt_leaves_nothing(tmp_path: Path, made: Made, fail: BaseException) -> None:
    made.fail = fail
    with pytest.raises(type(fail)):
        open_pack(tmp_path)
    assert names(tmp_path) == []
    made.fail = None
    assert len(open_pack(tmp_path)) == COUNT


@pytest.mark.parametrize("lost", ["pack", "table"])
def test_half_of_a_pack_is_made_again(tmp_path: Path, made: Made, lost: str) -> None:
    getattr(open_pack(tmp_path), lost).unlink()
    clips = open_pack(tmp_path)
    assert len(made.cells) == 2 * COUNT
    assert (clips.cells[0] == made.cells[COUNT]).all()
    assert clips.table.exists()


def test_an_interrupted_second_making_keeps_no_old_table(tmp_path: Path, made: Made) -> None:
    open_pack(tmp_path).pack.unlink()
    made.fail = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        open_pack(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path.open

    def full(path: Path, mode: str = "r", **options: object) -> object:
        return plain(Path("/dev/full") if "a" in mode else path, mode, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(VidgenError, match="sprites-train-3-0.npy cannot be written .no space left"):
        open_pack(tmp_path)
    assert len(made.cells) == 1
    assert names(tmp_path) == []


def test_a_cache_that_cannot_be(tmp_path: Path, made: Made) -> None:
    (tmp_path / "new").write_text("a file where the folder should be")
    with pytest.raises(VidgenError, match="cannot be written"):
        open_pack(tmp_path)
    assert made.cells == []
