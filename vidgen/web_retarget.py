"""Retargeting for the app's visitors: consent, a look at the faces, jobs that can be stopped, live frames.

A clip that a visitor uploads is kept while its page shows it, so that another character can be tried on it;
`Shelf` deletes it when it is replaced or the page is left. No Gradio here, no torch until the first frame.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from vidgen import retarget, video_io
from vidgen.catalogue import WEIGHTS, ModelInfo
from vidgen.errors import VidgenError
from vidgen.retarget import LiveRetarget, RetargetOptions, RetargetReport, Translator
from vidgen.web import Service

EXAMPLES = WEIGHTS / "examples"
MAX_SECONDS = 60.0  # of a visitor's clip
MAX_CONTINUE = 120  # frames beyond its end
SHOWN_SIDE = 640  # px of the longer side of the frame that the page shows
CAMERA_PIXELS = 640 * 640
CAMERAS = 8  # followed at once; the longest unused is forgotten
LIVE_COST = 16  # of the budget's frames, for one from a camera
CONSENT = "Tick the consent box first: only then is a recording of yours processed."
Step = tuple[int, int | None]  # frames done, frames in all where that is known
Folder = Callable[[], AbstractContextManager[Path]]


@dataclass(frozen=True)
class Done:
    """A finished film and what its making measured."""

    path: Path
    report: RetargetReport


class Studio:
    """Retarget visitors' clips with the translators of a Service's session."""

    def __init__(self, service: Service) -> None:
        self.service, self.session = service, service.session
        self.models: dict[str, ModelInfo] = {info.name: info for info in self.session.translators()}
        self.shelf = Shelf()
        self.examples = sorted(EXAMPLES.glob("*.mp4"))
        self._cameras: OrderedDict[str, tuple[tuple, LiveRetarget]] = OrderedDict()

    def panels(self, model: str) -> list[str]:
        """List what a character's film may show side by side."""
        reversible = model in self.models and self.models[model].reversible
        return [name for name in retarget.PANELS if reversible or name != "cycle"]

    def options(self, **given: Any) -> RetargetOptions:
        """Read a visitor's choices: crop ("auto", "none" or "x,y,w,h"), face (from 1), blend, paste_back,
        panels, continue_frames.
        """
        if not isinstance(given["panels"], list | tuple):
            raise VidgenError(f"panels must be a list of some of {', '.join(retarget.PANELS)}.")
        return RetargetOptions(
            crop=retarget.read_crop(str(given["crop"])[:100]),
            face=int(number("face", given["face"])) - 1,
            blend=number("blend", given["blend"]),
            paste_back=bool(given["paste_back"]),
            panels=tuple(given["panels"]),
            continue_frames=min(int(number("continue_frames", given["continue_frames"])), MAX_CONTINUE),
            max_seconds=MAX_SECONDS,
        )

    def look(self, source: str | Path) -> dict[str, Any]:
        """Find the faces of a clip: {"src": a frame early in it, "width" and "height" of that frame in px,
        "crops": [[x, y, side] ...], what is cut out for each face, the largest first}.
        """
        with named(source):
            frame, crops = retarget.preview_crop(Path(source))
        picture = Image.fromarray(frame)
        picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
        return {
            "src": data_url(np.asarray(picture)),
            "width": frame.shape[1],
            "height": frame.shape[0],
            "crops": [[round(float(value), 1) for value in box] for box in crops],
        }

    def run(
        self, source: str | Path, model: str, options: RetargetOptions, folder: Folder
    ) -> Iterator[Step | Done]:
        """Retarget a clip; yields the frames done, then what came of it. Closing the iterator stops the work,
        and its folder goes.
        """
        translator = self.translator(model)

        def work(progress: Callable[[int, int | None], None], cancelled: Callable[[], bool]) -> Done:
            with folder() as place, named(source):
                target = place / f"synthetic-{model}.mp4"
                report = retarget.retarget(translator, Path(source), target, options, progress, cancelled)
                return Done(target, report)

        return followed(work)

    def live(self, request: Any, visitor: str) -> dict[str, Any]:
        """Answer one frame of a camera: {"src", "box": [x, y, side] or None}, {"busy", "retry"} or {"error"}.

        request: {"camera": a name of the page's own, "model", "blend", "frame": a JPEG as a data URL,
        "consent"}.
        """
        return self.service.answer(lambda: self._live(request, visitor))

    def translator(self, name: str) -> Translator:
        """Give a shipped translator that takes its turn with the previews of other visitors."""
        return InTurn(self._shipped(name), self.service.turn)

    def _shipped(self, name: str) -> Translator:
        if name not in self.models:
            known = ", ".join(self.models) or "none is installed"
            raise VidgenError(f"There is no character {str(name)[:40]!r}; known: {known}.")
        return self.session.translator(name)

    def _live(self, request: Any, visitor: str) -> dict[str, Any]:
        names = {"camera", "model", "blend", "frame", "consent"}
        if not isinstance(request, Mapping) or set(request) != names:
            raise VidgenError(f"A request must be a JSON object with the fields {', '.join(sorted(names))}.")
        if request["consent"] is not True:
            raise VidgenError(CONSENT)
        self.service.budget.spend(visitor, LIVE_COST)
        frame = read_frame(request["frame"])
        with self.service.my_turn():
            face, box = self._camera(request, visitor).step(frame)
        return {"src": None if face is None else data_url(face), "box": None if box is None else [*box]}

    def _camera(self, request: Mapping[str, Any], visitor: str) -> LiveRetarget:
        key = f"{visitor} {str(request['camera'])[:40]}"
        wanted = str(request["model"]), number("blend", request["blend"])
        known, camera = self._cameras.pop(key, (None, None))
        if camera is None or known != wanted:
            camera = LiveRetarget(self._shipped(wanted[0]), blend=wanted[1])
        self._cameras[key] = wanted, camera
        if len(self._cameras) > CAMERAS:
            self._cameras.popitem(last=False)
        return camera


