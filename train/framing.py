"""Measure how the faces lie in a folder of face crops: python -m train.framing FOLDER [--every 25]

Prints, for FACE_SHARE and FACE_CENTRE of vidgen/faces.py, the median over all the frames looked at: how much
of the crop's side the face found by the cascade takes, and where its centre is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from train import command
from vidgen.errors import VidgenError
from vidgen.faces import FaceFinder
from vidgen.video_io import open_clip

ENDINGS = (".mp4", ".mov", ".webm", ".mkv", ".avi")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 after a mistake, which is told in one sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="square videos of faces")
    parser.add_argument("--every", type=int, default=25, help="frames between two looks")
    options = parser.parse_args(argv)
    return command.run(lambda: sys.stdout.write(describe(*measure(options.folder, max(1, options.every)))))


def measure(folder: Path, every: int) -> tuple[np.ndarray, int]:
    """Return share of the side, x and y of the centre for each face, [n, 3], and the number of frames."""
    looks = list(_looks(folder, every))
    faces = [face for face in looks if face is not None]
    if not faces:
        raise VidgenError(f"{folder} shows no face in {len(looks)} frames: give a folder of face videos.")
    return np.array(faces), len(looks)


def describe(faces: np.ndarray, frames: int) -> str:
    """Word the measurement: median and the range of the middle eight tenths."""
    low, middle, high = np.quantile(faces, (0.1, 0.5, 0.9), axis=0)
    lines = [f"faces in {len(faces)} of {frames} frames\n"]
    for index, name in enumerate(("side", "centre x", "centre y")):
        lines.append(f"{name:8}  {middle[index]:.2f}  ({low[index]:.2f} to {high[index]:.2f})\n")
    return "".join(lines)


def _looks(folder: Path, every: int) -> Iterator[tuple[float, float, float] | None]:
    finder = FaceFinder()
    for path in sorted(path for path in folder.glob("*") if path.suffix.lower() in ENDINGS):
        for index, frame in enumerate(open_clip(path)):
            if index % every == 0:
                side = frame.pixels.shape[1]
                found = finder.find(frame.pixels)[:1]
                yield next(
                    ((b.side / side, (b.x + b.side / 2) / side, (b.y + b.side / 2) / side) for b in found),
                    None,
                )


if __name__ == "__main__":
    sys.exit(main())
