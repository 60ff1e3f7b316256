"""What the Inspect tab does for a visitor, apart from the page: where motion styles act, as a sheet of clips,
and how alike they are. Guarded as `vidgen.web` guards the previews.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vidgen import heat
from vidgen.recipe import Recipe
from vidgen.web import FRAMES, Service, fields, sheet

LENGTHS = (FRAMES[0], 64)  # frames of a clip that the tab offers: each is drawn twice
LEGEND = [f"rgb({red} {green} {blue})" for red, green, blue in heat.VIRIDIS]


class Inspector:
    """Show the motion styles of a Service's models."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.models = {name: info for name, info in service.models.items() if info.motion_styles}

    def view(self, request: Any, visitor: str) -> dict[str, Any]:
        """Answer the tab: one JPEG with the clip and the heat of each style side by side, and the cosines.

        request: {"recipe": recipe}. Returns {"src", "frames", "columns", "width", "height", "fps", "cosine":
        [[number ...] ...]}, or as `Service.preview` {"busy", "retry"} or {"error"}; never raises.
        """
        return self.service.answer(lambda: self._view(request, visitor))

    def read(self, values: Mapping[str, Any]) -> Recipe:
        """Read an untrusted recipe, with a length that the tab offers."""
        recipe = self.service.read(values)
        return recipe.replace(frames=min(recipe.frames, LENGTHS[1]))

    def film(self, recipe: Recipe, kind: str, folder: Path) -> tuple[Path, list[list[float]]]:
        """Write the clip and the heat of each style as one film, with labels; gives its path, the cosines."""
        with self.service.turn:
            found = self.service.session.inspect(recipe)
        shown = heat.with_overlays(found.clip, found.heat)
        frames = heat.labelled(shown, ["clip", *map(str, range(1, len(shown)))])
        how = {"folder": folder, "kind": kind, "fps": recipe.fps, "recipe": recipe.to_dict()}
        *_, path = self.service.film(f"{recipe.model}-styles", [frames], len(frames), **how)
        return path, _rounded(found.cosine)

    def _view(self, request: Any, visitor: str) -> dict[str, Any]:
        recipe = self.read(fields(request, "recipe")["recipe"])
        self.service.budget.spend(visitor, 2 * recipe.frames)
        with self.service.my_turn():
            found = self.service.session.inspect(recipe)
        shown = heat.with_overlays(found.clip, found.heat)
        return sheet(shown, recipe.fps) | {"cosine": _rounded(found.cosine)}


def _rounded(cosine: np.ndarray) -> list[list[float]]:
    return np.round(cosine.astype(float), 3).tolist()
