"""Preparing clips: cuts, rates, faces, duplicates, damage, a run that is stopped, the papers' data sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_data_folders import make_clip, save_frames, save_strip

from train import prepare
from train.data import preparing
from train.data.avatars import AvatarClips
from train.data.datasets import DATASETS, described, open_dataset
from train.data.shots import Plan, shots
from vidgen.data.pack import Pack
from vidgen.errors import VidgenError
from vidgen.video_io import write_clip


def drift(colour: tuple[int, int, int], frames: int = 20, side: int = 32) -> np.ndarray:
    """Make a clip of one colour over which a bright bar goes from left to right."""
    clip = np.full((frames, side, side, 3), colour, dtype=np.uint8)
    for index in range(frames):
        clip[index, :, index : index + 3] = 255
    return clip


RED, BLUE, GREEN = drift((160, 20, 20)), drift((20, 20, 160)), drift((20, 120, 20))


def run(folder: Path, out: Path, *extra: str) -> int:
    return prepare.main([str(folder), "--out", str(out), "--size", "16", "--min-frames", "8", *extra])


@pytest.mark.parametrize("ending", ["mp4", "gif", "webp"])
def test_a_video_is_split_at_its_cuts(tmp_path: Path, ending: str) -> None:
    (tmp_path / "in").mkdir()
    write_clip(tmp_path / "in" / f"a.{ending}", np.concatenate([RED, BLUE, GREEN[:3], RED[::-1]]), 10)
    assert run(tmp_path / "in", tmp_path / "a.pack") == 0
    made = Pack(tmp_path / "a.pack")
    assert made.lengths.tolist() == [20, 20, 20]  # three frames are no shot
    assert made.names == [f"a.{ending}#{number}" for number in (1, 2, 3)]
    assert set(made.content_ids) == {"a"}, "shots of one video are one content"
    red, blue = made.clip(0).mean((0, 1, 2)), made.clip(1).mean((0, 1, 2))
    assert red[0] > red[2] and blue[2] > blue[0]
    assert run(tmp_path / "in", tmp_path / "b.pack", "--keep-cuts") == 0
    assert Pack(tmp_path / "b.pack").lengths.tolist() == [63]


def test_fast_motion_is_no_cut() -> None:
    noise = np.random.default_rng(0).integers(256, size=(40, 16, 16, 3), dtype=np.uint8)
    blink = np.stack([np.full((16, 16, 3), 255 * (i % 2), np.uint8) for i in range(40)])
    for clip in (noise, blink, make_clip(0, frames=40)):
        assert [len(shot) for shot in shots(clip, Plan(size=16))] == [40]


def test_strips_are_never_cut(tmp_path: Path) -> None:
    save_strip(tmp_path / "in" / "1.png", np.concatenate([RED, BLUE]))
    assert run(tmp_path / "in", tmp_path / "a.pack") == 0
    assert Pack(tmp_path / "a.pack").lengths.tolist() == [40]


def test_videos_are_thinned_to_a_rate_and_strips_have_it(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_clip(tmp_path / "in" / "a.mp4", np.concatenate([RED, RED[::-1]]), 20)
    save_strip(tmp_path / "in" / "b.png", BLUE)
    assert run(tmp_path / "in", tmp_path / "a.pack", "--fps", "10") == 0
    made = Pack(tmp_path / "a.pack")
    assert made.lengths.tolist() == [20, 20] and made.rates.tolist() == [10, 10]
    assert run(tmp_path / "in", tmp_path / "b.pack", "--fps", "60") == 0
    assert Pack(tmp_path / "b.pack").lengths.tolist() == [40, 20]
    assert Pack(tmp_path / "b.pack").rates[0] == pytest.approx(20)


def test_what_is_broken_or_there_twice_is_said_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name, clip in (("a", RED), ("b", BLUE), ("c", RED)):
        save_strip(tmp_path / "in" / f"{name}.png", clip)
    (tmp_path / "in" / "d.mp4").write_bytes(b"no film" * 100)
    (tmp_path / "in" / "e.png").write_bytes((tmp_path / "in" / "a.png").read_bytes()[:90])
    assert run(tmp_path / "in", tmp_path / "a.pack") == 0
    said = capsys.readouterr()
    assert "2 clips" in said.out and "3 left out" in said.out
    lines = [line for line in said.err.splitlines() if line.startswith("left out: ")]
    assert len(lines) == 3
    assert "c.png is the same as a.png" in said.err and "d.mp4" in said.err and "e.png" in said.err
    assert {path.name for path in tmp_path.iterdir()} == {"in", "a.pack", ".a.pack.done"}


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, clip in (("a", RED), ("b", BLUE), ("c", GREEN)):
        save_strip(tmp_path / "in" / f"{name}.png", clip)
    real, read = preparing._write_shots, []

    def stopping(path: Path, target: Path, plan: Plan) -> dict:
        if path.name == "c.png":
            raise OSError(28, "No space left on device")
        return real(path, target, plan)

    def counted(path: Path, target: Path, plan: Plan) -> dict:
        read.append(path.name)
        return real(path, target, plan)

    monkeypatch.setattr(preparing, "_write_shots", stopping)
    assert run(tmp_path / "in", tmp_path / "a.pack", "--jobs", "1") == 2
    assert not (tmp_path / "a.pack").exists()
    monkeypatch.setattr(preparing, "_write_shots", counted)
    assert run(tmp_path / "in", tmp_path / "a.pack", "--jobs", "2") == 0
    assert read == ["c.png"] and len(Pack(tmp_path / "a.pack")) == 3
    before = (tmp_path / "a.pack").stat().st_mtime_ns
    assert run(tmp_path / "in", tmp_path / "a.pack") == 0
    assert read == ["c.png"] and (tmp_path / "a.pack").stat().st_mtime_ns == before
    save_strip(tmp_path / "in" / "a.png", RED[::-1])
    assert run(tmp_path / "in", tmp_path / "a.pack") == 0
    assert sorted(read[1:]) == ["a.png", "b.png", "c.png"]


def test_many_threads_make_the_same_pack(tmp_path: Path) -> None:
    for number in range(9):
        save_strip(tmp_path / "in" / f"{number}.png", make_clip(number, frames=10))
    for jobs in ("1", "4"):
        assert run(tmp_path / "in", tmp_path / f"{jobs}.pack", "--jobs", jobs) == 0
    one, four = (Pack(tmp_path / f"{jobs}.pack") for jobs in ("1", "4"))
    assert one.names == four.names
    assert all(np.array_equal(one.clip(i), four.clip(i)) for i in range(9))


def test_faces_are_cropped(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "in").mkdir()
    write_clip(tmp_path / "in" / "a.mp4", np.concatenate([RED, RED[::-1]]), 20)
    assert run(tmp_path / "in", tmp_path / "a.pack", "--faces") == 2
    assert "0 frames with a face on, but 8 are needed" in capsys.readouterr().err


LAYOUTS = {
    "mug": (["subjects3/{}/{}/take000", "subjects3/{}/{}/take001"], ("001", "052"), ("anger", "fear")),
    "weizmann": (["weizmann/{}_{}.avi", "weizmann/{}_{}2.avi"], ("daria", "eli"), ("bend", "walk")),
    "ucf-101": (["UCF-101/{1}/v_{1}_{0}_c01.avi"], ("g01", "g02"), ("Archery", "YoYo")),
    "faceforensics": (["ff/original_sequences/youtube/c23/videos/{}.mp4"], ("000", "033"), ()),
    "sky-timelapse": (["sky/sky_train/{0}/{0}_1", "sky/sky_test/{0}x/{0}x_2"], ("aYb-c", "d_4"), ()),
    "rainbow-jelly": (["jelly/{}.mp4"], ("rainbow_jelly",), ()),
    "celebv-hq": (["downloaded_celebvhq/processed/{}_0.mp4"], ("M2Ohb0FAaJU", "a_-3"), ()),
}


def lay_out(name: str, folder: Path) -> list[str]:
    """Write a few clips as a data set has them, and files that are none; returns the clips' paths."""
    forms, contents, labels = LAYOUTS[name]
    made = [form.format(c, label) for form in forms for c in contents for label in labels or ("",)]
    for number, where in enumerate(made):
        path = folder / where
        if path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_clip(path.with_suffix(".mp4"), np.roll(RED, number, 2), 25)
            path.with_suffix(".mp4").rename(path)
        else:
            save_frames(path, make_clip(number, frames=10))
    (folder / "readme.txt").write_text("not a clip")
    (folder / "preview").mkdir()
    (folder / "preview" / "trailer.mov").write_bytes(b"not a clip either")
    return made


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_layouts_of_the_papers_data_sets_are_known(tmp_path: Path, name: str) -> None:
    made = lay_out(name, tmp_path)
    root = tmp_path / made[0].split("/")[0]
    clips, tests = open_dataset(name, root, 16, 8)
    _, contents, labels = LAYOUTS[name]
    assert len(clips) == len(made) and clips.categories == list(labels)
    every = {f"{label}_{c}" for c in contents for label in labels} if name == "ucf-101" else set(contents)
    every |= {f"{c}x" for c in contents} if name == "sky-timelapse" else set()
    assert set(clips.content_ids) == every
    assert tests == (sorted(f"{c}x" for c in contents) if name == "sky-timelapse" else None)
    assert len(open_dataset(name, tmp_path, 16, 8)[0]) == len(made), "a folder above it does as well"
    if labels:
        by_path = {source.name: clips.categories[source.label] for source in clips.sources}
        assert all(label in path for path, label in by_path.items())


