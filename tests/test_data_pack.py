"""Packs: decoded once, mapped from then on, whole or refused; and the command that makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train import prepare
from vidgen.data.folders import ClipFolder, open_clips
from vidgen.data.pack import Pack, batches_per_second, pack
from vidgen.errors import VidgenError

LENGTHS = (5, 9, 7, 12)


@pytest.fixture
def strips(tmp_path: Path) -> Path:
    """Two classes of two strips; each pixel of frame i of clip k is (k, i, 7)."""
    for number, frames in enumerate(LENGTHS):
        image = np.full((8, 8 * frames, 3), 7, dtype=np.uint8)
        image[..., 0], image[..., 1] = number, np.arange(8 * frames) // 8
        path = tmp_path / "data" / str(number // 2) / f"clip{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "data"


@pytest.fixture
def packed(strips: Path, tmp_path: Path) -> Path:
    pack(open_clips(strips, size=8), tmp_path / "clips.pack")
    return tmp_path / "clips.pack"


def test_a_pack_holds_the_clips(packed: Path) -> None:
    clips = Pack(packed)
    assert (
        len(clips) == 4 and clips.lengths.tolist() == list(LENGTHS) and clips.labels.tolist() == [0, 0, 1, 1]
    )
    assert clips.categories == ["0", "1"] and clips.content_ids == ["clip0", "clip1", "clip2", "clip3"]
    assert clips.names[2] == "1/clip2.png" and clips.fps == 12
    for number, frames in enumerate(LENGTHS):
        clip = clips.clip(number)
        assert clip.shape == (frames, 8, 8, 3) and (clip[..., 0] == number).all()
        assert np.array_equal(clip[:, 0, 0, 1], np.arange(frames))


def test_windows_stay_inside_their_clip(packed: Path) -> None:
    clips = Pack(packed)
    assert clips.window(1, 2, 4, 2)[:, 0, 0, :2].tolist() == [[1, 2], [1, 4], [1, 6], [1, 8]]
    assert len(clips.window(0, 4, 1, 9)) == 1
    for start, length, stride in ((3, 4, 2), (-1, 2, 1), (0, 0, 1), (0, 2, 0), (5, 1, 1)):
        with pytest.raises(VidgenError, match="clip0.png"):
            clips.window(0, start, length, stride)


def test_sample_draws_whole_windows_of_all_clips(packed: Path) -> None:
    clips = Pack(packed)
    video, labels = clips.sample(np.random.default_rng(0), 400, 3, stride=2)
    again, _ = clips.sample(np.random.default_rng(0), 400, 3, stride=2)
    number, first = video[:, 0, 0, 0, 0], video[:, 0, 0, 0, 1]
    assert np.array_equal(video, again) and np.array_equal(labels, number // 2)
    assert (np.diff(video[:, :, 0, 0, 1].astype(int)) == 2).all()
    assert np.bincount(number, minlength=4).min() > 60
    for index, length in enumerate(LENGTHS):
        assert set(first[number == index]) == set(range(length - 4))
    with pytest.raises(VidgenError, match="clip0.png: 5 frames, too short for 6 frames"):
        clips.sample(np.random.default_rng(0), 2, 6)


def test_splits_share_nothing(packed: Path) -> None:
    train, test, whole = (Pack(packed, split) for split in ("train", "test", "all"))
    assert sorted(train.content_ids + test.content_ids) == sorted(whole.content_ids)
    assert len(test) >= 1
    for index, name in enumerate(test.content_ids):
        assert f"clip{test.clip(index)[0, 0, 0, 0]}" == name


def test_the_same_pack_is_used_again(strips: Path, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = ClipFolder.read
    monkeypatch.setattr(ClipFolder, "read", lambda self, index: reads.append(index) or read(self, index))
    before = packed.stat().st_mtime_ns
    pack(open_clips(strips, size=8), packed)
    assert reads == [] and packed.stat().st_mtime_ns == before
    pack(open_clips(strips, size=8, names=["a", "b"]), packed)
    assert len(reads) == 4 and Pack(packed).categories == ["a", "b"]
    Image.new("RGB", (40, 8), "red").save(strips / "0" / "clip0.png")
    pack(open_clips(strips, size=8, names=["a", "b"]), packed)
    assert len(reads) == 8 and (Pack(packed).clip(0)[..., 0] == 255).all()


def test_a_damaged_pack_is_refused_and_made_again(strips: Path, packed: Path, tmp_path: Path) -> None:
    data = packed.read_bytes()
    for part in (data[:-1], data[: len(data) // 2], data[:4096], data[:10], data + b"x"):
        packed.write_bytes(part)
        with pytest.raises(VidgenError, match="clips.pack is damaged"):
            Pack(packed)
    pack(open_clips(strips, size=8), packed)
    assert packed.read_bytes() == data
    (tmp_path / "poem.txt").write_text("roses")
    with pytest.raises(VidgenError, match="is no pack"):
        Pack(tmp_path / "poem.txt")
    with pytest.raises(VidgenError, match="exists and is no pack"):
        pack(open_clips(strips, size=8), tmp_path / "poem.txt")
    with pytest.raises(VidgenError, match="does not exist"):
        Pack(tmp_path / "nothing.pack")


def test_a_broken_clip_leaves_nothing_or_is_skipped(strips: Path, tmp_path: Path) -> None:
    (strips / "1" / "clip3.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 40)
    clips, out = open_clips(strips, size=8), tmp_path / "out" / "clips.pack"
    out.parent.mkdir()
    with pytest.raises(VidgenError, match="clip3.png"):
        pack(clips, out)
    assert list(out.parent.iterdir()) == []
    for _ in range(2):  # told again when the pack is used again
        skipped = pack(clips, out, skip_broken=True)
        assert len(skipped) == 1 and "clip3.png" in skipped[0]
    assert len(Pack(out)) == 3
    with pytest.raises(VidgenError, match="None of the 4 clips"):
        pack(open_clips(strips, size=8, min_frames=50), tmp_path / "none.pack", skip_broken=True)


def test_batches_do_not_wait(packed: Path) -> None:
    assert batches_per_second(Pack(packed), n=32, length=5, seconds=0.05) > 20


def test_the_command_packs_and_reports(
    strips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made.pack"
    options = [str(strips), "--out", str(out), "--size", "8", "--min-frames", "5"]
    assert (
        prepare.main([*options, "--names", "wave, bend", "--group", "every:2", "--tests", "1", "--fps", "25"])
        == 0
    )
    assert "4 clips (2 for testing, 0 left out) of 5 to 12 frames at 8 px" in capsys.readouterr().out
    assert Pack(out, "test").content_ids == ["1", "1"] and Pack(out).fps == 25
    assert Pack(out).categories == ["wave", "bend"]


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--min-frames", "60"], "clip0.png has 5 frames, but 60 are needed"),
        (["--names", "a"], "2 class folders, but 1 names"),
        (["--tests", "9"], "No clip has the content '9'"),
        (["--group", "every:2", "--size", "0"], "size is 0"),
        (["--out", "/nowhere/at/all.pack"], "no folder /nowhere"),
    ],
)
def test_the_command_tells_a_mistake_in_one_sentence(
    strips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], sentence: str
) -> None:
    assert (
        prepare.main(
            [str(strips), "--out", str(tmp_path / "no.pack"), "--size", "8", "--min-frames", "5", *extra]
        )
        == 2
    )
    told = capsys.readouterr().err
    assert sentence in told and told.count("\n") == 1
    assert not (tmp_path / "no.pack").exists()


def test_the_command_leaves_out_what_is_too_short(
    strips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [str(strips), "--out", str(tmp_path / "a.pack"), "--size", "8", "--min-frames", "6"]
    for _ in range(2):  # told again when the pack is there
        assert prepare.main(options) == 0
        captured = capsys.readouterr()
        assert "left out: " in captured.err and "clip0.png has 5 frames" in captured.err
        assert "3 clips" in captured.out