def number(name: str, value: Any) -> float:
    """Read an untrusted number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise VidgenError(f"{name} is {str(value)[:40]!r}, not a number.")
    return float(value)


class InTurn:
    """A translator whose every call waits for its turn, so that long work does not stop the live previews."""

    def __init__(self, translator: Translator, turn: AbstractContextManager) -> None:
        self._translator, self._turn = translator, turn
        self.size, self.reversible = translator.size, translator.reversible

    def translate(self, frames: np.ndarray) -> np.ndarray:
        with self._turn:
            return self._translator.translate(frames)

    def predict(self, previous: np.ndarray) -> np.ndarray:
        with self._turn:
            return self._translator.predict(previous)

    def back(self, frames: np.ndarray) -> np.ndarray:
        with self._turn:
            return self._translator.back(frames)


class Shelf:
    """Remember which upload each page shows, and delete those that none shows any more."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}
        self._lock = threading.Lock()

    def hold(self, page: str, path: str | None) -> None:
        """Let a page show an upload, or none; the one that it showed before goes."""
        with self._lock:
            before = self._held.pop(page, None)
            if path:
                self._held[page] = path
            # Equal files of two visitors share one path.
            gone = before if before not in self._held.values() else None
        if gone:
            delete(gone)


def delete(path: str | Path) -> None:
    """Delete an upload that may be gone already."""
    with suppress(OSError):
        Path(path).unlink()


@contextmanager
def named(source: str | Path) -> Iterator[None]:
    """Let mistakes speak of an upload by its name, not by where the server keeps it."""
    try:
        yield
    except VidgenError as error:
        if str(source) not in str(error):
            raise
        raise VidgenError(str(error).replace(str(source), Path(source).name)) from error


def followed(
    work: Callable[[Callable[[int, int | None], None], Callable[[], bool]], Done],
) -> Iterator[Step | Done]:
    """Run work(progress, cancelled) in a thread; yields its newest progress, then its result."""
    news: queue.SimpleQueue = queue.SimpleQueue()
    stop = threading.Event()

    def run() -> None:
        try:
            news.put(work(lambda done, total: news.put((done, total)), stop.is_set))
        except BaseException as error:  # it is raised again where the iterator is read
            news.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        while True:
            item = news.get()
            while isinstance(item, tuple) and not news.empty():
                item = news.get()
            if isinstance(item, BaseException):
                raise item
            yield item
            if isinstance(item, Done):
                return
    finally:
        stop.set()


def data_url(frame: np.ndarray) -> str:
    """Encode a frame, uint8 [h, w, 3], for the page."""
    return "data:image/jpeg;base64," + base64.b64encode(video_io.jpeg_sheet(frame[None])).decode()


def read_frame(text: Any) -> np.ndarray:
    """Read an untrusted camera frame, a JPEG as a data URL: uint8 [h, w, 3]."""
    head, _, data = str(text).partition(",")
    try:
        if head != "data:image/jpeg;base64":
            raise ValueError
        picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=["JPEG"])
        if picture.width * picture.height > CAMERA_PIXELS:
            raise VidgenError(
                f"A camera frame of {picture.width} x {picture.height} px is too large; "
                f"at most {CAMERA_PIXELS} px are taken."
            )
        return np.asarray(picture.convert("RGB"))
    except (ValueError, binascii.Error, OSError, SyntaxError, UnidentifiedImageError) as error:
        raise VidgenError("The camera's frame is not a JPEG.") from error
