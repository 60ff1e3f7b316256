"""Serve the app for the tests that drive it, and find the browser that drives it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_LIMIT = 60.0  # seconds


def find_browser() -> str | None:
    """Find a Chromium on this machine."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next(filter(None, map(shutil.which, names)), None)


def free_port() -> int:
    """Ask the system for a port that nobody listens on."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(url: str) -> bool:
    """Tell whether a page is served."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as reply:
        return reply.status == 200
    return False


@contextmanager
def serving(*arguments: str, script: Path = ROOT / "app.py") -> Iterator[tuple[str, float]]:
    """Run `python app.py` on a free port; gives its address and the seconds until the page was served."""
    port = free_port()
    url, begin = f"http://127.0.0.1:{port}/", time.monotonic()
    command = [sys.executable, str(script), "--port", str(port), *arguments]
    # A file, not a pipe: nobody reads while the tests run, and a full pipe would stop the server.
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, env=os.environ | {"NO_PROXY": "*"}
    ) as server:
        try:
            while not answers(url):
                assert server.poll() is None, f"the app stopped with code {server.returncode}"
                assert time.monotonic() - begin < START_LIMIT, "the app did not serve its page"
                time.sleep(0.05)
            yield url, time.monotonic() - begin
        finally:
            server.terminate()


@contextmanager
def browsing(playwright, **settings) -> Iterator:
    """Open a page in a headless Chromium."""
    browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
    try:
        yield browser.new_context(**settings).new_page()
    finally:
        browser.close()


READY = "() => window.vidgen?.shown?.count > 0 && window.vidgen.adopted"
