"""A run that is asked to stop, by a scheduler that takes the machine back (SIGTERM) or by Ctrl-C (SIGINT)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Request:
    """Whether the run was asked to stop: the signal's number, or 0."""

    def __init__(self) -> None:
        self.signal = 0


@contextmanager
def heard() -> Iterator[Request]:
    """Note the first signal instead of ending at once; a second one ends the run as usual.

    Python lets only the main thread listen: elsewhere, nothing is noted.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    usual = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def note(number: int, _frame: object) -> None:
        request.signal = number
        restore()

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
