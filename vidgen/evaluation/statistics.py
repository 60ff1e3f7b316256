"""Statistics of real clips, kept in a folder under the hash of all that they depend on."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np

from vidgen._clips.files import replacing, reported
from vidgen.evaluation.readers import Extractor
from vidgen.evaluation.real import Chosen
from vidgen.metrics.scores import Gaussian

VERSION = "gaussian-1"


def user_cache() -> Path:
    """Give the user's folder for what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vidgen"


def gaussian_of(
    chosen: Chosen, content: str, extractor: Extractor, part: int, folder: Path | None
) -> Gaussian:
    """Describe real clips by their features' mean and covariance; read from `folder` where it is there.

    content: hash of what they are drawn from. part: clips to draw at a time. folder: None keeps nothing.
    """
    if folder is None:
        return _measured(chosen, extractor, part)
    told = "\n".join([VERSION, content, chosen.key(), extractor.key])
    place = folder / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.npz"
    found = _read(place)
    if found is None:
        found = _measured(chosen, extractor, part)
        _write(place, found)
    return found


def _measured(chosen: Chosen, extractor: Extractor, part: int) -> Gaussian:
    found = Gaussian()
    for clips in chosen.parts(part):
        found.add(extractor.features(clips))
    return found


def _read(place: Path) -> Gaussian | None:
    """Read what was kept; None where there is nothing that can be read."""
    found = Gaussian()
    try:
        with np.load(place) as kept:
            found.count, found.mean, found.rows = int(kept["count"]), kept["mean"], kept["rows"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return found


def _write(place: Path, found: Gaussian) -> None:
    with reported(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    with replacing(place) as part, reported(place), part.open("wb") as file:
        np.savez(file, count=found.count, mean=found.mean, rows=found.rows)
