"""What the app does for a visitor, apart from the page: checked requests in, sheets, numbers and files out.

Everything that comes from a browser is untrusted: it is read by `Service.read`, paid for from the visitor's
budget, and rendered one request at a time. No Gradio here, and no torch until the first clip.
"""

from __future__ import annotations

import base64
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidgen import catalogue, video_io
from vidgen.catalogue import TRANSLATORS, WEIGHTS, ModelInfo
from vidgen.errors import VidgenError
from vidgen.recipe import RANGES, Recipe

FRAMES = (8, 128)  # lengths of a clip that the app offers
GRID = 8  # rows and columns of the largest grid; also the clips of one request
SHOWN_RANGES = RANGES | {"frames": FRAMES, "category_at": (0, FRAMES[1]), "splice_at": (0, FRAMES[1])}
KINDS = ("mp4", "gif", "webp", "png")
SCALES = (1, 2, 4)
KEPT_BYTES = 2**25  # of clips rendered last
MAX_BODY = 2**18  # bytes of a request other than an upload
FAULT = "Something went wrong on the server; try again."
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask for: a burst of frames, then so many a second; how long a request waits."""

    burst: float = 6000.0
    per_second: float = 1500.0
    patience: float = 2.0
    visitors: int = 2000


class BusyError(VidgenError):
    """Say that a request came too early, and in how many seconds to come again."""

    def __init__(self, seconds: float) -> None:
        super().__init__("The server is busy; try again in a moment.")
        self.seconds = seconds


class Budget:
    """Count frames against each visitor: a token bucket per address, the longest absent forgotten first."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits, self.clock = limits, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def spend(self, visitor: str, frames: int) -> None:
        """Take `frames` from a visitor's budget, or raise BusyError with the time until they are there."""
        with self._lock:
            now = self.clock()
            left, since = self._left.pop(visitor, (self.limits.burst, now))
            left = min(self.limits.burst, left + (now - since) * self.limits.per_second)
            enough = frames <= left or left >= self.limits.burst
            self._left[visitor] = (left - frames if enough else left, now)
            if len(self._left) > self.limits.visitors:
                self._left.popitem(last=False)
        if not enough:
            raise BusyError((frames - left) / self.limits.per_second)


