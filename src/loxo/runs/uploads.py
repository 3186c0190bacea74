"""Background upload of the finished files of a folder to object storage.

Each file is uploaded as a whole object, so nobody ever sees an incomplete one, and is then removed from the folder.
Files that are still in the folder are not uploaded yet.

Failure policy: an upload that has failed in all its attempts (loxo.audio.remote) is postponed. While the storage does
not answer, only one upload in PAUSE_S is attempted. `finish` attempts all of them once more and reports failures.
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
from loxo.files import inside

THREADS = 4  # simultaneous uploads; the upload of a small table is mostly waiting
PAUSE_S = 60.0  # between two attempts while the storage does not answer


class Uploads:
    """Uploads files in `folder` to the same relative paths at `address`. Adds the sizes of the objects to `sizes`."""

    def __init__(self, folder: Path, address: str, sizes: dict[str, int]) -> None:
        self.folder, self.address, self.sizes = folder, address, sizes
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._postponed: set[str] = set()
        self._fault: StorageError | None = None
        self._retry_at = 0.0
        self._threads: list[threading.Thread] = []

    def put(self, name: str) -> None:
        """Uploads a file as soon as possible. It must not be written again in this run."""
        self._queue.put(name)
        if len(self._threads) < THREADS:  # daemons: an upload that the end of the process interrupts leaves no object
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()

    def finish(self) -> None:
        """Waits until everything is uploaded. Raises LoxoError when an upload has failed."""
        self._drain()
        if self._postponed:
            self._fault, postponed, self._postponed = None, sorted(self._postponed), set()
            for name in postponed:
                self.put(name)
            self._drain()
        if self._postponed:
            count = "1 file" if len(self._postponed) == 1 else f"{len(self._postponed)} files"
            raise LoxoError(
                f"{self.address}: {count} of the run could not be uploaded and are still in {self.folder}. Give the "
                f"same command again to resume. {self._fault}"
            ) from self._fault

    def _drain(self) -> None:
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _work(self) -> None:
        while (name := self._queue.get()) is not None:
            if self._fault is not None and time.monotonic() < self._retry_at:
                self._postponed.add(name)
                continue
            self._retry_at = time.monotonic() + PAUSE_S
            try:
                self._upload(name)
                self._fault = None
            except StorageError as error:
                self._fault, self._retry_at = error, time.monotonic() + PAUSE_S
                self._postponed.add(name)

    def _upload(self, name: str) -> None:
        path = inside(self.folder, name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # uploaded already: `put` was called twice
            return
        except OSError as error:
            raise StorageError(f"{path}: the file cannot be read for its upload ({error.strerror}).") from error
        write_bytes(join(self.address, name), data)
        self.sizes[name] = len(data)
        with suppress(OSError):
            path.unlink()
