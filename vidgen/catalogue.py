"""The weights that there are, by what each file says of itself. No torch: the app's page need not wait."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vidgen.errors import VidgenError
from vidgen.recipe import DIRECTIONS

FORMAT = "vidgen-1"
WEIGHTS = Path(__file__).resolve().parent.parent / "weights"


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


def models(folder: str | Path = WEIGHTS) -> list[ModelInfo]:
    """Describe every weights file of a folder; only the headers are read."""
    return [describe(path) for path in sorted(Path(folder).glob("*.safetensors"))]


def describe(path: Path) -> ModelInfo:
    """Describe a weights file from its header."""
    header = read_header(path)
    about, config, card = header["about"], header["config"], path.with_suffix(".md")
    return ModelInfo(
        name=path.stem,
        family=header["family"],
        title=about.get("title", path.stem),
        size=config["size"],
        fps=float(about.get("fps", 12)),
        clip_length=int(about.get("clip_length", config.get("clip_length", 16))),
        categories=list(about.get("categories", [])),
        category_axes=about.get("category_axes"),
        licence=about.get("licence", "unknown"),
        credit=about.get("credit", ""),
        path=str(path),
        card=str(card) if card.exists() else None,
        direction_names=about.get("direction_names")
        or [f"Direction {number + 1}" for number in range(DIRECTIONS)],
        truncation=bool(about.get("truncation", False)),
        default_frames=int(about.get("default_frames", 32)),
    )


def read_header(path: str | Path) -> dict[str, Any]:
    """Read a file's description without its tensors: family, config, about."""
    path = Path(path)
    if not path.is_file():
        raise VidgenError(f"There is no weights file {path}.")
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise VidgenError(f"{path} is a safetensors file, but not one of vidgen's.")
        return {
            "family": metadata["family"],
            "config": json.loads(metadata["config"]),
            "about": json.loads(metadata["about"]),
        }
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise VidgenError(f"{path} is not a readable safetensors file of vidgen's ({error}).") from error
