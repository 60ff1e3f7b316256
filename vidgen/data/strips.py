"""Tell frame strips from frames: a strip is one image with the square frames of a clip side by side."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def is_strip(path: Path) -> bool | None:
    """Tell from an image's header whether it holds a clip by itself; None if it cannot be read.

    A strip is as wide as two or more of its heights; an animated webp is a clip too.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            return getattr(image, "n_frames", 1) > 1 or (width % height == 0 and width >= 2 * height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # its name is in the error when it is read
