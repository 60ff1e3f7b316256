"""The Retarget tab in a real headless Chromium with a fake camera, mostly over stand-ins for translators."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from browser import FLAGS, find_browser
from fake_session import SIZE, FakeSession
from test_browser import BACKGROUND, NAMELESS, Visitor, luminance

import app
from vidgen.catalogue import WEIGHTS
from vidgen.faces import Box, paste
from vidgen.video_io import read_clip, write_clip

pytestmark = pytest.mark.browser
EXAMPLES = WEIGHTS / "examples"
READY = "document.querySelector('.vg-crop')?.dataset.state === x"
SHOWN = "document.querySelector('#retargeted video')?.currentTime > 0.1"


def scene(*places: tuple[str, int], frames: int = 50) -> np.ndarray:
    """Put the faces of example clips side by side into a wider picture: uint8 [t, 240, 320, 3]."""
    clip = np.full((frames, 240, 320, 3), 150, np.uint8)
    for name, left in places:
        face = read_clip(EXAMPLES / f"{name}.mp4", max_frames=frames).frames
        for t in range(frames):
            clip[t] = paste(clip[t], Box(left, 40, 150), face[t % len(face)])
    return clip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make films of one face and of two, and one of nobody."""
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "one.mp4", scene(("expressions", 80)), 25)
    write_clip(folder / "two.mp4", scene(("expressions", 5), ("speaker-c", 160)), 25)
    write_clip(folder / "nobody.mp4", scene(frames=12), 12)
    (folder / "broken.mp4").write_bytes(b"no clip at all")
    return folder


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start a browser whose camera shows a face."""
    path = find_browser()
    if path is None:
        assert not os.environ.get("VIDGEN_REQUIRE_BROWSER"), (
            "VIDGEN_REQUIRE_BROWSER is set, but there is no Chromium"
        )
        pytest.skip("no Chromium on this machine: the app is not driven in a browser")
    from playwright.sync_api import sync_playwright

    camera = tmp_path_factory.mktemp("camera") / "face.y4m"
    with camera.open("wb") as file:
        file.write(b"YUV4MPEG2 W320 H240 F25:1 Ip A1:1 C420jpeg\n")
        for frame in scene(("expressions", 80)):
            planes = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p").to_ndarray()
            file.write(b"FRAME\n" + planes.tobytes())
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    flags.append(f"--use-file-for-fake-video-capture={camera}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS + flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture(scope="module")
def blocks(session: FakeSession) -> Iterator[Any]:
    blocks = app.build_app(session)
    app.serve(blocks)
    yield blocks
    blocks.close(verbose=False)


@pytest.fixture(scope="module")
def room(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1280, "height": 1000}, locale="en-US")
    yield context
    context.close()


class Guest(Visitor):
    """A visitor of the Retarget tab."""

    def enter(self, consent: bool = True) -> Guest:
        self.open()
        self.page.get_by_role("tab", name="Retarget").click()
        self.page.locator(".vg-crop").wait_for()
        if consent:
            self.page.locator("#consent input").check()
        return self

    def upload(self, path: Path, state: str = "ready") -> Guest:
        self.page.locator("#source_clip input[type=file]").set_input_files(path)
        self.until(READY, state)
        self.page.wait_for_timeout(200)
        return self

    def run(self) -> Guest:
        self.page.locator("#run_retarget").click()
        return self

    def film(self) -> Path:
        """Wait until the result plays, and give the file on the server."""
        self.until(SHOWN)
        self.until("document.querySelector('.vg-report').textContent !== ''")
        source = self.page.locator("#retargeted video").get_attribute("src")
        return Path(source.partition("file=")[2].partition("?")[0])

    def toast(self, about: str = "") -> str:
        """Wait for a message that has the words `about`, and give its sentence; Gradio may add its own."""
        toast = self.page.locator(".toast-body", has_text=about)
        toast.first.wait_for()
        text = toast.first.inner_text()
        for _ in range(self.page.locator(".toast-body").count()):
            self.page.locator(".toast-close").first.click()
        self.until("!document.querySelector('.toast-body')")
        return text


@pytest.fixture
def guest(room: Any, blocks: Any, session: FakeSession) -> Iterator[Guest]:
    guest = Guest(room, blocks.local_url)
    yield guest
    guest.page.close()
    session.pause = 0.0
    assert not guest.faults


def uploads(blocks: Any) -> list[str]:
    """List the visitors' files that are still there."""
    return [path for path in blocks.upload_file_set if Path(path).exists()]


# ---- a film