def test_a_data_set_is_prepared_with_what_is_known_of_it(tmp_path: Path) -> None:
    lay_out("sky-timelapse", tmp_path)
    assert run(tmp_path / "sky", tmp_path / "sky.pack", "--dataset", "sky-timelapse") == 0
    assert Pack(tmp_path / "sky.pack", "test").content_ids == ["aYb-cx", "d_4x"]
    assert Pack(tmp_path / "sky.pack").fps == 25


def test_one_long_film_becomes_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out("rainbow-jelly", tmp_path)
    monkeypatch.setitem(DATASETS, "rainbow-jelly", replace(DATASETS["rainbow-jelly"], piece=8, skip=3))
    assert run(tmp_path / "jelly", tmp_path / "jelly.pack", "--dataset", "rainbow-jelly") == 0
    made = Pack(tmp_path / "jelly.pack")
    assert made.lengths.tolist() == [8, 8]  # of 17 that are left; one is no piece
    assert made.content_ids == ["rainbow_jelly#1", "rainbow_jelly#2"], "so that some can be held out"


def test_another_folder_is_told_the_layout_and_where_to_get_the_data(tmp_path: Path) -> None:
    with pytest.raises(VidgenError, match=r"does not look like mug, .*subjects3/001/.*//mug\.ee\.auth\.gr"):
        open_dataset("mug", tmp_path, 16, 8)
    with pytest.raises(VidgenError, match="needs no preparing"):
        open_dataset("lpc", tmp_path, 16, 8)
    with pytest.raises(VidgenError, match="is no folder"):
        open_dataset("mug", tmp_path / "nowhere", 16, 8)


