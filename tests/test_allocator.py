"""Freed memory is used again: counted in fresh pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from train import allocator

COUNT = """
import resource, sys, torch
from train import allocator
if sys.argv[1] == "keep":
    assert allocator.keep_freed()
def work():
    maps = [torch.zeros(10 << 20) for _ in range(3)]  # of 40 MiB each
for _ in range(12):  # 4 to 6, seen 30 times, until the heap is laid out
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def fresh_pages(way: str) -> int:
    run = subprocess.run([sys.executable, "-c", COUNT, way], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="The C library has rules of its own.")
def test_freed_memory_is_used_again() -> None:
    assert fresh_pages("keep") < 1_000 < 50_000 < fresh_pages("leave")


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not allocator.keep_freed()