def test_an_uploaded_clip_is_retargeted_and_plays(guest: Guest, clips: Path) -> None:
    film = guest.enter().upload(clips / "one.mp4").run().film()
    clip = read_clip(film)
    assert clip.frames.shape == (50, SIZE, 2 * SIZE, 3), "source and result side by side"
    assert clip.fps == 25
    source, result = clip.frames[:, :, :SIZE].astype(int), clip.frames[:, :, SIZE:].astype(int)
    assert np.abs(source + result - 255).mean() < 12, "the stand-in shows the negative"
    assert "synthetic" in film.name
    with av.open(str(film)) as container:
        assert "synthetic" in str(container.metadata).lower()
    report = guest.page.locator(".vg-report").inner_text()
    assert re.match(r"50 frames at 25 per second · no sound · made at \d+ frames per second", report)
    size = guest.page.locator("#retargeted video").evaluate("(one) => [one.videoWidth, one.videoHeight]")
    assert size == [2 * SIZE, SIZE]


def test_an_example_needs_no_consent_and_another_character_can_be_tried(guest: Guest) -> None:
    guest.enter(consent=False)
    guest.page.locator("#examples .gallery-item, #examples button").first.click()
    guest.until(READY, "ready")
    first = guest.run().film()
    guest.page.locator("#character input").click()
    guest.page.get_by_role("option", name="One way").click()
    guest.until("document.querySelectorAll('#panels label').length === 3")
    guest.run()
    guest.until("!document.querySelector('#retargeted video')?.src.includes(x)", str(first))
    assert "one-way" in guest.film().name


def test_panels_come_in_their_order_and_paste_back_has_none(guest: Guest, clips: Path) -> None:
    page = guest.enter().upload(clips / "one.mp4").page
    for name in ("Source", "What the predictor missed", "Translated back", "Source"):
        page.locator("#panels").get_by_text(name).click()
    film = guest.run().film()
    frame = read_clip(film, max_frames=9).frames[8].astype(int)
    assert frame.shape == (SIZE, 4 * SIZE, 3)
    source, result, back, missed = np.split(frame, 4, axis=1)
    assert np.abs(source - back).mean() < 8 < np.abs(source - result).mean()
    assert missed.mean() < 60
    page.locator("#more_choices > button, #more_choices .label-wrap").first.click()
    page.locator("#paste_back input").check()
    guest.until("document.querySelectorAll('#panels input:checked').length === 1")
    guest.run()
    guest.until("!document.querySelector('#retargeted video')?.src.includes(x)", str(film))
    whole = read_clip(guest.film(), max_frames=1).frames[0].astype(int)
    assert whole.shape == (240, 320, 3)
    assert np.abs(whole[:20, :20] - 150).max() < 8, "outside of the face the picture stays"


# ---- what is cut out


def test_faces_are_numbered_and_one_is_chosen(guest: Guest, clips: Path) -> None:
    page = guest.enter().upload(clips / "two.mp4").page
    chips = page.locator(".vg-crop-faces button")
    assert chips.all_inner_texts() == ["Face 1", "Face 2"]
    view = page.locator(".vg-crop-view")
    box = view.bounding_box()
    pressed = "[...document.querySelectorAll('.vg-crop-faces button')].map((one) => one.ariaPressed)"
    seen = []
    for share in (0.25, 0.74):
        view.click(position={"x": box["width"] * share, "y": box["height"] * 0.48})
        seen.append(page.evaluate(pressed))
    assert sorted(seen) == [["false", "true"], ["true", "false"]]
    view.press("1")
    assert page.evaluate(pressed) == ["true", "false"]
    drawn = "document.querySelector('.vg-crop-sees canvas').toDataURL()"
    first = page.evaluate(drawn)
    view.press("2")
    assert page.evaluate(drawn) != first
    one = read_clip(guest.run().film()).frames[5, :, :SIZE].astype(int)
    view.press("1")
    before = page.locator("#retargeted video").get_attribute("src")
    guest.run()
    guest.until(
        "document.querySelector('#retargeted video')?.src.includes('file=') && "
        "!x.endsWith(new URL(document.querySelector('#retargeted video').src).pathname)",
        before,
    )
    other = read_clip(guest.film()).frames[5, :, :SIZE].astype(int)
    assert np.abs(one - other).mean() > 5, "another face"


