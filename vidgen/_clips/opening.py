"""Find out what kind of clip a path holds: by the first bytes, never by the name."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vidgen._clips.pictures import Animation, Folder, Strip
from vidgen._clips.source import Source, readable
from vidgen._clips.videos import Avi, Matroska, Mov
from vidgen.errors import VidgenError

ADDRESS = re.compile(r"^([a-z][a-z0-9+.-]*://|data:)", re.IGNORECASE)


def open_source(path: str | os.PathLike, max_pixels: int, max_side: int | None = None) -> Source:
    """Return the Source for a video, an animation, a strip or a folder of pictures."""
    if ADDRESS.match(os.fspath(path)):
        raise VidgenError(f"{path} is an address and not a file: download it and give the file.")
    path = Path(path)
    with readable(path):
        if path.is_dir():
            return Folder(path, max_pixels, max_side)
        if not path.exists():
            raise VidgenError(f"{path} does not exist.")
        if not path.is_file():
            raise VidgenError(f"{path} is not a regular file.")
        return _kind(path)(path, max_pixels, max_side)


def _kind(path: Path) -> type[Source]:
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise VidgenError(f"{path} is empty.")
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return Mov
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return Matroska
    if head.startswith(b"RIFF") and head[8:12] in (b"AVI ", b"WEBP"):
        return Avi if head[8:12] == b"AVI " else Animation
    if head.startswith(b"GIF8"):
        return Animation
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        return Strip
    raise VidgenError(
        f"{path} is no clip that can be read: give an mp4, mov, webm, avi, gif, webp, a png or jpg "
        "strip, or a folder of frames."
    )