def test_the_data_sets_are_listed(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        prepare.main(["--list-datasets"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert said == described() and said.count("http") == len(DATASETS) + 1
    assert prepare.main([str(tmp_path), "--out", "x", "--dataset", "mug", "--group", "every:2"]) == 2
    assert "drop --names, --group, --layout" in capsys.readouterr().err


def test_pictures_of_a_shot_are_kept_in_order(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_clip(tmp_path / "in" / "a.gif", RED, 10)
    assert run(tmp_path / "in", tmp_path / "a.pack") == 0
    bright = Pack(tmp_path / "a.pack").clip(0)[:, 8].sum(-1).argmax(1)
    assert (np.diff(bright.astype(int)) >= 0).all() and bright[-1] > bright[0]


def recording(folder: Path, height: int = 60, width: int = 40, frames: int = 9) -> np.ndarray:
    """Save frames whose pixels tell their row, column and time."""
    rows, columns = np.mgrid[:height, :width]
    clip = np.stack([np.stack([rows, columns, np.full_like(rows, 9 * t)], -1) for t in range(frames)])
    save_frames(folder, clip.astype(np.uint8))
    return clip.astype(np.uint8)


def test_windows_of_one_recording_keep_the_lowest_ones_apart(tmp_path: Path) -> None:
    wanted = recording(tmp_path / "sky")
    options = ("--windows", "16", "--test-share", "0.3", "--fps", "5")
    assert run(tmp_path / "sky", tmp_path / "a.pack", *options) == 0
    train, test = Pack(tmp_path / "a.pack", "train"), Pack(tmp_path / "a.pack", "test")
    assert train.lengths.tolist() == [9] * len(train) and train.fps == 5
    assert (len(train), len(test)) == (7 * 7, 1 * 7)  # quarter steps down 42 and 18 rows, across 40 columns
    for part, first, last in ((train, 0, 42), (test, 42, 60)):
        seen = [part.clip(index) for index in range(len(part))]
        assert {int(clip[..., 0].min()) for clip in seen} >= {first}
        assert all(first <= clip[..., 0].min() and clip[..., 0].max() < last for clip in seen)
    top, left = wanted[0, :, 0, 0].tolist().index(4), 8
    assert (train.clip(7 + 2) == wanted[:, top : top + 16, left : left + 16]).all()


def test_windows_are_shown_smaller_by_averaging(tmp_path: Path) -> None:
    recording(tmp_path / "sky", 80, 40)
    assert run(tmp_path / "sky", tmp_path / "a.pack", "--windows", "32", "--test-share", "0.4") == 0
    clip = Pack(tmp_path / "a.pack").clip(0).astype(float)
    assert clip.shape == (9, 16, 16, 3)
    np.testing.assert_allclose(clip[0, 2:-2, 5, 0], 2 * np.arange(2, 14) + 0.5, atol=0.51)


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (("--windows", "8"), "cannot be shown at 16 px"),
        (("--windows", "48"), "too little for windows of 48 px"),
        (("--windows", "16", "--min-frames", "20"), "has 9 frames, but 20"),
        (("--windows", "16", "--faces"), "drop --dataset, --faces"),
    ],
)
def test_windows_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: tuple[str, ...], told: str
) -> None:
    recording(tmp_path / "sky")
    assert run(tmp_path / "sky", tmp_path / "a.pack", *extra) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "a.pack").exists()


