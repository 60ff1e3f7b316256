"""The weights that there are, by what each file says of itself. No torch: the app's page need not wait."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vidgen.errors import VidgenError
from vidgen.recipe import DIRECTIONS, MAX_FRAMES, RANGES

log = logging.getLogger(__name__)
FORMAT = "vidgen-1"
TRANSLATORS = ("recyclegan",)  # families that turn a video into another; the others draw clips from codes
WEIGHTS = Path(__file__).resolve().parent.parent / "weights"


PIXEL_ART = ("sprites",)  # data sets


@dataclass(frozen=True)
class ModelInfo:
    """What a person needs to know of a model; read from the file's header."""

    name: str
    family: str
    title: str
    size: int
    fps: float
    clip_length: int
    categories: list[str]
    category_axes: dict[str, list[str]] | None
    licence: str
    credit: str
    path: str
    card: str | None
    direction_names: list[str]
    truncation: bool
    default_frames: int
    reversible: bool = False  # a translator that also translates back
    motion_styles: int = 0  # of which a generator can show where each acts
    data: str = ""  # what it was trained on: models of the same can be compared

    @property
    def pixel_art(self) -> bool:
        """Tell whether pixels are meant to be seen: enlarged, they keep their edges."""
        return self.data in PIXEL_ART


def models(folder: str | Path = WEIGHTS) -> list[ModelInfo]:
    """Describe the weights files of a folder; only the headers are read. A file that cannot be read is left
    out, with a warning in the log.
    """
    found = []
    for path in sorted(Path(folder).glob("*.safetensors")):
        try:
            found.append(describe(path))
        except VidgenError as error:
            log.warning("A weights file is left out of the list: %s", error)
    return found


def describe(path: Path) -> ModelInfo:
    """Describe a weights file from its header."""
    header = read_header(path)
    try:
        return _info(path, header["family"], header["config"], header["about"])
    except ValueError as error:
        raise VidgenError(f"{path} does not describe itself as vidgen's files do: {error}.") from error


def _info(path: Path, family: str, config: dict[str, Any], about: dict[str, Any]) -> ModelInfo:
    card = path.with_suffix(".md")
    unnamed = [f"Direction {number + 1}" for number in range(DIRECTIONS)]
    named = about.get("direction_names") or unnamed
    clip_length = about.get("clip_length", config.get("clip_length", 16))
    return ModelInfo(
        name=path.stem,
        family=family,
        title=_text("title", about.get("title", path.stem)),
        size=int(_number("size", config.get("size"), (1, math.inf))),
        fps=_number("fps", about.get("fps", 12), RANGES["fps"]),
        clip_length=int(_number("clip_length", clip_length, (1, MAX_FRAMES))),
        categories=_texts("categories", about.get("categories", [])),
        category_axes=_axes(about.get("category_axes")),
        licence=_text("licence", about.get("licence", "unknown")),
        credit=_text("credit", about.get("credit", "")),
        path=str(path),
        card=str(card) if card.exists() else None,
        direction_names=_texts("direction_names", named, DIRECTIONS),
        truncation=bool(about.get("truncation", False)),
        default_frames=int(_number("default_frames", about.get("default_frames", 32), RANGES["frames"])),
        reversible=bool(config.get("reversible", False)),
        motion_styles=int(_number("motion_styles", config.get("motion_styles", 0), (0, math.inf))),
        data=_text("data", about.get("data", "")),
    )


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {str(value)[:40]!r}, not a text")
    return value


def _number(name: str, value: Any, limits: tuple[float, float]) -> float:
    low, high = limits
    whole = name != "fps"
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise ValueError(f"{name} is {str(value)[:40]!r}, not a {'whole ' * whole}number")
    if not low <= value <= high:  # NaN included
        raise ValueError(f"{name} is not within {low:g} to {high:g}")
    return float(value)


def _texts(name: str, value: Any, count: int | None = None) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} is {str(value)[:40]!r}, not a list of texts")
    if count is not None and len(value) != count:
        raise ValueError(f"{name} has {len(value)} entries instead of {count}")
    return value


def _axes(value: Any) -> dict[str, list[str]] | None:
    if value is None:
        return None
    return {
        name: _texts(f"category_axes.{name}", items)
        for name, items in _object("category_axes", value).items()
    }


def _object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {str(value)[:40]!r}, not an object")
    return value


def read_header(path: str | Path) -> dict[str, Any]:
    """Read a file's description without its tensors: family, config, about."""
    path = Path(path)
    try:
        if not path.is_file():
            raise VidgenError(f"There is no weights file {path}.")
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise VidgenError(f"{path} is a safetensors file, but not one of vidgen's.")
        return {
            "family": metadata["family"],
            "config": _object("config", json.loads(metadata["config"])),
            "about": _object("about", json.loads(metadata["about"])),
        }
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise VidgenError(f"{path} is not a readable safetensors file of vidgen's ({error}).") from error
