"""Find and decode the clips of a folder: videos, frame strips or folders of frames, each optionally by class.

clips/a.mp4             clips/00001.png (a strip)     clips/one/frame1.png
clips/wave/a.mp4        clips/wave/00001.png          clips/wave/one/frame1.png
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidgen.data.splits import content_id, held_out, selected
from vidgen.data.strips import IMAGE_SUFFIXES, is_strip
from vidgen.errors import VidgenError
from vidgen.video_io import read_clip

VIDEO_SUFFIXES = {".mp4", ".webm", ".mov", ".avi", ".mkv", ".m4v", ".gif"}
LAYOUTS = ("auto", "strips", "frames")
PROBED = 16  # images whose headers decide whether a folder holds strips or the frames of one clip


@dataclass(frozen=True)
class Source:
    """One clip that is not decoded yet: a file, or a folder of frames."""

    path: Path
    name: str  # path below the data folder, with slashes
    label: int
    content_id: str

    def files(self) -> list[Path]:
        """List the files that the clip is read from."""
        return _images(self.path) if self.path.is_dir() else [self.path]


class ClipFolder:
    """The clips of a folder, decoded on demand."""

    def __init__(
        self,
        sources: Sequence[Source],
        categories: Sequence[str],
        size: int,
        min_frames: int,
        fps: float | None,
    ) -> None:
        self.sources, self.categories = list(sources), list(categories)
        self.size, self.min_frames, self.fps = size, min_frames, fps
        self.labels = np.array([source.label for source in self.sources], dtype=np.int64)
        self.content_ids = [source.content_id for source in self.sources]

    def __len__(self) -> int:
        return len(self.sources)

    def read(self, index: int) -> tuple[np.ndarray, float]:
        """Decode one clip: uint8 [t, h, w, 3], cropped to the middle square, and its frames per second.

        Raises VidgenError, naming the file, for a clip that is broken, too short or of mixed size.
        """
        path = self.sources[index].path
        clip = read_clip(path, size=self.size)
        if len(clip.frames) < self.min_frames:
            raise VidgenError(
                f"{path} has {len(clip.frames)} frames, but {self.min_frames} are needed: "
                "remove it, skip such clips or ask for fewer frames."
            )
        still = path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
        return clip.frames, self.fps if still and self.fps is not None else clip.fps


def open_clips(
    path: Path | str,
    size: int = 64,
    min_frames: int = 1,
    split: str = "all",
    names: Sequence[str] | None = None,
    group: str = "stem",
    test_share: float = 0.1,
    tests: Sequence[str] | None = None,
    layout: str = "auto",
    fps: float | None = None,
) -> ClipFolder:
    """Find the clips below `path`, decoding none.

    names: what to call the classes, in the (natural) order of their folders. group: see `content_id`.
    layout: whether images are "strips" or "frames", if their shapes do not tell. fps: of strips and frames.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise VidgenError(f"{path} does not exist: give a folder of videos, frame strips or frame folders.")
    if layout not in LAYOUTS:
        raise VidgenError(f"Unknown layout '{layout}': choose one of {', '.join(LAYOUTS)}.")
    if not 8 <= size <= 1024 or min_frames < 1:
        raise VidgenError(f"size is {size} px and frames {min_frames}: give 8 to 1024 px and 1 or more.")
    if fps is not None and not 0 < fps <= 240:
        raise VidgenError(f"fps is {fps}, but must be above 0 and at most 240.")
    found, categories = _find(root, layout)
    if names is not None:
        if len(names) != len(categories):
            raise VidgenError(f"{path}: {len(categories)} class folders, but {len(names)} names.")
        categories = list(names)
    base = root.parent if root.is_file() else root
    sources = [_source(clip, label, base, group) for clip, label in found]
    ids = [source.content_id for source in sources]
    kept = selected(ids, held_out(ids, test_share, tests), split)
    return ClipFolder([sources[i] for i in kept], categories, size, min_frames, fps)


def _find(root: Path, layout: str) -> tuple[list[tuple[Path, int]], list[str]]:
    """Return the path and label of each clip, and the names of the class folders."""
    if root.is_file() or _is_clip(root, layout):
        return [(root, 0)], []
    direct = _clips(root, layout)
    by_class = {folder: _clips(folder, layout) for folder in _folders(root) if not _is_clip(folder, layout)}
    if direct and any(by_class.values()):
        raise VidgenError(f"{root} has clips both beside and in class folders: move all into class folders.")
    if direct:
        return [(path, 0) for path in direct], []
    if not any(by_class.values()):
        raise VidgenError(f"{root} holds no clips: give a folder of videos, frame strips or frame folders.")
    if empty := [folder for folder, clips in by_class.items() if not clips]:
        raise VidgenError(f"{empty[0]} is a class folder without clips: fill it or remove it.")
    found = [(path, label) for label, clips in enumerate(by_class.values()) for path in clips]
    return found, [folder.name for folder in by_class]


def _source(path: Path, label: int, base: Path, group: str) -> Source:
    name = path.relative_to(base).as_posix() if path != base else path.name
    return Source(path, name, label, content_id(name, group))


def _clips(folder: Path, layout: str) -> list[Path]:
    """List the clips right inside a folder: videos and strips, and folders of frames."""
    files = _files(folder, VIDEO_SUFFIXES | IMAGE_SUFFIXES)
    return files + [sub for sub in _folders(folder) if _is_clip(sub, layout)]


def _is_clip(folder: Path, layout: str) -> bool:
    """Tell whether the images of a folder are the frames of one clip, and not strips."""
    images = _images(folder)
    if not images or layout != "auto":
        return bool(images) and layout == "frames"
    verdicts = [verdict for verdict in map(is_strip, images[:PROBED]) if verdict is not None]
    return sum(verdicts) * 2 <= len(verdicts)


def _images(folder: Path) -> list[Path]:
    return _files(folder, IMAGE_SUFFIXES)


def _files(folder: Path, suffixes: set[str]) -> list[Path]:
    return [path for path in _entries(folder) if path.suffix.lower() in suffixes and path.is_file()]


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    """List what a folder shows, "2" before "10"."""
    try:
        return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=_natural)
    except OSError as error:
        raise VidgenError(f"{folder} cannot be read ({error.strerror}): allow reading it.") from error


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name)  # text and numbers in turn
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]
