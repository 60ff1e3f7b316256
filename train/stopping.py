"""A run that is asked to stop, by a scheduler that takes the machine back (SIGTERM) or by Ctrl-C (SIGINT)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Request:
    """Whether the run was asked to stop: the signal's number, or 0."""

    def __init__(self) -> None:
        self.signal = 0


@contextmanager
def heard() -> Iterator[Request]:
    """Note signals instead of ending at once. After the first, a second Ctrl-C ends the run as usual, and
    SIGTERM is left unheard: torchrun sends it to all that still save when the first of them has ended.

    SIGINT stays ignored where it was, as in the background of a script. Python lets only the main thread
    listen: elsewhere, nothing is noted.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    if usual[signal.SIGINT] in (signal.SIG_IGN, None):
        del usual[signal.SIGINT]

    def note(number: int, _frame: object) -> None:
        request.signal = number
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if signal.SIGINT in usual:
            signal.signal(signal.SIGINT, usual[signal.SIGINT])

    for number in usual:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler or signal.SIG_DFL)