def test_heads_perform_more_than_once(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path / "a.pack"), "--size", "16", "--min-frames", "3", "--count", "4"]
    assert prepare.main(["avatars:random", *arguments, "--performances", "2"]) == 0
    train, test = Pack(tmp_path / "a.pack", "train"), Pack(tmp_path / "a.pack", "test")
    assert (len(train), len(test)) == (6, 1)
    assert train.content_ids == [f"train {face}" for face in (0, 1, 2, 0, 1, 2)]
    drawn, times = AvatarClips(6, 16, 6), np.arange(0, 6, 2)
    assert (train.clip(4) == drawn.performed(1, 4, times)).all()
    assert (train.clip(4) != drawn.performed(1, 1, times)).any()
    assert (test.clip(0) == AvatarClips(1, 16, 6, split="test").clip(0)[::2]).all()
    before = train.clip(0)
    assert prepare.main(["avatars:mia", *arguments, "--performances", "2"]) == 0
    assert (Pack(tmp_path / "a.pack", "train").clip(0) != before).any(), "another face, another pack"


def test_heads_are_drawn_each_with_its_own_face(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--out", str(tmp_path / "a.pack"), "--size", "16", "--min-frames", "3", "--count", "4"]
    assert prepare.main(["avatars:random", *arguments]) == 0
    train, test = Pack(tmp_path / "a.pack", "train"), Pack(tmp_path / "a.pack", "test")
    assert (len(train), len(test)) == (3, 1) and train.lengths.tolist() == [3, 3, 3] and train.fps == 12.5
    faces = [part.clip(index)[0] for part in (train, test) for index in range(len(part))]
    for number, face in enumerate(faces):
        assert all((face != other).any() for other in faces[:number])
    assert (train.clip(0) == AvatarClips(3, 16, 6).clip(0)[::2]).all()
    for wrong, told in (
        (["avatars:nobody", *arguments], "nobody"),
        (["avatars:random", *arguments[:-1], "1"], "--count is 1"),
        (["avatars:random", *arguments, "--performances", "0"], "--performances is 0"),
        (["avatars:random", *arguments, "--tests", "train 0"], "drop --windows"),
        ([str(tmp_path), *arguments, "--performances", "2"], "--performances is about drawn heads"),
    ):
        assert prepare.main(wrong) == 2
        assert told in capsys.readouterr().err
