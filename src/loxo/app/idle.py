"""Stops a server that nobody uses: one that was started by an icon has no terminal to stop it with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from loxo.review.guard import App, Message, Receive, Scope, Send

CHECK_S = 5.0


class WhileUsed:
    """ASGI middleware that calls `stop` when nothing was sent for `idle_s`. An open page asks every few seconds."""

    def __init__(self, app: App, idle_s: float, stop: Callable[[], None], check_s: float = CHECK_S) -> None:
        self.app, self.idle_s, self.stop, self.check_s = app, idle_s, stop, check_s
        self.used_at = time.monotonic()
        threading.Thread(target=self._watch, name="loxo-idle", daemon=True).start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            self.used_at = time.monotonic()
            await send(message)

        await self.app(scope, receive, noted)

    def _watch(self) -> None:
        while time.monotonic() - self.used_at < self.idle_s:
            time.sleep(self.check_s)
        self.stop()
