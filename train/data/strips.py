"""Read frame strips: one image file holds a clip, its square frames side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from einops import rearrange
from PIL import Image

from vidgen.errors import VidgenError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff"}


def read_image(path: Path) -> np.ndarray:
    """Read an image of any mode as uint8 RGB [h, w, 3]; what is transparent becomes black."""
    try:
        with Image.open(path) as image:
            image.load()
            if "A" in image.getbands() or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VidgenError(f"{path}: not a readable image ({error}).") from error


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) from the image's header alone."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VidgenError(f"{path}: not a readable image ({error}).") from error


def square(frame: np.ndarray, size: int) -> np.ndarray:
    """Crop a frame, uint8 [h, w, 3], to its middle square and resize it to `size` px."""
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    frame = frame[top : top + side, left : left + side]
    if side == size:
        return frame
    return np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.LANCZOS))


def read_strip(path: Path | str, size: int | None = None) -> np.ndarray:
    """Read a strip as uint8 [t, h, w, 3], its frames resized to `size` px where one is given."""
    image = read_image(Path(path))
    height, width = image.shape[:2]
    if width % height:
        raise VidgenError(
            f"{path}: {width} x {height} px is no row of square frames: "
            "the width must be a multiple of the height."
        )
    frames = rearrange(image, "h (t w) c -> t h w c", w=height)
    if size is None or size == height:
        return np.ascontiguousarray(frames)
    return np.stack([square(frame, size) for frame in frames])
