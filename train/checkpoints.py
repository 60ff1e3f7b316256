"""The training state on disk: written whole or not at all, with the one before it kept."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from vidgen.errors import VidgenError

LAST, PREVIOUS = "state.pt", "state.previous.pt"
UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError)


class Terminal:
    """Standard error, which may be a file on a full disk: what cannot be said then is left out."""

    def write(self, text: str) -> None:
        """Write, or do not."""
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        """Flush, or do not."""
        with suppress(OSError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def tell(sentence: str) -> None:
    """Say a sentence on the terminal, above the progress bar."""
    tqdm.write(sentence, file=Terminal())


@contextmanager
def spared(what: str) -> Iterator[None]:
    """Go on where a file cannot be written, saying so: a full disk must not end a run."""
    try:
        yield
    except (OSError, VidgenError) as error:
        tell(f"{what} cannot be written, and the run goes on without: {error}")


def save_state(folder: Path, state: dict[str, Any]) -> bool:
    """Write the training state and keep the one before; tell whether it is on the disk.

    Where it cannot be written the states that are there stay as they are.
    """
    part = (folder / LAST).with_suffix(".part")
    try:
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        if (folder / LAST).exists():
            os.replace(folder / LAST, folder / PREVIOUS)
        os.replace(part, folder / LAST)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        tell(f"Step {state['step']} cannot be saved in {folder}, and the run goes on: {_reason(error)}.")
        return False
    return True


def exists(folder: Path) -> bool:
    """Tell whether a folder holds a run."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS))


def load_state(folder: Path) -> dict[str, Any]:
    """Read the last training state or, where that is damaged, the one before, saying so.

    Raises VidgenError where neither can be read.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    try:
        return _read(last)
    except UNREADABLE as error:
        reason = _reason(error)
    try:
        state = _read(previous)
    except UNREADABLE as error:
        raise VidgenError(f"{last} cannot be read; remove it to start anew ({reason}).") from error
    tell(f"{last} cannot be read ({reason}): the run goes on from the one before, of step {state['step']}.")
    os.replace(previous, last)
    return state


def broken(state: Any, name: str = "") -> str | None:
    """Name the first tensor of a nested state that is not finite; None where all are."""
    if isinstance(state, torch.Tensor):
        return None if state.isfinite().all() else name
    pairs = state.items() if isinstance(state, dict) else ()
    pairs = enumerate(state) if isinstance(state, list | tuple) else pairs
    found = (broken(value, f"{name}.{key}".lstrip(".")) for key, value in pairs)
    return next((place for place in found if place is not None), None)


def _read(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


def _reason(error: Exception) -> str:
    """Say shortly what went wrong: the system's words or, as torch's are long, the error's kind."""
    return getattr(error, "strerror", None) or type(error).__name__
