"""What the tabs do, as named endpoints for other programs: typed arguments, docstrings that are the manual.

One that answers with a file returns a `Film`: give it a folder, and it yields the share done, then the path.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from vidgen.errors import VidgenError
from vidgen.painter import BLEND
from vidgen.recipe import Recipe
from vidgen.web import GRID, Service, describe
from vidgen.web_compare import Comparer
from vidgen.web_inspect import Inspector
from vidgen.web_retarget import CONSENT, Folder, Studio

Film = Callable[[Path], Iterator[float | Path]]
Format = Literal["mp4", "gif", "webp", "png"]


def films(service: Service) -> list[Callable[..., Film]]:
    """Make the endpoints that answer with a file: sample, export, grid, interpolate, swap, splice."""

    def recipe_of(model: str, frames: int, fps: float, **more: Any) -> Recipe:
        return service.read({"model": model, "frames": frames, "fps": fps} | more)

    def row(recipes: Sequence[Recipe], name: str, kind: str) -> Film:
        return lambda folder: service.row(recipes, f"{recipes[0].model}-{name}", kind, folder)

    def sample(
        model: str = "mocogan-sprites",
        content_seed: int = 0,
        motion_seed: int = 0,
        frames: int = 16,
        fps: float = 12.0,
        speed: float = 1.0,
        strength: float = 1.0,
        smoothness: float = 0.0,
        playback: Literal["forward", "reverse", "loop", "freeze"] = "forward",
        category: int | None = None,
        format: Format = "mp4",
    ) -> Film:
        """Render one clip to a file with its recipe inside.

        Args:
            model: A name from /models.
            content_seed: What is in the clip, 0 to 2147483647.
            motion_seed: How it moves, 0 to 2147483647.
            frames: Length, 8 to 128.
            fps: Frames per second, 1 to 60; more of them show the same motion in finer steps.
            speed: 0.1 to 4 times the natural speed.
            strength: Scale of the motion, 0 (still) to 2.
            smoothness: Low-pass of the motion path, 0 to 1.
            playback: forward, reverse, loop (there and back) or freeze.
            category: Index into the model's categories; none draws it from the motion seed.
            format: mp4, gif, webp or png (a strip of frames).
        """
        values = {
            "content_seed": content_seed,
            "motion_seed": motion_seed,
            "speed": speed,
            "strength": strength,
        }
        values |= {"smoothness": smoothness, "playback": playback, "category": category}
        recipe = recipe_of(model, frames, fps, **values)
        return lambda folder: service.export(recipe, format, folder)

    def export(recipe: dict, format: Format = "mp4", scale: Literal[1, 2, 4] = 1) -> Film:
        """Render a whole recipe, as /read_recipe gives it, to a file with the recipe inside.

        Args:
            recipe: Fields that differ from the defaults, such as {"content_seed": 3}.
            format: mp4, gif, webp or png (a strip of frames).
            scale: How many times larger to draw each pixel.
        """
        read = service.read(recipe)
        return lambda folder: service.export(read, format, folder, scale)

    def grid(
        contents: list[int],
        motions: list[int],
        model: str = "mocogan-sprites",
        frames: int = 16,
        fps: float = 12.0,
        category: int | None = None,
        format: Format = "mp4",
    ) -> Film:
        """Render every content (rows) with every motion (columns), as one film on one clock.

        Args:
            contents: 1 to 8 content seeds.
            motions: 1 to 8 motion seeds.
            model: A name from /models.
            frames: Length, 8 to 128.
            fps: Frames per second, 1 to 60.
            category: Index into the model's categories; none draws it from each motion seed.
            format: mp4, gif, webp or png (a strip of frames).
        """
        recipe = recipe_of(model, frames, fps, category=category)
        return lambda folder: service.grid(recipe, contents, motions, format, folder)

    def interpolate(
        what: Literal["content", "motion"],
        first: int,
        second: int,
        other: int = 0,
        steps: int = 7,
        model: str = "mocogan-sprites",
        frames: int = 16,
        fps: float = 12.0,
        category: int | None = None,
        format: Format = "mp4",
    ) -> Film:
        """Render the way from one content, or motion, to another as clips side by side.

        Args:
            what: Which half of the code to blend.
            first: The seed to start from.
            second: The seed to arrive at.
            other: The seed of the half that stays.
            steps: How many clips, 2 to 8, both ends included.
            model: A name from /models.
            frames: Length, 8 to 128.
            fps: Frames per second, 1 to 60.
            category: Index into the model's categories; none draws it from the motion seed.
            format: mp4, gif, webp or png (a strip of frames).
        """
        if what not in ("content", "motion"):
            raise VidgenError("what must be content or motion.")
        if not 2 <= steps <= GRID:
            raise VidgenError(f"steps is {steps}; choose 2 to {GRID}.")
        still = {"content": "motion", "motion": "content"}[what]
        values = {f"{what}_seed": first, f"{what}_to": second, f"{still}_seed": other, "category": category}
        mixes = [{f"{what}_mix": step / (steps - 1)} for step in range(steps)]
        return row([recipe_of(model, frames, fps, **values, **mix) for mix in mixes], f"{what}-blend", format)

    def swap(
        content_a: int,
        motion_a: int,
        content_b: int,
        motion_b: int,
        model: str = "mocogan-sprites",
        frames: int = 16,
        fps: float = 12.0,
        category: int | None = None,
        format: Format = "mp4",
    ) -> Film:
        """Render two clips and their swaps side by side: A, B, A's content with B's motion, B's with A's.

        Args:
            content_a: Content seed of A.
            motion_a: Motion seed of A.
            content_b: Content seed of B.
            motion_b: Motion seed of B.
            model: A name from /models.
            frames: Length, 8 to 128.
            fps: Frames per second, 1 to 60.
            category: Index into the model's categories; none draws it from each motion seed.
            format: mp4, gif, webp or png (a strip of frames).
        """
        pairs = [(content_a, motion_a), (content_b, motion_b), (content_a, motion_b), (content_b, motion_a)]
        seeds = [{"content_seed": content, "motion_seed": motion} for content, motion in pairs]
        return row(
            [recipe_of(model, frames, fps, category=category, **pair) for pair in seeds], "swap", format
        )

    def splice(
        content_seed: int,
        motion_a: int,
        motion_b: int,
        at: int = 8,
        model: str = "mocogan-sprites",
        frames: int = 16,
        fps: float = 12.0,
        category: int | None = None,
        format: Format = "mp4",
    ) -> Film:
        """Render a clip that moves by motion A up to a frame and by motion B from there on.

        Args:
            content_seed: What is in the clip.
            motion_a: Motion seed of the beginning.
            motion_b: Motion seed of the rest.
            at: The first frame of motion B.
            model: A name from /models.
            frames: Length, 8 to 128.
            fps: Frames per second, 1 to 60.
            category: Index into the model's categories; none draws it from motion A's seed.
            format: mp4, gif, webp or png (a strip of frames).
        """
        values = {
            "content_seed": content_seed,
            "motion_seed": motion_a,
            "splice_seed": motion_b,
            "splice_at": at,
        }
        recipe = recipe_of(model, frames, fps, category=category, **values)
        return lambda folder: service.export(recipe, format, folder)

    return [sample, export, grid, interpolate, swap, splice]


def comparing(comparer: Comparer) -> Callable[..., Film]:
    """Make the endpoint compare_clips."""

    def compare_clips(
        first: str = comparer.pair[0],
        second: str = comparer.pair[1],
        content_seed: int = 0,
        motion_seed: int = 0,
        frames: int = 16,
        category: str | None = None,
        format: Format = "mp4",
    ) -> Film:
        """Render the same seeds by two models, side by side as one film, at the higher of their frame rates.

        Args:
            first: A name from /models, drawn on the left.
            second: Another one, drawn on the right.
            content_seed: What is in the clips, 0 to 2147483647.
            motion_seed: How they move, 0 to 2147483647.
            frames: Length, 8 to 128.
            category: A name that both models have; none takes one of those by the motion seed.
            format: mp4, gif, webp or png (a strip of frames).
        """
        numbers = {"content_seed": content_seed, "motion_seed": motion_seed, "frames": frames}
        pair = comparer.read([first, second], category, **numbers)
        return lambda folder: comparer.film(pair, format, folder)

    return compare_clips


def inspecting(inspector: Inspector) -> Callable[..., Callable[[Path], tuple[Path, list[list[float]]]]]:
    """Make the endpoint inspect; what it returns writes into a folder, and gives the path and the matrix."""

    def inspect(
        model: str = next(iter(inspector.models)),
        content_seed: int = 0,
        motion_seed: int = 0,
        frames: int = 16,
        fps: float = 12.0,
        category: int | None = None,
        format: Format = "mp4",
    ) -> Callable[[Path], tuple[Path, list[list[float]]]]:
        """Render a clip and, beside it, where each of the model's motion styles acts, as one film with
        labels; and give the cosines of the styles, a row for each, mean over the frames.

        Args:
            model: A name from /models whose motion_styles are not 0.
            content_seed: What is in the clip, 0 to 2147483647.
            motion_seed: How it moves, 0 to 2147483647.
            frames: Length, 8 to 64.
            fps: Frames per second, 1 to 60.
            category: Index into the model's categories; none draws it from the motion seed.
            format: mp4, gif, webp or png (a strip of frames).
        """
        values = {"model": model, "content_seed": content_seed, "motion_seed": motion_seed}
        recipe = inspector.read(values | {"frames": frames, "fps": fps, "category": category})
        return lambda folder: inspector.film(recipe, format, folder)

    return inspect


def retargeting(studio: Studio, uploads: Container[str]) -> Callable[..., Callable[[Folder], Iterator]]:
    """Make the endpoint retarget; what it returns yields the frames done, then a `Done`, given a folder."""

    def retarget(
        video: str | None,
        model: str,
        crop: str = "auto",
        face: int = 1,
        blend: float = BLEND,
        paste_back: bool = False,
        panels: Sequence[str] = ("result",),
        continue_frames: int = 0,
        consent: bool = False,
    ) -> Callable[[Folder], Iterator]:
        """Draw a character that makes the faces of a person, frame by frame, with the clip's sound and rate.

        Args:
            video: A clip of at most 25 MB and a minute: mp4, mov, webm, mkv, avi. It is deleted afterwards.
            model: A name from /translators.
            crop: auto (follow a face), none (the largest square in the middle) or x,y,w,h in pixels.
            face: Which face to follow, from 1, the largest first.
            blend: Weight of what the predictor foresees from the frames before, 0 to 1.
            paste_back: Put the result back into the whole picture; panels must then be the result alone.
            panels: What to show side by side: source, result, cycle (where /translators has it), residual.
            continue_frames: Frames that the predictor adds beyond the end, 0 to 120.
            consent: That you may use the recording and will not pass off the result as real: must be true.
        """
        if not video:
            raise VidgenError("There is no clip yet: upload one, record one, or take an example.")
        if video in uploads and consent is not True:
            raise VidgenError(CONSENT)
        options = studio.options(
            crop=crop,
            face=face,
            blend=blend,
            paste_back=paste_back,
            panels=panels,
            continue_frames=continue_frames,
        )
        return lambda folder: studio.run(video, model, options, folder)

    return retarget


def numbers(service: Service, studio: Studio) -> list[Callable]:
    """Make the endpoints that answer with numbers: models, translators, motion_path, meters."""

    def models() -> list[dict]:
        """List the models: name, title, size, fps, categories, motion styles, licence, defaults and more."""
        return [describe(info) for info in service.models.values()]

    def translators() -> list[dict]:
        """List the characters of /retarget: name, title, size, licence, and the panels that each can show."""
        shown = ("name", "title", "size", "licence")
        return [
            {name: getattr(info, name) for name in shown} | {"panels": studio.panels(info.name)}
            for info in studio.models.values()
        ]

    def motion_path(recipe: dict) -> list[list[float]]:
        """Give the path of a clip's motion in the plane of the model's two main motions, [[x, y] per frame].

        Args:
            recipe: Fields that differ from the defaults, such as {"motion_seed": 3}.
        """
        return service.session.motion_path(service.read(recipe)).tolist()

    def meters(recipe: dict) -> dict[str, float]:
        """Measure a clip: content_drift, motion_energy and flicker.

        Args:
            recipe: Fields that differ from the defaults, such as {"content_seed": 3}.
        """
        return service.session.meters(service.clip(service.read(recipe)))

    return [models, translators, motion_path, meters]
