"""Retargeting for visitors without a browser: what requests may say, jobs, uploads, the endpoint."""

from __future__ import annotations

import base64
import io
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from fake_session import SIZE, FakeSession
from gradio_client import Client, handle_file
from PIL import Image

import app
from vidgen import retarget, web, web_retarget
from vidgen.catalogue import WEIGHTS
from vidgen.errors import VidgenError
from vidgen.video_io import read_clip, write_clip
from vidgen.web_retarget import Done, Shelf, Studio

CLIP = WEIGHTS / "examples" / "expressions.mp4"
PLAIN = {"crop": "auto", "face": 1, "blend": 0.0, "paste_back": False, "panels": ["result"]}
PLAIN |= {"continue_frames": 0}


@pytest.fixture
def studio() -> Studio:
    return Studio(web.Service(FakeSession()))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a film of a face that is no example."""
    path = tmp_path_factory.mktemp("clips") / "me.mp4"
    write_clip(path, read_clip(CLIP, max_frames=20).frames, 25)
    return path


def jpeg(frame: np.ndarray, kind: str = "JPEG") -> str:
    """Encode a frame as a page does."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, kind)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


# ---- choices


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"face": math.nan}, "face"),
        ({"face": None}, "face"),
        ({"face": 0}, "no face 0"),
        ({"blend": "1"}, "blend"),
        ({"blend": 2}, "blend"),
        ({"continue_frames": -1}, "continue"),
        ({"continue_frames": math.inf}, "continue"),
        ({"crop": None}, "crop"),
        ({"crop": "1,2,3"}, "x,y,w,h"),
        ({"crop": "1,2,inf,3"}, "box"),
        ({"panels": []}, "panels"),
        ({"panels": None}, "panels"),
        ({"panels": ["face"]}, "face"),
        ({"panels": ["source", "result"], "paste_back": True}, "paste_back"),
    ],
    ids=str,
)
def test_a_wrong_choice_is_one_sentence(studio: Studio, change: dict, part: str) -> None:
    with pytest.raises(VidgenError, match=part):
        studio.options(**PLAIN | change)


def test_choices_are_read_and_limited(studio: Studio) -> None:
    given = {"crop": "10,20,40,30", "face": 2, "blend": 1, "continue_frames": 10**6}
    options = studio.options(**PLAIN | given)
    assert options.crop == (10, 15, 40)
    assert (options.face, options.blend, options.continue_frames) == (1, 1.0, web_retarget.MAX_CONTINUE)
    assert options.max_seconds == web_retarget.MAX_SECONDS


def test_only_reversible_characters_show_the_way_back(studio: Studio) -> None:
    assert studio.panels("negative") == ["source", "result", "cycle", "residual"]
    assert "cycle" not in studio.panels("one-way")
    assert "cycle" not in studio.panels("nobody")


# ---- a look at a clip


def test_the_faces_of_a_clip_are_shown(studio: Studio, clip: Path) -> None:
    seen = studio.look(clip)
    assert seen["src"].startswith("data:image/jpeg;base64,")
    assert (seen["width"], seen["height"]) == (128, 128)
    ((x, y, side),) = seen["crops"]
    assert -64 < x < 64 and -64 < y < 64 and 64 < side < 256


