"""The facade that the app, the command line and notebooks use: recipes in, uint8 frames out.

Holds models only, no visitor's state; may be shared by threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from vidgen import catalogue, checkpoint, sampling
from vidgen.catalogue import TRANSLATORS, WEIGHTS, ModelInfo, describe
from vidgen.errors import VidgenError
from vidgen.metrics import scores
from vidgen.models import nearest
from vidgen.recipe import Recipe
from vidgen.translator import FrameTranslator

GRID_CHUNK = 8  # clips whose codes are made at once
MAX_HEAT_BYTES = 2**30


@dataclass(frozen=True)
class Inspection:
    """A clip, uint8 [t, h, w, c]; where each motion style acts in it, heat float32 [t, k, h, w] in [0, 1];
    how alike the styles are, cosine float32 [k, k], mean over the frames.
    """

    clip: np.ndarray
    heat: np.ndarray
    cosine: np.ndarray


@dataclass(frozen=True)
class _Loaded:
    info: ModelInfo
    renderer: sampling.Renderer
    directions: Tensor
    plane: tuple[Tensor, Tensor]  # mean and two axes of the motion plot


class Session:
    """Render recipes with the models of a weights folder.

    weights: folder of `<name>.safetensors` files. device: "cpu", "cuda" ... threads: torch threads, None
    leaves them.
    """

    def __init__(
        self, weights: str | Path = WEIGHTS, device: str = "cpu", threads: int | None = None
    ) -> None:
        self.weights, self.device = Path(weights), device
        if threads:
            torch.set_num_threads(threads)
        self._loaded: dict[str, _Loaded] = {}
        self._translators: dict[str, FrameTranslator] = {}
        self._lock = threading.Lock()

    def models(self) -> list[ModelInfo]:
        """List the models of the weights folder; only the headers are read. A broken file is left out, with a
        warning in the log.
        """
        return catalogue.models(self.weights)

    def generators(self) -> list[ModelInfo]:
        """List the models that draw clips from recipes."""
        return [info for info in self.models() if info.family not in TRANSLATORS]

    def translators(self) -> list[ModelInfo]:
        """List the models that translate frames."""
        return [info for info in self.models() if info.family in TRANSLATORS]

    def translator(self, model: str) -> FrameTranslator:
        """Load a translator, by its name or the path of a weights file; VidgenError for a generator."""
        path = self._find(model)
        info = describe(path)
        if info.family not in TRANSLATORS:
            raise VidgenError(f"{info.name} draws clips from seeds; it does not translate a video.")
        with self._lock:
            if str(path) not in self._translators:
                loaded = checkpoint.load_model(path, self.device)[0]
                self._translators[str(path)] = FrameTranslator(loaded, self.device)
            return self._translators[str(path)]

    def info(self, model: str) -> ModelInfo:
        """Describe one model, by its name or the path of a weights file."""
        return describe(self._find(model))

    def check(self, recipe: Recipe) -> Recipe:
        """Check a recipe against its model: a category out of range is a VidgenError. Returns it
        unchanged.
        """
        info = self.info(recipe.model)
        for name in ("category", "category_to"):
            value = getattr(recipe, name)
            if value is not None and not info.categories:
                raise VidgenError(f"{info.name} has no categories; leave {name} out.")
            if value is not None and value >= len(info.categories):
                raise VidgenError(
                    f"{name} is {value}; {info.name} has categories 0 to {len(info.categories) - 1}."
                )
        if recipe.truncation != 1 and not info.truncation:
            raise VidgenError(f"{info.name} has no truncation; leave it at 1.")
        return recipe

    def render(self, recipe: Recipe) -> np.ndarray:
        """Render one clip: uint8 [t, h, w, c]."""
        return self.render_many([recipe])[0]

    def render_many(
        self, recipes: Sequence[Recipe], progress: Callable[[float], None] | None = None
    ) -> np.ndarray:
        """Render clips of one model and one length: uint8 [n, t, h, w, c]; a clip does not depend on its
        neighbours.
        """
        if not recipes:
            raise VidgenError("There is no recipe to render.")
        if len({(recipe.model, recipe.frames) for recipe in recipes}) > 1:
            raise VidgenError("Clips rendered together must share the model and the number of frames.")
        done = []
        for first in range(0, len(recipes), GRID_CHUNK):
            done.append(self._clips(recipes[first : first + GRID_CHUNK]))
            if progress:
                progress(min(1.0, (first + GRID_CHUNK) / len(recipes)))
        return np.concatenate(done)

    def stream(self, recipe: Recipe) -> Iterator[np.ndarray]:
        """Render one clip in chunks of frames, uint8 [chunk, h, w, c], in constant memory."""
        loaded = self._load(self.check(recipe).model)
        yield from loaded.renderer.frames(self._codes([recipe], loaded))

    def grid(self, recipe: Recipe, contents: Sequence[int], motions: Sequence[int]) -> Iterator[np.ndarray]:
        """Render every content with every motion, a row (one content) at a time: uint8 [columns, t, h, w,
        c].
        """
        if not contents or not motions:
            raise VidgenError("A grid needs at least one content seed and one motion seed.")
        for content in contents:
            yield self.render_many(
                [recipe.replace(content_seed=content, motion_seed=motion) for motion in motions]
            )

    def motion_path(self, recipe: Recipe) -> np.ndarray:
        """Give the motion path of a clip in the plane of the model's two main motions: float [t, 2]."""
        loaded = self._load(self.check(recipe).model)
        path = loaded.renderer.path(self._codes([recipe], loaded))[0]
        mean, axes = loaded.plane
        return ((path - mean) @ axes).cpu().numpy()

    def inspect(self, recipe: Recipe) -> Inspection:
        """Show where each motion style acts in a clip; VidgenError for a model without motion styles.

        Heat is measured within each frame: 1 is where a style acts most, of all styles and pixels.
        """
        info, loaded = self.info(recipe.model), self._load(self.check(recipe).model)
        styles = getattr(loaded.renderer.image, "motion_styles", 0)
        if not styles:
            raise VidgenError(f"{info.name} has no motion styles to inspect; choose {self._with_styles()}.")
        if recipe.frames * styles * info.size**2 * 4 > MAX_HEAT_BYTES:
            raise VidgenError(
                f"{recipe.frames} frames of {styles} motion styles are over the "
                f"{MAX_HEAT_BYTES / 2**30:g} GiB that they may take: ask for fewer frames."
            )
        codes = self._codes([recipe], loaded)
        heat, cosine = zip(*loaded.renderer.attention(codes), strict=True)
        return Inspection(
            loaded.renderer.clips(codes)[0], np.concatenate(heat), np.concatenate(cosine).mean(0)
        )

    def meters(self, clip: np.ndarray) -> dict[str, float]:
        """Measure a clip, uint8 [t, h, w, c]: content_drift, motion_energy, flicker."""
        return scores.meters(clip)

    def _with_styles(self) -> str:
        names = [info.name for info in self.generators() if info.motion_styles]
        return f"one that has: {', '.join(names)}" if names else "a MoStGAN-V, of which none is installed"

    def _clips(self, recipes: Sequence[Recipe]) -> np.ndarray:
        loaded = self._load(recipes[0].model)
        for recipe in recipes:
            self.check(recipe)
        return loaded.renderer.clips(self._codes(recipes, loaded))

    def _codes(self, recipes: Sequence[Recipe], loaded: _Loaded) -> sampling.Codes:
        return sampling.codes(recipes, loaded.renderer.model, loaded.directions, loaded.info.fps)

    def _find(self, model: str) -> Path:
        if model.endswith(".safetensors") or "/" in model:
            return Path(model)
        # Compared with the names that there are: what is asked for may be no possible name of a file.
        paths = {path.stem: path for path in sorted(self.weights.glob("*.safetensors"))}
        if model not in paths:
            raise VidgenError(f"There is no model {model[:80]!r}; {nearest(model, list(paths))}")
        return paths[model]

    def _load(self, model: str) -> _Loaded:
        path = self._find(model)
        with self._lock:
            key = str(path)
            if key not in self._loaded:
                self._loaded[key] = _load(path, self.device)
            return self._loaded[key]


def _load(path: Path, device: str) -> _Loaded:
    info = describe(path)
    if info.family in TRANSLATORS:
        raise VidgenError(f"{info.name} translates videos; it draws no clips from seeds.")
    model, _, extra = checkpoint.load_model(path, device)
    directions = extra.get("directions")
    if directions is None:
        directions = sampling.factorise(model)
    renderer = sampling.Renderer(model, device)
    return _Loaded(info, renderer, directions.cpu(), _plane(renderer, info))


def _plane(renderer: sampling.Renderer, info: ModelInfo, clips: int = 64) -> tuple[Tensor, Tensor]:
    """Find the plane of the motion plot: the two main axes of the paths of the first seeds."""
    recipes = [Recipe(motion_seed=seed, frames=info.clip_length, fps=info.fps) for seed in range(clips)]
    path = renderer.path(sampling.codes(recipes, renderer.model, None, info.fps))
    path = rearrange(path, "n t d -> (n t) d")
    mean = path.mean(0)
    axes = torch.linalg.svd(path - mean, full_matrices=False).Vh[:2].T
    strongest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return mean, axes * strongest.sign()
