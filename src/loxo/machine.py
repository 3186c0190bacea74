"""What Loxo asks of the machine it runs on."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def user_cache() -> Path:
    """Loxo's folder in the user's cache: what can be made again. It may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loxo"


@contextmanager
def gc_paused() -> Iterator[None]:
    """Around imports of large packages: the garbage collector rests, and leaves what they have made alone afterwards.

    It would go through all of it again and again and find nothing: a sixth of the time of importing torch and pandas.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.freeze()
            gc.enable()


def use_one_thread() -> None:
    """From now on numerical libraries use one thread in this process, PyTorch included where it is imported."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Numerical libraries use one thread in this block, PyTorch included where it is imported."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    threads = None if torch is None else torch.get_num_threads()
    with threadpool_limits(limits=1):
        try:
            if torch is not None:
                torch.set_num_threads(1)
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Lets the C library keep the memory that a step of computation frees, on Linux.

    By default every large tensor is mapped anew and cleared page by page: a tenth of the time of a step and more.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc does it its own way
            library = ctypes.CDLL(None)
            library.mallopt(M_MMAP_MAX, 0)
            library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
