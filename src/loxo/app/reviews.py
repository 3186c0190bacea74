"""The review page of each run inside the app, below /runs/ID/review/.

A session is opened when its page is requested for the first time, and opened again when the run has changed since. It
holds the decision log of the reviewer until the app ends.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from loxo.errors import LoxoError
from loxo.review.front import Files, Front, review_files
from loxo.review.guard import App, Receive, Scope, Send
from loxo.review.serving import account
from loxo.runs.record import RECORD

if TYPE_CHECKING:
    from loxo.review.session import Session

HEADING = b"<h1>Loxo "
BACK = '<h1><a href="../../../#/runs/{}">← Loxo</a> '


class Reviews:
    """The open review sessions. `path_of` returns the folder of a run by its ID, or raises LoxoError."""

    def __init__(self, path_of: Callable[[str], Path]) -> None:
        self._path_of = path_of
        self._files = review_files()
        self._open: dict[str, tuple[int, Session, Front]] = {}
        self._lock = threading.Lock()

    async def serve(self, id: str, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request of the page of a run; `path` is the part behind /runs/ID/review."""
        front = await asyncio.to_thread(self._front, id, path == "/")
        await front({**scope, "path": path, "raw_path": path.encode(), "root_path": ""}, receive, send)

    def _front(self, id: str, is_page: bool) -> Front:
        folder = self._path_of(id)
        with self._lock:
            try:
                changed = (folder / RECORD).stat().st_mtime_ns
            except OSError:
                changed = 0
            known = self._open.get(id)
            if known is not None and (not is_page or known[0] == changed):
                return known[2]
            if known is not None:
                del self._open[id]
                known[1].close()
            session, api = self._session(folder)
            front = Front(api, self._page(id))
            if session is not None:
                self._open[id] = changed, session, front
            return front

    def _session(self, folder: Path) -> tuple[Session | None, Future[App]]:
        from loxo.review.app import create_api
        from loxo.review.session import Session

        api: Future[App] = Future()
        try:
            session = Session(folder, account())
        except LoxoError as error:  # the page states the reason
            api.set_exception(error)
            return None, api
        api.set_result(create_api(session, local=True))
        return session, api

    def _page(self, id: str) -> Files:
        kind, page = self._files["/"]
        return self._files | {"/": (kind, page.replace(HEADING, BACK.format(id).encode()))}

    def close(self) -> None:
        with self._lock:
            for _, session, _ in self._open.values():
                session.close()
            self._open.clear()
