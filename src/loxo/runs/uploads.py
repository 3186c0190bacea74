"""Files of a folder, put to an address of object storage behind the back of whoever writes them.

A file is put as a whole object, so that nobody ever sees a torn one, and then removed from the folder: what lies there
is still to be put. Failure policy: an upload that has failed in all its attempts (remote.py) is left for later, and
while the storage does not answer only one in PAUSE_S is tried; `finish` tries all of them once more, and says what is
left.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from pathlib import Path

from loxo.audio.remote import StorageError
from loxo.audio.storage import join, write_bytes
from loxo.errors import LoxoError

THREADS = 4  # uploads at once; most of an upload of a small table is waiting
PAUSE_S = 60.0  # between two attempts while the storage does not answer


class Uploads:
    """Puts files below `folder` to the same names below `address`. `sizes` learns the bytes of what is there."""

    def __init__(self, folder: Path, address: str, sizes: dict[str, int]) -> None:
        self.folder, self.address, self.sizes = folder, address, sizes
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._later: set[str] = set()
        self._fault: StorageError | None = None
        self._again_at = 0.0
        self._threads: list[threading.Thread] = []

    def put(self, name: str) -> None:
        """Puts a file as soon as may be. It must not be written again in this run."""
        self._queue.put(name)
        if len(self._threads) < THREADS:  # they end with the process: an upload that is cut short leaves nothing
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()

    def finish(self) -> None:
        """Waits until everything is put. Raises LoxoError when something could not be."""
        self._drain()
        if self._later:
            self._fault, later, self._later = None, sorted(self._later), set()
            for name in later:
                self.put(name)
            self._drain()
        if self._later:
            count = "1 file" if len(self._later) == 1 else f"{len(self._later)} files"
            raise LoxoError(
                f"{self.address}: {count} of the run could not be put there and still lie in {self.folder}; the same "
                f"command goes on from there. {self._fault}"
            ) from self._fault

    def _drain(self) -> None:
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _work(self) -> None:
        while (name := self._queue.get()) is not None:
            if self._fault is not None and time.monotonic() < self._again_at:
                self._later.add(name)
                continue
            self._again_at = time.monotonic() + PAUSE_S
            try:
                self._upload(name)
                self._fault = None
            except StorageError as error:
                self._fault, self._again_at = error, time.monotonic() + PAUSE_S
                self._later.add(name)

    def _upload(self, name: str) -> None:
        path = self.folder / name
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # it was asked for twice
            return
        except OSError as error:
            raise StorageError(f"{path}: the file cannot be read to be put away ({error.strerror}).") from error
        write_bytes(join(self.address, name), data)
        self.sizes[name] = len(data)
        with suppress(OSError):
            path.unlink()
