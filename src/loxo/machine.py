"""Properties and settings of the machine and of this process."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # glibc's malloc.h
MAPPED_BYTES = 64 << 10  # memory blocks from this size on are mapped one by one, and returned when they are freed


def usable_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def user_cache() -> Path:
    """Returns Loxo's folder in the user's cache, for files that can be recreated. It may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loxo"


# A process of a single-file program (packaging/) unpacks the program itself, and does not use the files of its parent,
# which are deleted when the parent ends.
ON_ITS_OWN = {"PYINSTALLER_RESET_ENVIRONMENT": "1"}


def user_data() -> Path:
    """Returns Loxo's folder for data that must be kept: LOXO_HOME, or the usual place of this system. It may not exist
    yet."""
    if home := os.environ.get("LOXO_HOME"):
        return Path(home)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "Loxo"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Loxo"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "loxo"


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pauses the garbage collector during imports of large packages, and excludes their objects from later collections.

    The collector would scan these objects repeatedly and free nothing. This takes a sixth of the import time of PyTorch
    and pandas.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()


def use_one_thread() -> None:
    """From now on numerical libraries use one thread in this process, PyTorch included where it is imported."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


def numpy_on_one_thread() -> None:
    """From now on products of numpy use one thread in this process; PyTorch keeps its threads.

    In training, both sets of threads would wait for each other: an iteration takes half as long again.
    """
    from threadpoolctl import ThreadpoolController

    ThreadpoolController().select(internal_api="openblas").limit(limits=1)


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


def return_freed_memory() -> None:
    """Returns freed memory to the system on Linux, now and from now on: for a process that computes for a moment and
    then waits. It is the opposite of keep_freed_memory."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(M_MMAP_MAX, 1 << 16)
            library.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
            library.mallopt(M_TRIM_THRESHOLD, MAPPED_BYTES)
            library.malloc_trim(0)


def keep_freed_memory() -> None:
    """Lets the C library reuse the memory of freed tensors on Linux, instead of returning it to the system.

    By default, the system maps and clears the pages of each large tensor again. This takes at least a tenth of the time
    of a training iteration.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc has no such settings
            library = ctypes.CDLL(None)
            library.mallopt(M_MMAP_MAX, 0)
            library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