def test_a_mistake_names_the_file_and_not_its_place(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no clip")
    jobs = (studio.look, lambda path: list(studio.run(path, "negative", options(studio), app.cache_folder)))
    for work in jobs:
        with pytest.raises(VidgenError, match=r"bad\.mp4") as told:
            work(tmp_path / "bad.mp4")
        assert str(tmp_path) not in str(told.value)


def options(studio: Studio) -> retarget.RetargetOptions:
    return studio.options(**PLAIN)


# ---- jobs


def test_a_job_tells_its_progress_and_its_result(studio: Studio, clip: Path, tmp_path: Path) -> None:
    @contextmanager
    def folder() -> Iterator[Path]:
        yield tmp_path

    *steps, done = studio.run(clip, "negative", options(studio), folder)
    assert steps and all(0 < step[0] <= 20 for step in steps)
    assert isinstance(done, Done)
    assert done.path == tmp_path / "synthetic-negative.mp4"
    assert done.report.frames == 20
    assert read_clip(done.path).frames.shape == (20, SIZE, SIZE, 3)


def test_a_job_that_is_left_stops_and_its_folder_goes(studio: Studio, clip: Path, tmp_path: Path) -> None:
    studio.session.pause = 0.02
    stopped = threading.Event()

    @contextmanager
    def folder() -> Iterator[Path]:
        try:
            yield tmp_path
        except retarget.Cancelled:
            stopped.set()
            raise

    steps = studio.run(clip, "negative", options(studio), folder)
    next(steps)
    steps.close()
    assert stopped.wait(10)
    assert not list(tmp_path.iterdir())
    assert studio.service.turn.acquire(timeout=5), "the turn is free again"


def test_an_unknown_character_is_told(studio: Studio, clip: Path) -> None:
    for name in ("nobody", "../negative", "mocogan-sprites"):
        with pytest.raises(VidgenError, match="known: negative, one-way"):
            studio.run(clip, name, options(studio), app.cache_folder)


def test_a_fault_of_the_work_is_raised_where_it_is_read() -> None:
    def work(*_: object) -> Done:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        list(web_retarget.followed(work))


def test_previews_of_others_come_between_the_batches(studio: Studio, clip: Path, tmp_path: Path) -> None:
    @contextmanager
    def folder() -> Iterator[Path]:
        yield tmp_path

    studio.session.pause = 0.03
    steps = studio.run(clip, "negative", options(studio), folder)
    next(steps)
    begin = time.monotonic()
    assert "src" in studio.service.preview({"recipes": [{}]}, "another")
    assert time.monotonic() - begin < studio.service.limits.patience
    list(steps)


# ---- uploads


def test_a_shelf_deletes_what_no_page_shows(tmp_path: Path) -> None:
    shelf = Shelf()
    one, two = (tmp_path / name for name in ("one", "two"))
    for path in (one, two):
        path.write_text("x")
    shelf.hold("a", str(one))
    shelf.hold("b", str(one))
    shelf.hold("a", str(one))
    shelf.hold("a", str(two))
    assert one.exists(), "another page shows it"
    shelf.hold("b", None)
    assert not one.exists()
    two.unlink()
    shelf.hold("a", None)
    shelf.hold("c", None)


# ---- the camera

FRAME = read_clip(CLIP, max_frames=1).frames[0]
SHOT = {"camera": "1", "model": "negative", "blend": 0, "frame": jpeg(FRAME), "consent": True}


def test_a_camera_frame_is_drawn(studio: Studio) -> None:
    answer = studio.live(SHOT, "me")
    assert len(answer["box"]) == 3
    picture = Image.open(io.BytesIO(base64.b64decode(answer["src"].partition(",")[2])))
    assert picture.size == (SIZE, SIZE)
    empty = studio.live(SHOT | {"camera": "2", "frame": jpeg(np.full((90, 120, 3), 99, np.uint8))}, "me")
    assert empty == {"src": None, "box": None}


@pytest.mark.parametrize(
    ("request_", "part"),
    [
        (None, "fields"),
        ([SHOT], "fields"),
        ({**SHOT, "more": 1}, "fields"),
        (SHOT | {"consent": False}, "consent"),
        (SHOT | {"consent": "yes"}, "consent"),
        (SHOT | {"model": "nobody"}, "nobody"),
        (SHOT | {"model": ["negative"]}, "no character"),
        (SHOT | {"blend": math.nan}, "blend"),
        (SHOT | {"blend": 9}, "blend"),
        (SHOT | {"frame": None}, "JPEG"),
        (SHOT | {"frame": "data:image/jpeg;base64,????"}, "JPEG"),
        (SHOT | {"frame": jpeg(FRAME, "PNG")}, "JPEG"),
        (SHOT | {"frame": jpeg(FRAME)[:300]}, "JPEG"),
        (SHOT | {"frame": "http://example.org/a.jpg"}, "JPEG"),
        (SHOT | {"frame": jpeg(np.zeros((900, 900, 3), np.uint8))}, "too large"),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_a_bad_camera_request_is_one_sentence(studio: Studio, request_: Any, part: str) -> None:
    answer = studio.live(request_, "me")
    assert set(answer) == {"error"}
    assert part in answer["error"] and "\n" not in answer["error"]
    assert "src" in studio.live(SHOT, "me"), "the next works"


def test_cameras_are_limited_and_paid_for() -> None:
    limits = web.Limits(burst=web_retarget.LIVE_COST * 3, per_second=0.001)
    studio = Studio(web.Service(FakeSession(), limits))
    answers = [studio.live(SHOT, "me") for _ in range(4)]
    assert ["src" in answer for answer in answers] == [True, True, True, False]
    assert answers[3]["busy"]
    for number in range(20):
        studio.live(SHOT | {"camera": str(number)}, f"visitor {number}")
    assert len(studio._cameras) == web_retarget.CAMERAS


# ---- the endpoint


@pytest.fixture(scope="module")
def blocks() -> Iterator[gr.Blocks]:
    blocks = app.build_app(FakeSession())
    app.serve(blocks)
    yield blocks
    blocks.close(verbose=False)


@pytest.fixture(scope="module")
def remote(blocks: gr.Blocks) -> Client:
    return Client(blocks.local_url, verbose=False)


def ask(remote: Client, video: Any, **more: Any) -> tuple:
    """Call the endpoint for the plain result."""
    given = {"model": "negative", "panels": ["result"], "consent": True}
    film, report = remote.predict(video=video, **given | more, api_name="/retarget")
    return film if isinstance(film, str) else film["video"], report


def uploads(blocks: gr.Blocks) -> list[str]:
    return [path for path in blocks.upload_file_set if Path(path).exists() and path.endswith("me.mp4")]


def test_the_endpoint_gives_a_film_and_deletes_the_upload(
    blocks: gr.Blocks, remote: Client, clip: Path
) -> None:
    film, report = ask(remote, handle_file(clip), crop="0,0,100,100", continue_frames=3)
    assert read_clip(film).frames.shape == (23, SIZE, SIZE, 3)
    assert report["frames"] == 23
    assert not uploads(blocks)


def test_characters_are_listed(remote: Client) -> None:
    listed = remote.predict(api_name="/translators")
    assert [one["name"] for one in listed] == ["negative", "one-way"]
    assert "cycle" in listed[0]["panels"] and "cycle" not in listed[1]["panels"]
    models = [one["name"] for one in remote.predict(api_name="/models")]
    assert not set(models) & {"negative", "one-way"}


def file_data(path: str, **more: Any) -> dict:
    return {"path": path, "meta": {"_type": "gradio.FileData"}} | more


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"consent": False}, "consent"),
        ({"crop": "face"}, "x,y,w,h"),
        ({"crop": "none", "panels": ["face"]}, "panels must be"),
        ({"panels": "face"}, "panels must be"),
        ({"model": "nobody"}, "nobody"),
        ({"model": "one-way", "panels": ["cycle"]}, "one way"),
        ({"face": 5}, "no face 5"),
        ({"blend": 3}, "blend is 3"),
        ({"video": None}, "no clip yet"),
        ({"video": file_data("https://example.org/a.mp4")}, "addresses are not accepted"),
        ({"video": file_data("https://example.org/a.mp4", is_stream=True)}, "addresses"),
    ],
    ids=str,
)
def test_a_mistake_is_told_and_the_next_call_works(
    blocks: gr.Blocks, remote: Client, clip: Path, change: dict, sentence: str
) -> None:
    given = {"video": handle_file(clip)} | change
    with pytest.raises(Exception, match=sentence):
        ask(remote, given.pop("video"), **given)
    assert not uploads(blocks), "what was uploaded is gone after a mistake too"
    assert ask(remote, handle_file(clip))[1]["frames"] == 20


def test_a_long_clip_is_refused(
    blocks: gr.Blocks, remote: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "me.mp4", read_clip(CLIP, max_frames=6).frames, 0.09)
    with pytest.raises(Exception, match=r"me\.mp4 is over 60 seconds"):
        ask(remote, handle_file(tmp_path / "me.mp4"))
    assert not uploads(blocks)
    monkeypatch.setattr(web_retarget, "MAX_SECONDS", 600.0)
    assert ask(remote, handle_file(tmp_path / "me.mp4"))[1]["frames"] == 6


def test_examples_are_nobodys_to_delete(remote: Client) -> None:
    for _ in range(2):
        assert ask(remote, handle_file(CLIP), consent=False)[1]["frames"] == len(read_clip(CLIP).frames)
