"""Retargeting: each frame translated, its time and the sound kept, nothing left behind when it is stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import Inverter, ground, packets_of, person, place, talking, times_of, turn, write_film

from vidgen.errors import VidgenError
from vidgen.faces import Box, FaceFinder, crop, framed, overlap
from vidgen.retarget import (
    BATCH,
    Cancelled,
    LiveRetarget,
    RetargetOptions,
    preview_crop,
    read_crop,
    retarget,
)
from vidgen.video_io import read_clip, write_clip

MIDDLE = Box(80, 40, 160)  # where `talking` puts the face's crop


def run(source: Path, target: str = "out.mp4", translator: Inverter | None = None, **options: object):
    """Retarget a film to a neighbour of it: the report and the frames written."""
    path = source.with_name(target)
    report = retarget(translator or Inverter(), source, path, RetargetOptions(**options))
    return report, read_clip(path).frames


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_film(tmp_path / "film.mp4", talking(20), sound="aac")


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_every_frame_is_cropped_and_translated(film: Path) -> None:
    report, frames = run(film)
    assert frames.shape == (20, 64, 64, 3)
    assert report.frames == 20
    assert report.fps == 25
    assert report.seconds == pytest.approx(0.8)
    assert report.misses == 0
    assert report.frames_per_second > 0
    _, faces = preview_crop(film)
    wanted = np.stack([255 - crop(frame, faces[0], 64) for frame in talking(20)])
    assert difference(frames, wanted) < 8


def test_the_preview_shows_the_crops(film: Path) -> None:
    frame, boxes = preview_crop(film)
    assert frame.shape == (240, 320, 3)
    assert len(boxes) == 1
    assert overlap(boxes[0], MIDDLE) > 0.7
    assert difference(frame, talking(1)[0]) < 8


@pytest.mark.parametrize("rate", [12.5, 23.976, 29.97, 60])
def test_the_rate_is_kept(tmp_path: Path, rate: float) -> None:
    source = write_film(tmp_path / "film.mp4", talking(15), rate=rate)
    report, _ = run(source)
    assert report.fps == pytest.approx(rate, rel=0.01)
    assert times_of(tmp_path / "out.mp4") == pytest.approx(times_of(source), abs=1e-3)


@pytest.mark.parametrize(("source", "target"), [("a.mp4", "b.mp4"), ("a.webm", "b.mp4"), ("a.mkv", "b.webm")])
def test_uneven_times_are_kept(tmp_path: Path, source: str, target: str) -> None:
    times = np.cumsum([0, 0.04, 0.2, 0.033, 0.5, 0.04, 0.01, 0.3, 0.04, 0.04, 0.9, 0.04]).tolist()
    path = write_film(tmp_path / source, talking(12), times=times)
    report, _ = run(path, target)
    assert times_of(tmp_path / target) == pytest.approx(times, abs=2e-3)
    assert report.fps == pytest.approx(11 / times[-1], rel=0.1)
    assert read_clip(tmp_path / target).fps == pytest.approx(report.fps, rel=0.1)


@pytest.mark.parametrize(
    ("source", "codec", "target", "copied"),
    [
        ("a.mp4", "aac", "b.mp4", True),
        ("a.mov", "pcm_s16le", "b.mp4", False),
        ("a.avi", "mp3", "b.mp4", True),
        ("a.webm", "libopus", "b.mp4", False),
        ("a.webm", "libopus", "b.webm", True),
        ("a.mp4", "aac", "b.webm", False),
        ("a.mkv", "flac", "b.mp4", False),
    ],
)
def test_the_sound_is_kept(tmp_path: Path, source: str, codec: str, target: str, copied: bool) -> None:
    picture = "mpeg4" if source.endswith("avi") else None
    path = write_film(tmp_path / source, talking(25), codec=picture, sound=codec, sound_seconds=1.2)
    report, frames = run(path, target)
    assert report.sound
    assert len(frames) == 25
    if copied:
        assert packets_of(tmp_path / target) == packets_of(path)
    with av.open(str(tmp_path / target)) as container:
        pieces = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    samples = np.concatenate([piece.reshape(-1) for piece in pieces]).astype(np.float64)
    assert len(samples) / rate == pytest.approx(1.2, abs=0.1)
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * rate / len(samples) == pytest.approx(440, abs=3)


def test_sound_and_picture_stay_together(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mkv", talking(25), times=[0.6 + i / 25 for i in range(25)], sound="aac")
    run(source)
    assert times_of(tmp_path / "out.mp4")[0] == pytest.approx(0.6, abs=0.03)
    assert times_of(tmp_path / "out.mp4", "audio")[0] == pytest.approx(0, abs=0.03)


def test_a_film_without_sound_stays_silent(tmp_path: Path) -> None:
    report, _ = run(write_film(tmp_path / "a.mp4", talking(5)))
    assert not report.sound
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


def test_the_file_says_that_it_is_synthetic(film: Path) -> None:
    for target in ("out.mp4", "out.webm"):
        run(film, target)
        with av.open(str(film.with_name(target))) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
        assert "Synthetic" in tags["title"]


def test_a_turned_film_is_read_upright(tmp_path: Path) -> None:
    stored = np.ascontiguousarray(np.rot90(talking(10), 1, axes=(1, 2)))
    turned = turn(write_film(tmp_path / "phone.mp4", stored), 1)
    frame, boxes = preview_crop(turned)
    assert frame.shape == (240, 320, 3)
    assert overlap(boxes[0], MIDDLE) > 0.7
    _, frames = run(turned)
    _, upright = run(write_film(tmp_path / "film.mp4", talking(10)), "other.mp4")
    assert difference(frames, upright) < 4


@pytest.mark.parametrize("name", ["tv.mp4", "tv.mkv", "tv.avi"])
def test_pixels_that_are_not_square_are_made_so(tmp_path: Path, name: str) -> None:
    narrow = np.ascontiguousarray(talking(5)[:, :, ::2])
    codec = "mpeg4" if name.endswith("avi") else None
    source = write_film(tmp_path / name, narrow, codec=codec, aspect=Fraction(2))
    frame, boxes = preview_crop(source)
    assert frame.shape == (240, 320, 3)
    assert overlap(boxes[0], MIDDLE) > 0.7
    _, frames = run(source)
    assert difference(frames[0], 255 - crop(talking(1)[0], boxes[0], 64)) < 12


def test_the_crop_may_be_given(film: Path) -> None:
    _, frames = run(film, crop=Box(10, 20, 100))
    assert difference(frames[3], 255 - crop(talking(4)[3], Box(10, 20, 100), 64)) < 5
    _, frames = run(film, crop="none")
    assert difference(frames[3], 255 - crop(talking(4)[3], Box(40, 0, 240), 64)) < 5


def test_a_large_film_is_scaled_down_and_its_boxes_too(tmp_path: Path) -> None:
    frames = talking(3, 2160, 3840, 1400)
    source = write_film(tmp_path / "4k.mp4", frames)
    _, boxes = preview_crop(source)
    assert overlap(boxes[0], Box(1220, 380, 1400)) > 0.6
    _, shown = run(source, crop=Box(1220, 380, 1400))
    assert difference(shown[0], 255 - crop(frames[0], Box(1220, 380, 1400), 64)) < 5
    report, shown = run(source, paste_back=True)
    assert shown.shape == (3, 1080, 1920, 3)
    assert report.misses == 0


def test_the_second_face_can_be_chosen(tmp_path: Path) -> None:
    one, two = person("speaker-c"), person("speaker-g")
    frames = [place(place(ground(), one[i], 0, 60, 120), two[i], 150, 40, 160) for i in range(20)]
    source = write_film(tmp_path / "two.mp4", frames)
    _, boxes = preview_crop(source, face=1)
    assert [box.x > 130 for box in boxes] == [True, False]
    _, first = run(source, "first.mp4")
    _, second = run(source, "second.mp4", face=1)
    assert difference(first[0], 255 - crop(frames[0], boxes[0], 64)) < 8
    assert difference(second[0], 255 - crop(frames[0], boxes[1], 64)) < 8
    with pytest.raises(VidgenError, match="shows 2 faces"):
        run(source, face=2)
    with pytest.raises(VidgenError, match="shows 2 faces"):
        preview_crop(source, face=2)


def test_a_face_that_leaves_and_comes_back_is_followed(tmp_path: Path) -> None:
    here, empty = talking(20), np.repeat(ground()[None], 30, axis=0)
    back = np.stack([place(ground(), person()[i], 150, 60, 150) for i in range(30)])
    source = write_film(tmp_path / "gone.mp4", np.concatenate([empty[:10], here, empty, back]))
    report, frames = run(source)
    assert report.frames == 90
    assert 40 <= report.misses <= 50
    _, boxes = preview_crop(source)
    assert difference(frames[12], 255 - crop(here[2], boxes[0], 64)) < 8
    face = FaceFinder().find(back[-1])[0]
    assert difference(frames[-1], 255 - crop(back[-1], framed(face), 64)) < 25


def test_the_predictor_is_blended_in(film: Path) -> None:
    translator = Inverter()
    run(film, translator=translator)
    assert "predict" not in translator.calls
    assert translator.calls == ["translate 8", "translate 8", "translate 4"]
    _, plain = run(film)
    _, held = run(film, blend=1.0)  # the predictor repeats the last frame, so the second one stays
    assert difference(held[19], plain[1]) < 2
    _, half = run(film, blend=0.5)
    assert difference(half[2], (plain[1] + plain[2].astype(int)) / 2) < 2


def test_panels_stand_side_by_side(film: Path) -> None:
    translator = Inverter()
    _, frames = run(film, translator=translator, panels=("source", "result", "cycle", "residual"))
    assert frames.shape == (20, 64, 256, 3)
    source, result, cycle, residual = (frames[:, :, side : side + 64] for side in range(0, 256, 64))
    assert difference(source, 255 - result) < 8
    assert difference(source, cycle) < 8
    assert residual[:2].max() < 12
    assert residual[2:].max() > 40
    _, swapped = run(film, panels=("result", "source"))
    assert difference(swapped[:, :, :64], result) < 4


def test_a_one_way_model_has_no_cycle(film: Path) -> None:
    with pytest.raises(VidgenError, match="one way only"):
        run(film, translator=Inverter(reversible=False), panels=("cycle",))
    report, _ = run(film, translator=Inverter(reversible=False))
    assert report.frames == 20


@pytest.mark.parametrize("options", [{}, {"panels": ("source", "residual", "cycle")}, {"paste_back": True}])
def test_the_predictor_goes_on_beyond_the_end(film: Path, options: dict) -> None:
    report, frames = run(film, continue_frames=7, **options)
    assert report.frames == len(frames) == 27
    assert report.seconds == pytest.approx(27 / 25)
    assert times_of(film.with_name("out.mp4"))[-1] == pytest.approx(26 / 25, abs=1e-3)
    assert difference(frames[-1][:, :64], frames[19][:, :64]) < 3


def test_a_single_frame_can_be_continued(tmp_path: Path) -> None:
    report, frames = run(write_film(tmp_path / "one.mp4", talking(1)), continue_frames=3)
    assert report.frames == len(frames) == 4


def test_pasting_back_changes_the_face_only(film: Path) -> None:
    _, frames = run(film, paste_back=True)
    assert frames.shape == (20, 240, 320, 3)
    assert difference(frames[:, :, :60], talking(20)[:, :, :60]) < 5
    middle = frames[:, 80:160, 120:200]
    assert difference(middle, 255 - talking(20)[:, 80:160, 120:200]) < 12


def test_progress_goes_up_to_the_end(film: Path) -> None:
    told: list[tuple[int, int | None]] = []
    retarget(Inverter(), film, film.with_name("out.mp4"), progress=lambda *step: told.append(step))
    assert [done for done, _ in told] == [8, 16, 20]
    assert {total for _, total in told} == {20}


@pytest.mark.parametrize("after", [0, 1, 5, 13, 22])
def test_a_cancelled_run_leaves_nothing(film: Path, after: int) -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > after

    with pytest.raises(Cancelled, match="nothing was written"):
        retarget(Inverter(), film, film.with_name("out.mp4"), cancelled=cancelled)
    assert len(asked) == after + 1
    assert os.listdir(film.parent) == ["film.mp4"]
    assert run(film)[0].frames == 20


def test_a_fault_of_the_model_leaves_nothing(film: Path) -> None:
    class Broken(Inverter):
        def translate(self, frames: np.ndarray) -> np.ndarray:
            if len(self.calls) == 1:
                raise ZeroDivisionError
            return super().translate(frames)

    with pytest.raises(ZeroDivisionError):
        run(film, translator=Broken())
    assert os.listdir(film.parent) == ["film.mp4"]


def test_other_kinds_of_clips_are_taken(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.gif", talking(BATCH + 1), 10)
    report, frames = run(tmp_path / "a.gif")
    assert len(frames) == BATCH + 1
    assert report.fps == pytest.approx(10)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"crop": "face"}, "must be auto, none or a box"),
        ({"crop": Box(0, 0, float("nan"))}, "finite"),
        ({"crop": Box(0, float("inf"), 9)}, "finite"),
        ({"crop": Box(0, 0, 2)}, "one of 8 to"),
        ({"crop": Box(0, 0, 1e6)}, "one of 8 to"),
        ({"face": -1}, "no face 0"),
        ({"blend": 1.1}, "between 0 and 1"),
        ({"blend": float("nan")}, "between 0 and 1"),
        ({"panels": ()}, "panels must be"),
        ({"panels": ("result", "heat")}, "heat"),
        ({"paste_back": True, "panels": ("source", "result")}, "leave the panels"),
        ({"continue_frames": -1}, "must be 0 to"),
        ({"continue_frames": 10**6}, "must be 0 to"),
        ({"max_seconds": 0.0}, "more than 0"),
        ({"max_seconds": float("nan")}, "more than 0"),
    ],
)
def test_wrong_options_are_named(options: dict, match: str) -> None:
    with pytest.raises(VidgenError, match=match):
        RetargetOptions(**options)


def test_a_crop_is_read_from_words() -> None:
    assert read_crop("auto") == "auto"
    assert read_crop("none") == "none"
    assert read_crop("10, 20,100,100") == Box(10, 20, 100)
    assert read_crop("10,20,100,60") == Box(10, 0, 100)
    for wrong in ("", "face", "1,2,3", "1,2,x,4", "1,2,3,nan", "1,2,0,0"):
        with pytest.raises(VidgenError):
            RetargetOptions(crop=read_crop(wrong))


def test_a_box_beyond_the_picture_is_named(film: Path) -> None:
    for box in (Box(400, 10, 50), Box(10, -80, 50)):
        with pytest.raises(VidgenError, match="outside of the picture: it is 320 x 240"):
            run(film, crop=box)
    assert os.listdir(film.parent) == ["film.mp4"]


def test_bad_targets_are_named(film: Path) -> None:
    for target, match in (("out.gif", "must end in .mp4 or .webm"), ("film.mp4", "is the source itself")):
        with pytest.raises(VidgenError, match=match):
            run(film, target)
    with pytest.raises(VidgenError, match="no folder"):
        retarget(Inverter(), film, film.parent / "none" / "out.mp4")
    assert len(read_clip(film).frames) == 20


def test_a_webcam_is_followed() -> None:
    live = LiveRetarget(Inverter())
    assert live.step(ground()) == (None, None)
    assert live.fps == 0
    shown = [live.step(frame) for frame in talking(20)]
    result, box = shown[-1]
    assert overlap(box, MIDDLE) > 0.7
    assert difference(result, 255 - crop(talking(20)[-1], box, 64)) == 0
    assert live.fps > 0


def test_a_webcam_may_show_everything_and_blend() -> None:
    live = LiveRetarget(Inverter(), blend=1.0, crop="none")
    results = [live.step(np.full((48, 64, 3), 10 * index, np.uint8))[0] for index in range(6)]
    assert [int(result[0, 0, 0]) for result in results] == [255, 245, 245, 245, 245, 245]
    with pytest.raises(VidgenError):
        LiveRetarget(Inverter(), crop="all")


PEAK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from films import Inverter, peak_memory
from vidgen.retarget import retarget
retarget(Inverter(), Path(sys.argv[1]), Path(sys.argv[2]))
print(peak_memory())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the system's count of memory")
def test_a_long_film_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    peaks = []
    for count in (50, 1000):
        film = write_film(tmp_path / f"{count}.mp4", talking(count, 120, 160, 90), sound="aac")
        command = [
            sys.executable,
            "-c",
            PEAK,
            str(film),
            str(tmp_path / "out.mp4"),
            str(Path(__file__).parent),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.1 * peaks[0], peaks


def test_a_short_film_is_searched_frame_by_frame(tmp_path: Path) -> None:
    film = np.concatenate([np.repeat(ground()[None], 2, axis=0), talking(2)])
    report, _ = run(write_film(tmp_path / "short.mp4", film))
    assert report.frames == 4
    assert report.misses == 4
