"""A stand-in for vidgen.session.Session that draws discs on paths: fast, no torch, the same interface."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from vidgen.catalogue import ModelInfo
from vidgen.errors import VidgenError
from vidgen.recipe import Recipe

SIZE = 64


def info(name: str, title: str, axes: dict[str, list[str]] | None, truncation: bool = False) -> ModelInfo:
    """Describe a model that is not there."""
    names = list((axes or {}).values())
    pairs = [f"{a} {b}" for a in names[0] for b in names[1]] if len(names) == 2 else (names or [[]])[0]
    return ModelInfo(
        name=name,
        family="mocogan",
        title=title,
        size=SIZE,
        fps=12.0,
        clip_length=16,
        categories=list(pairs),
        category_axes=axes,
        licence="CC BY-SA 3.0",
        credit="nobody",
        path=f"weights/{name}.safetensors",
        card=None,
        direction_names=["Hue", "Size", "Shade", "Four", "Five", "Six"],
        truncation=truncation,
        default_frames=32,
    )


class FakeTranslator:
    """Turn a person into the negative of one."""

    size = SIZE

    def __init__(self, reversible: bool, pause: float) -> None:
        self.reversible, self.pause = reversible, pause

    def translate(self, frames: np.ndarray) -> np.ndarray:
        time.sleep(self.pause * len(frames))
        return 255 - frames

    def predict(self, previous: np.ndarray) -> np.ndarray:
        return previous[-1]

    def back(self, frames: np.ndarray) -> np.ndarray:
        if not self.reversible:
            raise VidgenError("This model only translates one way: it has no generator back.")
        return 255 - frames


class FakeSession:
    """Draw a disc (content: its colour) on a path (motion: its phase and frequency)."""

    def __init__(self) -> None:
        axes = {"action": ["walk", "cast", "slash"], "direction": ["up", "left", "down", "right"]}
        self.infos = [
            replace(info("mocogan-sprites", "Sprites", axes), data="sprites"),
            info("mocogan-actions", "Actions", {"action": ["run", "wave"]}),
            info("mocogan-shapes", "Shapes", None, truncation=True),
        ]
        self.characters = [
            replace(info("negative", "Negative", None), family="recyclegan", reversible=True),
            replace(info("one-way", "One way", None), family="recyclegan"),
        ]
        self.pause = 0.0  # seconds that a translated frame takes
        self.rendered: list[Recipe] = []

    def models(self) -> list[ModelInfo]:
        return self.infos + self.characters

    def generators(self) -> list[ModelInfo]:
        return self.infos

    def translators(self) -> list[ModelInfo]:
        return self.characters

    def translator(self, name: str) -> FakeTranslator:
        found = [info for info in self.characters if info.name == name]
        if not found:
            raise VidgenError(f"There is no model {name!r}.")
        return FakeTranslator(found[0].reversible, self.pause)

    def info(self, name: str) -> ModelInfo:
        found = [info for info in self.infos if info.name == name]
        if not found:
            raise VidgenError(f"There is no model {name!r}.")
        return found[0]

    def check(self, recipe: Recipe) -> Recipe:
        count = len(self.info(recipe.model).categories)
        for name in ("category", "category_to"):
            if (getattr(recipe, name) or 0) >= max(count, 1):
                raise VidgenError(f"{name} is {getattr(recipe, name)}; choose 0 to {count - 1}.")
        return recipe

    def render(self, recipe: Recipe) -> np.ndarray:
        self.rendered.append(self.check(recipe))
        y, x = np.mgrid[:SIZE, :SIZE]
        clip = np.full((recipe.frames, SIZE, SIZE, 3), 24, np.uint8)
        hue = np.random.default_rng(recipe.content_seed).random(3) + np.array(recipe.directions[:3]) / 6
        colour = (hue.clip(0, 1) * 200 + 55).astype(np.uint8)
        for t, (px, py) in enumerate(self.motion_path(recipe)):
            clip[t][
                (x - 32 - 20 * px) ** 2 + (y - 32 - 20 * py) ** 2 < (8 + 2 * recipe.directions[1]) ** 2
            ] = colour
        return clip

    def render_many(self, recipes: Sequence[Recipe]) -> np.ndarray:
        return np.stack([self.render(recipe) for recipe in recipes])

    def stream(self, recipe: Recipe) -> Iterator[np.ndarray]:
        yield from np.array_split(self.render(recipe), max(1, recipe.frames // 16))

    def grid(self, recipe: Recipe, contents: Sequence[int], motions: Sequence[int]) -> Iterator[np.ndarray]:
        for content in contents:
            yield self.render_many([recipe.replace(content_seed=content, motion_seed=m) for m in motions])

    def motion_path(self, recipe: Recipe) -> np.ndarray:
        rng = np.random.default_rng(recipe.motion_seed)
        phase, pace = rng.random() * 6.28, rng.integers(1, 4)
        angle = phase + pace * recipe.speed * 6.28 * np.arange(recipe.frames) / 16
        return recipe.strength * np.stack([np.cos(angle), np.sin(angle * 2)], 1)

    def meters(self, clip: np.ndarray) -> dict[str, float]:
        step = np.abs(np.diff(clip.astype(float), axis=0)).mean()
        return {"content_drift": 0.12, "motion_energy": float(step), "flicker": 1.5}
