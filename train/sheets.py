"""Sample sheets: what a run draws so far, for a person to look at."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor


def write_sheet(folder: Path, index: int, sheet: Tensor) -> None:
    """Write the sheet of step `index`: [h, w, c], clamped to [-1, 1]."""
    levels = ((sheet.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    Image.fromarray(levels.cpu().numpy()).save(folder / f"samples-{index:06d}.png")