def test_a_box_is_drawn_moved_and_typed(guest: Guest, clips: Path) -> None:
    page = guest.enter().upload(clips / "one.mp4").page
    box = page.locator(".vg-crop-view").bounding_box()
    scale = box["width"] / 320
    page.mouse.move(box["x"] + 100 * scale, box["y"] + 50 * scale)
    page.mouse.down()
    page.mouse.move(box["x"] + 180 * scale, box["y"] + 110 * scale, steps=4)
    page.mouse.up()
    numbers = page.locator(".vg-crop-numbers input")

    def values() -> list[int]:
        return [int(one.input_value()) for one in numbers.all()]

    assert np.abs(np.array(values()) - [100, 50, 80]).max() <= 2
    page.mouse.move(box["x"] + 120 * scale, box["y"] + 70 * scale)
    page.mouse.down()
    page.mouse.move(box["x"] + 140 * scale, box["y"] + 80 * scale, steps=4)
    page.mouse.up()
    assert np.abs(np.array(values()) - [120, 60, 80]).max() <= 2
    before = values()
    page.locator(".vg-crop-view").press("ArrowLeft")
    page.locator(".vg-crop-view").press("+")
    assert values()[0] < before[0] and values()[2] > before[2]
    for number, value in zip(numbers.all(), (10, 10, 30), strict=True):
        number.fill(str(value))
    assert page.evaluate("vidgen.retarget.take([0, 0, 0, 0, 0, 0, [], 0, 0])")[2] == "10,10,30,30"
    flat = read_clip(guest.run().film()).frames[:, :, :SIZE]
    assert np.abs(flat.astype(int) - 150).max() < 10, "that corner is empty"


def test_no_face_is_a_question_and_the_whole_picture_an_answer(guest: Guest, clips: Path) -> None:
    page = guest.enter().upload(clips / "nobody.mp4").page
    assert "No face was found" in page.locator(".vg-crop .vg-help").inner_text()
    assert page.get_by_role("button", name="Follow a face").is_disabled()
    page.get_by_role("button", name="Whole picture").click()
    assert read_clip(guest.run().film()).frames.shape == (12, SIZE, 2 * SIZE, 3)


# ---- consent, mistakes, cancel


def test_an_upload_is_not_touched_without_consent(guest: Guest, clips: Path) -> None:
    page = guest.enter(consent=False).upload(clips / "one.mp4", "empty").page
    guest.until("document.querySelector('.vg-crop-note').textContent.startsWith('Tick')")
    guest.run()
    assert "consent" in guest.toast()
    assert not page.locator("#retargeted video").count()
    page.locator("#consent input").check()
    guest.until(READY, "ready")


def test_a_bad_upload_is_one_sentence_leaves_nothing_and_the_next_works(
    guest: Guest, blocks: Any, clips: Path
) -> None:
    guest.enter().run()
    assert "no clip yet" in guest.toast()
    guest.page.locator("#source_clip input[type=file]").set_input_files(clips / "broken.mp4")
    told = guest.toast("broken.mp4")
    assert "/" not in told and "Traceback" not in guest.page.content()
    guest.until("!document.querySelector('#source_clip video')")
    assert not [path for path in uploads(blocks) if "broken" in path]
    guest.upload(clips / "one.mp4").run().film()


def test_a_cancelled_film_leaves_nothing_and_the_next_works(
    guest: Guest, session: FakeSession, blocks: Any, clips: Path
) -> None:
    page = guest.enter().upload(clips / "one.mp4").page
    before = set(Path(blocks.GRADIO_CACHE).glob("*/synthetic*"))
    session.pause = 0.1
    guest.run()
    page.locator("#retargeted").get_by_text(re.compile(r"\d+/50|\d+\.\d+s")).first.wait_for()
    page.wait_for_timeout(1500)
    page.locator("#cancel_retarget").click()
    page.wait_for_timeout(2500)
    assert set(Path(blocks.GRADIO_CACHE).glob("*/*synthetic*")) == before
    session.pause = 0.0
    assert guest.run().film().is_file()


def test_what_a_page_shows_is_deleted_when_it_is_replaced_or_left(
    room: Any, blocks: Any, tmp_path: Path
) -> None:
    guest = Guest(room, blocks.local_url).enter()
    write_clip(tmp_path / "mine.mp4", scene(("speaker-g", 60), frames=10), 10)
    write_clip(tmp_path / "next.mp4", scene(("speaker-g", 90), frames=10), 10)
    guest.upload(tmp_path / "mine.mp4")
    assert any(path.endswith("mine.mp4") for path in uploads(blocks))
    guest.page.locator("#source_clip").get_by_label("Clear").click()
    guest.until(READY, "empty")
    assert not any(path.endswith("mine.mp4") for path in uploads(blocks))
    guest.upload(tmp_path / "next.mp4")
    watcher = Guest(room, blocks.local_url)
    guest.page.close()
    for _ in range(100):
        if not any(path.endswith("next.mp4") for path in uploads(blocks)):
            break
        watcher.page.wait_for_timeout(300)
    watcher.page.close()
    assert not any(path.endswith("next.mp4") for path in uploads(blocks))


