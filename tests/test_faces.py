"""Faces: found where they are, followed calmly, cut out and put back in the right place."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import EXAMPLES, ground, person, place

from train import framing
from vidgen.faces import (
    EVERY,
    FACE_CENTRE,
    FACE_SHARE,
    PATIENCE,
    Box,
    FaceFinder,
    FaceTracker,
    centre_square,
    crop,
    framed,
    overlap,
    paste,
)

FRAME = np.zeros((240, 320, 3), np.uint8)


class Script:
    """A finder that tells what it is given, one list of boxes for each search, the last one for ever."""

    def __init__(self, *searches: list[Box]) -> None:
        self.searches, self.count = list(searches), 0

    def find(self, _frame: np.ndarray) -> list[Box]:
        self.count += 1
        return list(self.searches[min(self.count, len(self.searches)) - 1])


def steps(tracker: FaceTracker, searches: int) -> list[Box | None]:
    """Let a tracker go so many searches on."""
    return [tracker.step(FRAME) for _ in range(searches * EVERY)]


def noise(height: int = 60, width: int = 80) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["expressions", "speaker-c", "speaker-g"])
@pytest.mark.parametrize(("x", "y", "side"), [(30, 40, 160), (180, 100, 130), (500, 300, 700)])
def test_a_face_is_found_where_it_is(name: str, x: int, y: int, side: int) -> None:
    frame = place(ground(*(240, 320) if side < 200 else (1080, 1920)), person(name)[0], x, y, side)
    face = FaceFinder().find(frame)[0]
    wanted = Box(x + side * 0.2, y + side * 0.2, side * 0.61)
    assert overlap(face, wanted) > 0.5
    assert overlap(framed(face), Box(x, y, side)) > 0.6


@pytest.mark.parametrize("degrees", [-15, 0, 15])
def test_a_tilted_head_is_found(degrees: float) -> None:
    turned = cv2.getRotationMatrix2D((160, 120), degrees, 1)
    frames = [place(ground(), frame, 80, 40, 160) for frame in person()[::15]]
    tilted = [cv2.warpAffine(frame, turned, (320, 240), borderMode=cv2.BORDER_REPLICATE) for frame in frames]
    finder = FaceFinder()
    assert sum(len(finder.find(frame)) == 1 for frame in tilted) >= 0.8 * len(tilted)


def test_the_largest_face_comes_first() -> None:
    frame = place(place(ground(), person("speaker-c")[0], 5, 20, 110), person("speaker-g")[0], 140, 30, 170)
    faces = FaceFinder().find(frame)
    assert len(faces) == 2
    assert faces[0].side > faces[1].side
    assert faces[0].x > 150 > faces[1].x


def test_no_face_is_found_where_none_is() -> None:
    assert FaceFinder().find(ground()) == []
    assert FaceFinder().find(noise(240, 320)) == []
    assert FaceFinder().find(np.zeros((1, 1, 3), np.uint8)) == []


def test_a_face_is_framed_as_in_training() -> None:
    face = Box(100, 80, 61)
    box = framed(face)
    assert face.side / box.side == pytest.approx(FACE_SHARE)
    assert (face.x + face.side / 2 - box.x) / box.side == pytest.approx(FACE_CENTRE[0])
    assert (face.y + face.side / 2 - box.y) / box.side == pytest.approx(FACE_CENTRE[1])


def test_a_crop_of_its_own_size_is_the_pixels() -> None:
    assert (crop(noise(), Box(10, 20, 32), 32) == noise()[20:52, 10:42]).all()


@pytest.mark.parametrize("times", [2, 3, 7])
def test_a_smaller_crop_is_the_mean_of_the_pixels(times: int) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (16 * times, 16 * times, 3)).astype(np.uint8)
    means = frame.reshape(16, times, 16, times, 3).mean((1, 3))
    small = crop(frame, Box(0, 0, 16 * times), 16)
    assert np.abs(small - means).max() <= 1


def test_a_crop_moves_by_parts_of_a_pixel() -> None:
    frame = np.repeat(np.repeat(np.arange(0, 160, 2, dtype=np.uint8)[None, :, None], 60, 0), 3, 2)
    assert crop(frame, Box(10.5, 8, 20), 20)[5, 5, 0] == frame[0, 15, 0] + 1
    large = crop(frame, Box(10, 8, 20), 40)
    assert large[20, :, 0].mean() == pytest.approx(frame[20, 10:30, 0].mean(), abs=0.6)


def test_the_edge_is_repeated_beyond_the_frame() -> None:
    part = crop(noise(), Box(-16, -16, 32), 32)
    assert (part[16:, 16:] == noise()[:16, :16]).all()
    assert (part[:16, :16] == noise()[0, 0]).all()
    assert (crop(noise(), Box(500, 500, 32), 32) == noise()[-1, -1]).all()


@pytest.mark.parametrize("box", [Box(10, 12, 40), Box(-15, -10, 50), Box(50.5, 30.25, 61.5)])
def test_what_is_cut_out_fits_back(box: Box) -> None:
    frame = cv2.resize(noise(8, 10), (160, 120), interpolation=cv2.INTER_CUBIC)
    back = paste(frame, box, crop(frame, box, 128))
    assert np.abs(back.astype(int) - frame).max() <= 4


def test_a_pasted_face_fills_its_box_softly_and_nothing_else() -> None:
    frame, white = np.zeros((60, 80, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    pasted = paste(frame, Box(20, 10, 40), white)
    assert (frame == 0).all()
    assert (pasted[28:32, 38:42] == 255).all()
    assert 0 < pasted[30, 22, 0] < 255
    outside = np.ones((60, 80), bool)
    outside[10:50, 20:60] = False
    assert (pasted[outside] == 0).all()
    assert (paste(frame, Box(200, 10, 40), white) == 0).all()


def test_the_centre_square_is_the_largest() -> None:
    assert centre_square(60, 80) == Box(10, 0, 60)
    assert centre_square(80, 60) == Box(0, 10, 60)


def test_a_tracker_says_nothing_before_the_first_face() -> None:
    tracker = FaceTracker(Script([], [], [Box(100, 80, 60)]))
    shown = steps(tracker, 3)
    assert shown[: 2 * EVERY] == [None] * (2 * EVERY)
    assert shown[2 * EVERY] == pytest.approx(framed(Box(100, 80, 60)))
    assert not tracker.held


def test_every_fifth_frame_is_searched() -> None:
    script = Script([Box(100, 80, 60)])
    steps(FaceTracker(script), 6)
    assert script.count == 6


def test_a_crop_rests_while_the_face_trembles() -> None:
    generator = np.random.default_rng(0)
    trembling = [[Box(*(np.array((100, 80, 60)) + generator.uniform(-2, 2, 3)))] for _ in range(30)]
    shown = np.array(steps(FaceTracker(Script([Box(100, 80, 60)], *trembling)), 30))
    assert np.ptp(shown, axis=0).max() == 0


def test_a_crop_follows_smoothly() -> None:
    walk = [[Box(60 + 6 * search, 80, 60)] for search in range(20)] + [[Box(174, 80, 60)]] * 10
    shown = np.array(steps(FaceTracker(Script(*walk)), 30))
    assert np.abs(np.diff(shown[:, 0])).max() < 3
    face_in_crop = (174 + 30 - shown[-1, 0]) / shown[-1, 2]
    assert abs(face_in_crop - FACE_CENTRE[0]) < 0.08


def test_a_crop_grows_with_the_face() -> None:
    shown = steps(FaceTracker(Script([Box(100, 80, 60)], [Box(95, 75, 70)], [Box(85, 65, 90)])), 20)
    assert 0.8 < shown[-1].side * FACE_SHARE / 90 <= 1


def test_one_wrong_box_moves_nothing() -> None:
    right, wrong = [Box(100, 80, 60)], [Box(118, 62, 84)]
    shown = np.array(steps(FaceTracker(Script(right, right, right, wrong, right, right)), 12))
    assert np.ptp(shown, axis=0).max() == 0


def test_a_miss_holds_the_crop() -> None:
    tracker = FaceTracker(Script([Box(100, 80, 60)], []))
    shown = steps(tracker, 40)
    assert tracker.held
    assert shown[-1] == pytest.approx(framed(Box(100, 80, 60)))


def test_a_face_that_comes_back_elsewhere_is_taken_up() -> None:
    gone = [[]] * PATIENCE
    shown = steps(FaceTracker(Script([Box(40, 80, 60)], *gone, [Box(200, 90, 60)])), PATIENCE + 2)
    assert shown[PATIENCE * EVERY] == pytest.approx(framed(Box(40, 80, 60)))
    assert shown[-1] == pytest.approx(framed(Box(200, 90, 60)))


def test_the_other_face_is_not_taken() -> None:
    mine, other = Box(40, 80, 60), Box(200, 90, 70)
    searches = [[other, mine]] * 3 + [[other]] * 10 + [[other, Box(110, 20, 60)]]
    tracker = FaceTracker(Script(*searches), start=mine, others=[other])
    shown = steps(tracker, 13)
    assert shown[-1] == pytest.approx(framed(mine))
    assert tracker.held
    assert steps(tracker, 1)[-1] == pytest.approx(framed(Box(110, 20, 60)))


def test_a_face_seen_too_soon_elsewhere_waits() -> None:
    tracker = FaceTracker(Script([Box(40, 80, 60)], [Box(200, 90, 60)], [Box(40, 80, 60)]))
    assert steps(tracker, 3)[-1] == pytest.approx(framed(Box(40, 80, 60)))


def test_the_framing_of_a_folder_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = tmp_path / "people"
    people.mkdir()
    for name in ("expressions", "speaker-c", "speaker-g"):
        shutil.copy(EXAMPLES / f"{name}.mp4", people)
    assert framing.main([str(people), "--every", "30"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "faces in 11 of 11 frames"
    assert [line.split()[0] for line in lines[1:]] == ["side", "centre", "centre"]
    assert float(lines[1].split()[1]) == pytest.approx(FACE_SHARE, abs=0.06)
    (tmp_path / "empty").mkdir()
    assert framing.main([str(tmp_path / "empty")]) == 2
    assert "shows no face" in capsys.readouterr().err