class Service:
    """Serve visitors from one Session; keeps no visitor's state but budgets and the last clips."""

    def __init__(self, session: Any, limits: Limits | None = None) -> None:
        self.session, self.limits = session, limits or Limits()
        self.models: dict[str, ModelInfo] = {info.name: info for info in models(session)}
        self.budget = Budget(self.limits)
        self.turn = threading.BoundedSemaphore(1)
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()

    def read(self, values: Mapping[str, Any]) -> Recipe:
        """Read an untrusted recipe: shipped models only, never a path; numbers clamped, lengths too."""
        recipe = Recipe.from_dict(values)
        if recipe.model not in self.models:
            known = ", ".join(self.models) or "none, the weights folder is empty"
            raise VidgenError(f"There is no model {recipe.model[:40]!r}; known: {known}.")
        frames = min(max(recipe.frames, FRAMES[0]), FRAMES[1])
        return self.session.check(recipe.replace(frames=frames))

    def read_some(self, values: Sequence[Mapping[str, Any]]) -> list[Recipe]:
        """Read the untrusted recipes of one request, which share the model and the length."""
        if not isinstance(values, list | tuple) or not 1 <= len(values) <= GRID:
            raise VidgenError(f"Ask for 1 to {GRID} clips at once.")
        return [self.read(item) for item in values]

    def preview(self, request: Any, visitor: str) -> dict[str, Any]:
        """Answer the live preview: one JPEG with the clips side by side and their frames one below the other.

        request: {"recipes": [recipe ...]}. Returns {"src", "frames", "columns", "width", "height", "fps"}, or
        {"busy", "retry" in seconds}, or {"error": a sentence}; never raises.
        """
        return self.answer(lambda: self._preview(request, visitor))

    def details(self, request: Any, visitor: str) -> dict[str, Any]:
        """Answer what stands under the clip: {"path": [[x, y] ...], "meters": {name: value}}."""
        return self.answer(lambda: self._details(request, visitor))

    def clip(self, recipe: Recipe, visitor: str = "") -> np.ndarray:
        """Render a clip, or take it from those rendered last: uint8 [t, h, w, c]."""
        return self._clips([recipe], visitor)[0]

    def film(self, name: str, chunks: Iterable[np.ndarray], total: int, **how: Any) -> Iterator[float | Path]:
        """Write chunks of frames, uint8 [chunk, h, w, c], to a file; yields the share done, then the path.

        how: folder, kind (one of KINDS), fps, recipe (a mapping or None), scale (one of SCALES), pixel_art
        (whether enlarged pixels keep their edges). Closing the iterator early leaves no file.
        """
        folder, kind, scale = Path(how["folder"]), how["kind"], how.get("scale", 1)
        if kind not in KINDS:
            raise VidgenError(f"The format is {str(kind)[:40]!r}; choose one of {', '.join(KINDS)}.")
        if scale not in SCALES:
            raise VidgenError(f"The scale is {str(scale)[:40]}; choose one of {', '.join(map(str, SCALES))}.")
        path, done = folder / f"{name}.{kind}", 0
        with video_io.ClipWriter(path, how["fps"], how.get("recipe")) as writer:
            for chunk in chunks:
                for frame in enlarged(chunk, scale, how.get("pixel_art", True)):
                    writer.add(frame)
                done += len(chunk)
                yield 0.9 * done / total
        yield path

    def export(self, recipe: Recipe, kind: str, folder: Path, scale: int = 1) -> Iterator[float | Path]:
        """Write one clip with its recipe inside; yields as `film`."""
        name = f"{recipe.model}-{recipe.content_seed}-{recipe.motion_seed}"
        chunks = self._in_turn(self.session.stream(recipe))
        how = {"folder": folder, "kind": kind, "fps": recipe.fps, "recipe": recipe.to_dict(), "scale": scale}
        how["pixel_art"] = self.models[recipe.model].pixel_art
        return self.film(name, chunks, recipe.frames, **how)

    def grid(
        self, recipe: Recipe, contents: Sequence[int], motions: Sequence[int], kind: str, folder: Path
    ) -> Iterator[float | Path]:
        """Write contents (rows) x motions (columns) as one film; yields as `film`."""
        for name, seeds in (("contents", contents), ("motions", motions)):
            if not 1 <= len(seeds) <= GRID:
                raise VidgenError(f"There are {len(seeds)} {name}; choose 1 to {GRID}.")
        rows = []
        for row in self._in_turn(self.session.grid(recipe, contents, motions)):
            rows.append(row)
            yield 0.8 * len(rows) / len(contents)
        film = video_io.tile(np.stack(rows))
        yield from self.film(
            f"{recipe.model}-grid", [film], len(film), folder=folder, kind=kind, fps=recipe.fps
        )

    def row(self, recipes: Sequence[Recipe], name: str, kind: str, folder: Path) -> Iterator[float | Path]:
        """Write clips side by side as one film; yields as `film`."""
        clips = self._clips(recipes, "")
        film = video_io.tile(clips[None])
        return self.film(name, [film], len(film), folder=folder, kind=kind, fps=recipes[0].fps)

    def read_file(self, path: str | Path | None, *, delete: bool) -> Recipe:
        """Read the recipe inside a clip; delete: remove the file then, as is right for a visitor's upload."""
        if not path:
            raise VidgenError("Choose a clip that was exported here: mp4, gif, webp or png.")
        try:
            return self.read(video_io.read_recipe(path))
        except VidgenError as error:
            raise VidgenError(str(error).replace(str(path), Path(path).name)) from error
        finally:
            if delete:
                with suppress(OSError):
                    Path(path).unlink()

    def answer(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do a visitor's work; a mistake, a fault or no free turn is an answer too. Never raises."""
        try:
            return work()
        except BusyError as busy:
            return {"busy": True, "retry": round(busy.seconds, 2)}
        except VidgenError as error:
            return {"error": str(error)}
        except Exception:
            log.exception("a request failed")
            return {"error": FAULT}

    def _preview(self, request: Any, visitor: str) -> dict[str, Any]:
        recipes = self.read_some(fields(request, "recipes")["recipes"])
        return sheet(self._clips(recipes, visitor), recipes[0].fps)

    def _details(self, request: Any, visitor: str) -> dict[str, Any]:
        recipe = self.read(fields(request, "recipe")["recipe"])
        meters = self.session.meters(self._clips([recipe], visitor)[0])
        path = np.round(self.session.motion_path(recipe), 3)
        return {"path": path.tolist(), "meters": {name: round(float(v), 4) for name, v in meters.items()}}

    def _clips(self, recipes: Sequence[Recipe], visitor: str) -> np.ndarray:
        key = "\n".join(recipe.to_json() for recipe in recipes)
        if key in self._kept:
            return self._kept[key]
        if visitor:
            self.budget.spend(visitor, sum(recipe.frames for recipe in recipes))
        with self.my_turn():
            clips = self.session.render_many(recipes)
            self._keep(key, clips)
        return clips

    def _keep(self, key: str, clips: np.ndarray) -> None:
        self._kept[key] = clips
        while sum(kept.nbytes for kept in self._kept.values()) > KEPT_BYTES and len(self._kept) > 1:
            self._kept.popitem(last=False)

    @contextmanager
    def my_turn(self) -> Iterator[None]:
        """Hold the turn to compute, or raise BusyError when it does not come in time."""
        if not self.turn.acquire(timeout=self.limits.patience):
            raise BusyError(0.5)
        try:
            yield
        finally:
            self.turn.release()

    def _in_turn(self, chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Render each chunk in a turn of its own: long work does not stop the live previews of others."""
        while True:
            with self.turn:
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk


def fields(request: Any, *names: str) -> dict[str, Any]:
    """Check that an untrusted request has these fields and no other."""
    if not isinstance(request, dict) or set(request) != set(names):
        listed = ", ".join(map(repr, names))
        raise VidgenError(f"A request must be a JSON object with the field{'s' * (len(names) > 1)} {listed}.")
    return request


def enlarged(clip: np.ndarray, scale: int, pixel_art: bool) -> np.ndarray:
    """Enlarge frames, uint8 [t, h, w, c], a whole number of times: pixel art by its pixels, others smoothly
    (bicubic).
    """
    if pixel_art or scale == 1:
        return clip.repeat(scale, 1).repeat(scale, 2)
    size = (clip.shape[2] * scale, clip.shape[1] * scale)
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in clip])


def sheet(clips: np.ndarray, fps: float) -> dict[str, Any]:
    """Give clips, uint8 [n, t, h, w, c], to the page: one JPEG with the clips side by side and their frames
    one below the other, as {"src", "frames", "columns", "width", "height", "fps"}.
    """
    picture = video_io.jpeg_sheet(video_io.tile(clips[None], gap=0))
    return {
        "src": "data:image/jpeg;base64," + base64.b64encode(picture).decode(),
        "frames": clips.shape[1],
        "columns": clips.shape[0],
        "width": clips.shape[3],
        "height": clips.shape[2],
        "fps": fps,
    }


def models(session: Any) -> list[ModelInfo]:
    """List a session's generators in the order of the page: the one that recipes name by default first."""
    return sorted(session.generators(), key=lambda info: (info.name != Recipe().model, info.name))


def defaults(info: ModelInfo) -> dict[str, Any]:
    """Give the recipe that a visitor meets first: the model's own length and rate."""
    frames = min(max(info.default_frames, FRAMES[0]), FRAMES[1])
    return Recipe(model=info.name, frames=frames, fps=info.fps, content_seed=1, motion_seed=1).to_dict()


def describe(info: ModelInfo) -> dict[str, Any]:
    """Give what the page needs to know of a model, JSON-able."""
    shown = ("name", "title", "family", "size", "fps", "clip_length", "categories", "licence", "truncation")
    shown += ("motion_styles", "pixel_art")
    axes = info.category_axes or ({"category": info.categories} if info.categories else {})
    return {name: getattr(info, name) for name in shown} | {
        "axes": [{"name": name, "values": list(values)} for name, values in axes.items()],
        "directions": [name[:1].upper() + name[1:] for name in info.direction_names],
        "defaults": defaults(info),
    }


def card_text(path: str | Path) -> str:
    """Read a model card for the page: without its title and its pictures, which the page shows itself."""
    text = Path(path).read_text(encoding="utf-8")
    text = re.sub(r"\A# .*\n", "", text)
    return re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)


class LateSession:
    """Stand in for a Session: the page is served at once, torch and the weights come when first needed."""

    def __init__(self, weights: str | Path = WEIGHTS) -> None:
        self.weights = weights
        self._lock, self._session = threading.Lock(), None

    def models(self) -> list[ModelInfo]:
        """List the models of the weights folder; only the headers are read."""
        return catalogue.models(self.weights)

    def generators(self) -> list[ModelInfo]:
        """List the models that make clips from codes."""
        return [info for info in self.models() if info.family not in TRANSLATORS]

    def translators(self) -> list[ModelInfo]:
        """List the models that turn a person into a character."""
        return [info for info in self.models() if info.family in TRANSLATORS]

    def warm(self, recipe: Recipe) -> None:
        """Load everything that the first clip needs."""
        try:
            self.render(recipe)
        except Exception:
            log.exception("warming up failed")

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._session is None:
                from vidgen.session import Session  # torch: two seconds that the page does not wait for

                self._session = Session(self.weights, threads=1)
        return getattr(self._session, name)


class Guard:
    """ASGI middleware: 404 for Gradio's endpoints that invite misuse, 413 for bodies no page sends."""

    CLOSED = re.compile(r"(/[^=]*)?/(process_recording|deep_link|monitoring)(/|$)")
    UPLOAD = re.compile(r".*/upload/?$")  # has a limit of its own: max_file_size

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        status = self.verdict(scope) if scope["type"] == "http" else 0
        if not status:
            await self.app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def verdict(self, scope: Mapping[str, Any]) -> int:
        """Return the status to refuse a request with, 0 to let it pass."""
        if self.CLOSED.match(scope["path"]):
            return 404
        if scope["method"] != "POST" or self.UPLOAD.match(scope["path"]):
            return 0
        length = dict(scope["headers"]).get(b"content-length", b"")
        if not length.isdigit():
            return 411
        return 413 if int(length) > MAX_BODY else 0
