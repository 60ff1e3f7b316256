"""The data sets of the papers: where each is to be had, and which of its files are clips of what.

Only their layouts are known here; nothing is fetched, and each has a licence of its own to be read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vidgen.data.folders import VIDEO_SUFFIXES, ClipFolder, Source
from vidgen.data.strips import IMAGE_SUFFIXES
from vidgen.errors import VidgenError


@dataclass(frozen=True)
class DataSet:
    """A data set as its owners give it.

    where: to get it. example: a clip's path. clip: a regular expression of the paths of clips, which are
    videos or folders of frames, with the groups `content` and, where there are any, `label` and `split`.
    """

    where: str
    example: str
    clip: str
    fps: float | None = None  # of frames
    faces: bool = False
    piece: int = 0
    skip: int = 0


DATASETS: dict[str, DataSet] = {
    "mug": DataSet(
        "https://mug.ee.auth.gr/fed (on request; research only)",
        "subjects3/001/anger/take000/img_0000.jpg",
        r"(?P<content>\d{3})/(?P<label>[a-z]+)/(session\d+/)?take\d+",
        fps=19.0,
        faces=True,
    ),
    "weizmann": DataSet(
        "https://www.wisdom.weizmann.ac.il/~vision/SpaceTimeActions.html",
        "daria_walk.avi",
        r"(?P<content>[a-z]+)_(?P<label>[a-z]+)\d?\.avi",
    ),
    "ucf-101": DataSet(
        "https://www.crcv.ucf.edu/data/UCF101.php",
        "UCF-101/Archery/v_Archery_g01_c01.avi",
        r"(?P<label>\w+)/v_(?P<content>\w+_g\d+)_c\d+\.avi",
    ),
    "faceforensics": DataSet(
        "https://github.com/ondyari/FaceForensics (on request; research only)",
        "original_sequences/youtube/c23/videos/000.mp4",
        r"original_sequences/\w+/\w+/videos/(?P<content>[^/]+)\.mp4",
        faces=True,
    ),
    "sky-timelapse": DataSet(
        "https://github.com/weixiong-ur/mdgan",
        "sky_timelapse/sky_train/VIDEO/VIDEO_1/VIDEO_frames_00000001.jpg",
        r"sky_(?P<split>train|test)/(?P<content>[^/]+)/[^/]+",
        fps=25.0,
    ),
    "rainbow-jelly": DataSet(
        "https://www.youtube.com/watch?v=P8Bit37hlsQ (cut into pieces of 512 frames, as StyleGAN-V does)",
        "rainbow_jelly.mp4",
        r"(?P<content>[^/]+)\.(mp4|webm|mkv)",
        piece=512,
        skip=150,
    ),
    "celebv-hq": DataSet(
        "https://github.com/CelebV-HQ/CelebV-HQ (a list and a program that fetches the films)",
        "downloaded_celebvhq/processed/M2Ohb0FAaJU_1.mp4",
        r"(?P<content>[^/]+)_\d+\.mp4",
    ),
}
LPC = (
    "lpc",
    "https://github.com/jrconway3/Universal-LPC-spritesheet (clone it; needs no preparing: --data CLONE)",
)


def described() -> str:
    """List the data sets: name, where to get it, and how a clip lies in it."""
    rows = [f"{name}\n    {each.where}\n    {each.example}\n" for name, each in DATASETS.items()]
    return "".join([*rows, "{}\n    {}\n".format(*LPC)])


def open_dataset(name: str, root: Path, size: int, min_frames: int) -> tuple[ClipFolder, list[str] | None]:
    """Find the clips of a data set below `root`, and the contents that its owners hold out for testing.

    Raises VidgenError, with the layout and where to get it, where nothing looks like it.
    """
    if name == LPC[0]:
        raise VidgenError("An LPC clone needs no preparing: train with --data CLONE.")
    known = DATASETS[name]
    rule = re.compile(f"(?:.*/)?{known.clip}")
    found = [(path, where, match) for path, where in _clips(root) if (match := rule.fullmatch(where))]
    if not found:
        raise VidgenError(
            f"{root} does not look like {name}, where clips lie as {known.example}; get it: {known.where}."
        )
    labels = sorted({match["label"] for *_, match in found}) if "label" in rule.groupindex else []
    sources = [
        Source(path, where, labels.index(match["label"]) if labels else 0, match["content"])
        for path, where, match in found
    ]
    tests = None
    if "split" in rule.groupindex:
        tests = sorted({match["content"] for *_, match in found if match["split"] == "test"}) or None
    return ClipFolder(sources, labels, size, min_frames, known.fps), tests


def _clips(root: Path) -> Iterator[tuple[Path, str]]:
    """List videos and folders that hold pictures, with their paths from the name of `root` on."""
    if not root.is_dir():
        raise VidgenError(f"{root} is no folder: give the one that holds the data set.")
    top = root.resolve()
    for place, folders, files in os.walk(top):
        folders.sort()
        here = Path(place)
        for path in sorted(here / file for file in files if Path(file).suffix.lower() in VIDEO_SUFFIXES):
            yield path, path.relative_to(top.parent).as_posix()
        if any(Path(file).suffix.lower() in IMAGE_SUFFIXES for file in files):
            yield here, here.relative_to(top.parent).as_posix()
