"""What the C library does with freed memory. Pages given back to the system come anew one by one, which can
cost more than what is computed in them.
"""

from __future__ import annotations

import ctypes
import platform
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
MOST = 2**31 - 1  # bytes; what its int holds
PADDING = 256 << 20


def keep_freed() -> bool:
    """Let this process use freed memory again, also blocks of over 32 MiB, which glibc would give back.

    Returns whether that was possible: with a recent glibc only; others have rules of their own.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # An old glibc refuses so much, and must be left as it is: any of these ends its own adapting.
    if not mallopt(M_MMAP_THRESHOLD, MOST):
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, MOST)) and bool(mallopt(M_TOP_PAD, PADDING))