# ---- the camera


def test_a_recording_of_the_camera_is_retargeted(guest: Guest) -> None:
    page = guest.enter().page
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    record = page.locator("#source_clip .capture-button")
    record.click()
    page.wait_for_timeout(2500)
    record.click()
    guest.until(READY, "ready")
    film = guest.run().film()
    clip = read_clip(film)
    assert clip.frames.shape[1:] == (SIZE, 2 * SIZE, 3)
    assert 1 < len(clip.frames) / clip.fps < 6


def test_the_live_camera_is_drawn_and_its_speed_is_shown(guest: Guest) -> None:
    page = guest.enter(consent=False).page
    page.locator("#live_card > button, #live_card .label-wrap").first.click()
    toggle = page.locator(".vg-live-toggle")
    toggle.click()
    assert "Tick" in page.locator(".vg-live-note").inner_text()
    page.locator("#consent input").check()
    guest.until("vidgen.retarget.consent")
    toggle.click()
    guest.until("document.querySelector('.vg-live-note').textContent === 'Live'")
    guest.until("/^[0-9.]+ frames per second$/.test(document.querySelector('.vg-live-fps').textContent)")
    middle = "(one) => [...one.getContext('2d').getImageData(one.width / 2, one.height / 2, 1, 1).data]"
    skin = page.locator(".vg-live-in").evaluate(middle)
    negative = page.locator(".vg-live-out").evaluate(middle)
    assert skin[0] > skin[2] and negative[0] < negative[2], "a face, and its negative"
    page.get_by_role("tab", name="About").click()
    page.wait_for_timeout(500)
    page.get_by_role("tab", name="Retarget").click()
    assert toggle.inner_text() == "Start the camera", "the camera stops when another tab is opened"
    assert page.locator(".vg-live-fps").inner_text() == ""


# ---- the page


def test_generate_and_swap_list_generators_only(guest: Guest, session: FakeSession) -> None:
    page = guest.open().page
    page.locator("#model input").click()
    names = [one.inner_text() for one in page.get_by_role("option").all()]
    assert sorted(name.strip(" ✓\n") for name in names) == sorted(info.title for info in session.infos)
    assert "negative" not in page.evaluate("Object.keys(vidgen.models)")


def test_without_a_character_there_is_one_sentence(room: Any) -> None:
    session = FakeSession()
    session.characters = []
    blocks = app.build_app(session)
    app.serve(blocks)
    guest = Guest(room, blocks.local_url).open()
    guest.page.get_by_role("tab", name="Retarget").click()
    assert "No character is installed" in guest.page.locator("#no_character").inner_text()
    assert not guest.page.locator("#run_retarget").count()
    guest.page.close()
    blocks.close(verbose=False)
    assert not guest.faults


TEXTS = [
    ".vg-lead p",
    "#consent span",
    "#source_clip label",
    ".vg-crop-note",
    "#panels span",
    "#run_retarget",
]
TEXTS += [
    "#cancel_retarget",
    ".vg-crop button[aria-pressed=true]",
    ".vg-crop .vg-help",
    ".vg-crop figcaption",
]
TEXTS += [".vg-live-toggle", ".vg-live-note", ".vg-live figcaption"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_contrast_and_a_narrow_screen(chromium: Any, blocks: Any, clips: Path, scheme: str) -> None:
    context = chromium.new_context(
        color_scheme=scheme, viewport={"width": 360, "height": 740}, locale="en-US"
    )
    guest = Guest(context, blocks.local_url).enter().upload(clips / "two.mp4")
    page = guest.page
    page.locator("#live_card > button, #live_card .label-wrap").first.click()
    page.locator(".vg-live-toggle").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate(NAMELESS) == []
    for selector in TEXTS:
        for place in page.locator(selector).all()[:3]:
            if place.is_visible():
                ink = luminance(place.evaluate("(one) => getComputedStyle(one).color"))
                paper = luminance(place.evaluate(BACKGROUND))
                ratio = (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
                assert ratio >= 4.5, (scheme, selector, ratio)
    context.close()
    assert not guest.faults
