"""Files that appear whole or not at all, and what is said of those that cannot be read or written."""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from PIL import Image, UnidentifiedImageError

from vidgen.errors import VidgenError

DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,  # Pillow's for a broken PNG
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
    av.FFmpegError,
    Image.DecompressionBombError,
)


def check_output(path: str | os.PathLike) -> Path:
    """Prove that a file can be written at `path`, by writing an empty one beside it and removing it again.

    Returns the path with links resolved. Raises VidgenError for a missing or read-only folder, a folder or a
    read-only file in the place of the file.
    """
    target = _resolve(path)
    with reported(path):
        if target.is_dir():
            raise VidgenError(f"{path} is a folder: give the name of a file in it.")
        if not target.parent.is_dir():
            raise VidgenError(
                f"{path} cannot be written because there is no folder {target.parent}: create it."
            )
        if target.exists() and not os.access(target, os.W_OK):
            raise VidgenError(f"{path} is read-only: give another name or allow writing to it.")
        trial = _neighbour(target)
        trial.touch(exist_ok=False)
        trial.unlink()
    return target


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, moved to `path` at the end, or removed on any error.

    Raises VidgenError where `check_output` does and if the move fails; other errors pass through.
    """
    target = check_output(path)
    temporary = _neighbour(target)
    try:
        yield temporary
        with reported(path):
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def reported(path: str | os.PathLike) -> Iterator[None]:
    """Turn a failure to write `path` into a VidgenError with the system's reason."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).rstrip(".").lower()
        raise VidgenError(f"{path} cannot be written ({reason}): free space or change the place.") from error


@contextmanager
def readable(path: str | os.PathLike) -> Iterator[None]:
    """Turn whatever a decoder raises over a bad file into a VidgenError that names the file."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise VidgenError(f"{path} cannot be read: it is damaged or of another kind.") from error
    except DAMAGE as error:
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
        raise VidgenError(f"{path} cannot be read ({reason[:120]}): it is damaged or cut short.") from error


def _resolve(path: str | os.PathLike) -> Path:
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an unknown ~user, a null byte
        raise VidgenError(f"{str(path)!r} is not a usable file name: choose another.") from error


def _neighbour(target: Path) -> Path:
    # Short and independent of the target's name, which may already be as long as a name can be.
    return target.with_name(f".vidgen-{uuid.uuid4().hex[:12]}.tmp")
