"""The one exception that a user is meant to read, and the mistake that most options share."""

from __future__ import annotations

from typing import Any


class VidgenError(Exception):
    """Report a mistake of the user's, worded for the user: what is wrong, the number, the remedy.

    The app shows the sentence as it is; the command line prints it and exits with code 2.
    """


def check_least(options: Any, least: int, *names: str) -> None:
    """Refuse attributes of `options` below `least` (0 or 1), or that are no number."""
    for name in names:
        value = getattr(options, name)
        if not value >= least:
            remedy = f"be at least {least}" if least else "not be negative"
            raise VidgenError(f"{name} is {value}; it must {remedy}.")
