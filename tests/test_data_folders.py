"""Folders of clips: each layout is found, each bad file is named, and the splits hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidgen.data.folders import open_clips
from vidgen.data.splits import content_id, held_out, selected
from vidgen.errors import VidgenError
from vidgen.video_io import write_clip


def make_clip(seed: int, frames: int = 6, size: int = 16) -> np.ndarray:
    """Make a clip of flat frames, each of its own colour."""
    colours = np.random.default_rng(seed).integers(0, 256, (frames, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(colours, (frames, size, size, 3))


def save_strip(path: Path, clip: np.ndarray, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(list(clip), axis=1)).convert(mode, palette=Image.Palette.ADAPTIVE).save(
        path
    )


def save_frames(folder: Path, clip: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for index, frame in enumerate(clip):
        Image.fromarray(frame).save(folder / f"frame{index}.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_strips_come_back_as_they_were(tmp_path: Path, mode: str) -> None:
    save_strip(tmp_path / "7.png", make_clip(0), mode)
    frames, _ = open_clips(tmp_path, size=16).read(0)
    assert frames.shape == (6, 16, 16, 3) and np.array_equal(frames, make_clip(0))


def test_grey_strips_become_rgb(tmp_path: Path) -> None:
    save_strip(tmp_path / "7.png", make_clip(0), "L")
    frames, _ = open_clips(tmp_path, size=16).read(0)
    assert frames.shape == (6, 16, 16, 3) and np.array_equal(frames[..., 0], frames[..., 2])


def test_a_transparent_strip_that_calls_itself_jpg(tmp_path: Path) -> None:
    clip = np.zeros((3, 16, 16, 4), dtype=np.uint8)
    clip[:, :8] = (10, 20, 30, 255)
    Image.fromarray(np.concatenate(list(clip), axis=1)).save(tmp_path / "1.jpg", format="PNG")
    frames, _ = open_clips(tmp_path, size=16).read(0)
    assert (frames[:, :8] == (10, 20, 30)).all() and (frames[:, 8:] == frames[0, 8, 0]).all()


def test_class_folders_are_labels_in_natural_order(tmp_path: Path) -> None:
    for label, name in enumerate(("2", "10", "x")):
        for number in range(3):
            save_strip(tmp_path / name / f"{number}.png", make_clip(10 * label + number))
    clips = open_clips(tmp_path, size=16)
    assert clips.categories == ["2", "10", "x"]
    assert clips.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert np.array_equal(clips.read(4)[0], make_clip(11))
    assert open_clips(tmp_path, names=["a", "b", "c"]).categories == ["a", "b", "c"]
    with pytest.raises(VidgenError, match="3 class folders, but 2 names"):
        open_clips(tmp_path, names=["a", "b"])


@pytest.mark.parametrize("classes", [False, True])
def test_frame_folders_are_clips_in_natural_order(tmp_path: Path, classes: bool) -> None:
    for index, name in enumerate(("one", "two")):
        save_frames(tmp_path / ("wave" if classes else "") / name, make_clip(index, frames=12))
    clips = open_clips(tmp_path, size=16, fps=25)
    assert len(clips) == 2 and clips.content_ids == ["one", "two"]
    assert clips.categories == (["wave"] if classes else [])
    frames, fps = clips.read(1)
    assert np.array_equal(frames, make_clip(1, frames=12)) and fps == 25


def test_one_frame_folder_and_one_file_are_one_clip(tmp_path: Path) -> None:
    save_frames(tmp_path / "walk", make_clip(0))
    assert len(open_clips(tmp_path / "walk", size=16).read(0)[0]) == 6
    save_strip(tmp_path / "walk.png", make_clip(1))
    assert np.array_equal(open_clips(tmp_path / "walk.png", size=16).read(0)[0], make_clip(1))


@pytest.mark.parametrize("ending", ["mp4", "gif", "webp"])
def test_videos_are_cropped_to_the_middle_square(tmp_path: Path, ending: str) -> None:
    clip = np.zeros((5, 32, 64, 3), dtype=np.uint8)
    clip[:, :, 16:48] = 200
    clip += np.arange(5, dtype=np.uint8)[:, None, None, None] * 10
    (tmp_path / "walk").mkdir()
    for name in ("a", "b"):
        write_clip(tmp_path / "walk" / f"{name}.{ending}", clip, 10)
    clips = open_clips(tmp_path, size=16)
    frames, fps = clips.read(1)
    assert (
        clips.categories == ["walk"] and frames.shape == (5, 16, 16, 3) and fps == pytest.approx(10, abs=0.2)
    )
    assert np.abs(frames.astype(int) - clip[:, :1, 32:33].astype(int)).max() < 16


def test_layout_can_be_told(tmp_path: Path) -> None:
    for index in range(4):  # frames of 2:1, which look like strips of two
        folder = tmp_path / "wide"
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (32, 16), (index, 0, 0)).save(folder / f"{index}.png")
    assert len(open_clips(tmp_path)) == 4
    assert len(open_clips(tmp_path, layout="frames")) == 1
    with pytest.raises(VidgenError, match="Unknown layout 'tapes'"):
        open_clips(tmp_path, layout="tapes")


def broken(folder: Path) -> None:
    (folder / "bad.png").write_bytes((folder / "ok.png").read_bytes()[:60])


def garbage(folder: Path) -> None:
    (folder / "bad.mp4").write_bytes(b"no film" * 100)


def short(folder: Path) -> None:
    save_strip(folder / "bad.png", make_clip(1, frames=3))


def no_strip(folder: Path) -> None:
    Image.new("RGB", (40, 16)).save(folder / "bad.png")


def mixed(folder: Path) -> None:
    save_frames(folder / "bad", make_clip(2))
    Image.new("RGB", (17, 16)).save(folder / "bad" / "frame3.png")


@pytest.mark.parametrize("spoil", [broken, garbage, short, no_strip, mixed])
def test_a_bad_clip_is_named(tmp_path: Path, spoil) -> None:
    for name in ("ok", "ok2", "ok3"):
        save_strip(tmp_path / f"{name}.png", make_clip(0))
    spoil(tmp_path)
    clips = open_clips(tmp_path, size=16, min_frames=4)
    assert len(clips) == 4
    with pytest.raises(VidgenError, match="bad"):
        for index in range(4):
            clips.read(index)


def test_folders_without_clips_are_named(tmp_path: Path) -> None:
    with pytest.raises(VidgenError, match="nowhere does not exist"):
        open_clips(tmp_path / "nowhere")
    with pytest.raises(VidgenError, match="holds no clips"):
        open_clips(tmp_path)
    save_strip(tmp_path / "a" / "1.png", make_clip(0))
    (tmp_path / "b").mkdir()
    with pytest.raises(VidgenError, match="b is a class folder without clips"):
        open_clips(tmp_path)
    save_strip(tmp_path / "1.png", make_clip(0))
    with pytest.raises(VidgenError, match="both beside and in class folders"):
        open_clips(tmp_path)


@pytest.mark.parametrize("wrong", [{"size": 2}, {"min_frames": 0}, {"fps": 0.0}, {"fps": float("nan")}])
def test_wrong_numbers_are_refused(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(VidgenError, match="fps" if "fps" in wrong else "size"):
        open_clips(tmp_path, **wrong)


def test_splits_by_content_are_disjoint_fixed_and_whole(tmp_path: Path) -> None:
    for number in range(40):
        save_strip(tmp_path / str(number % 4) / f"{number:08d}.png", make_clip(number, frames=2, size=8))
    parts = {
        split: open_clips(tmp_path, split=split, group="every:8", test_share=0.3)
        for split in ("train", "test")
    }
    train, test = (set(parts[split].content_ids) for split in ("train", "test"))
    assert train and test and not train & test and train | test == {"0", "1", "2", "3", "4"}
    assert len(parts["train"]) + len(parts["test"]) == 40
    chosen = open_clips(tmp_path, split="test", group="every:8", tests=["2"])
    assert sorted(source.path.stem for source in chosen.sources) == [f"{n:08d}" for n in range(16, 24)]


def test_more_data_moves_nothing_into_the_test_split() -> None:
    names = [f"clip{i}" for i in range(300)]
    before, after = set(held_out(names[:100])), set(held_out(names))
    assert after & set(names[:100]) <= before
    assert 0.05 < len(after) / 300 < 0.16
    assert held_out(["only"]) == [] and len(held_out(["a", "b"], 0.99)) == 1 and held_out(names, 0) == []


def test_content_rules() -> None:
    assert content_id("wave/ann_01.png") == "ann_01"
    assert content_id("0/00000017.png", "every:8") == "2"
    assert content_id("0/00000003.png", "every:2") == content_id("0/00000002.png", "every:2")
    assert content_id("wave/ann_01.png", r"/([a-z]+)_") == "ann"
    for rule, sentence in (
        ("every:2", "no number"),
        ("(", "no regular"),
        ("a", "0 groups"),
        ("(z)", "no content"),
    ):
        with pytest.raises(VidgenError, match=sentence):
            content_id("wave/ann.png", rule)


def test_impossible_splits_are_refused() -> None:
    for arguments, sentence in (
        ((["a"], 1.5), "1.5"),
        ((["a", "b"], 0.1, ["c"]), "No clip has the content 'c'"),
        ((["a", "b"], 0.1, ["a", "b"]), "All 2 contents"),
    ):
        with pytest.raises(VidgenError, match=sentence):
            held_out(*arguments)
    with pytest.raises(VidgenError, match="Unknown split 'valid'"):
        selected(["a"], [], "valid")
    with pytest.raises(VidgenError, match="test split of 1 clips is empty"):
        selected(["a"], [], "test")
