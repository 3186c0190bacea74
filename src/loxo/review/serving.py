"""Serves a page and its API on a port of this computer, behind the guard, until Ctrl-C. It imports nothing large: the
browser starts while the API is opened."""

from __future__ import annotations

import gc
import getpass
import html
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from loxo.errors import LoxoError
from loxo.review.front import Files, Front
from loxo.review.guard import FORWARD, App, Guard, new_token

if TYPE_CHECKING:
    import uvicorn

    from loxo.review.access import Access

Opened = tuple[App, Callable[[], None]]  # an API, and a function to call at the end


class Stop:
    """Stops the server when it is called. `requested`: whether the server is stopping, for whatever reason."""

    def __init__(self, server: uvicorn.Server) -> None:
        self._server = server

    def __call__(self) -> None:
        self._server.should_exit = True

    @property
    def requested(self) -> bool:
        return self._server.should_exit


OpenApi = Callable[[Stop], Opened]

PORT = 8750  # tried first, so that port forwarding can use a constant port


def serve_page(
    files: Files,
    open_api: OpenApi,
    command: str,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    browser: bool = True,
    on_address: Callable[[str], None] | None = None,
    access: Access | None = None,
) -> None:
    """Serves the files of a page at once, and its API as soon as `open_api` returns it, behind the guard, until Ctrl-C.

    `open_api` also returns a function to call at the end. `command` is
    the command that serves the page. With an `access`, the connection is encrypted, and the address has a password in
    place of a token. Other parameters as in `serve`.
    """
    import uvicorn

    token = new_token()
    api: Future[App] = Future()
    with _listen(host, port) as listener, ExitStack() as door:
        shown = f"[{host}]" if ":" in host else host
        page = f"http://{shown}:{listener.getsockname()[1]}/?token="
        if access is not None:
            page, token = f"https://{shown}:{listener.getsockname()[1]}/", ""

        def renewed(token: str) -> None:
            if on_address is not None:
                on_address(page + token)

        server = uvicorn.Server(
            uvicorn.Config(
                Guard(
                    Front(api, files),
                    token,
                    host,
                    command=command,
                    password=None if access is None else access.password,
                    used=door.close,
                    renewed=renewed,
                ),
                ssl_certfile=None if access is None else access.certificate,
                ssl_keyfile=None if access is None else access.key,
                log_level="warning",
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        opening = _Opening(api, server, open_api)
        try:
            renewed(token)
            if browser:
                # The port is already open: the browser waits until the first request is answered.
                file = _door(page + token, door)
                threading.Thread(target=webbrowser.open, args=(file.as_uri(),), daemon=True).start()
            opening.start()
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            pass
        finally:
            opening.end()
    if opening.fault is not None:
        raise opening.fault


class _Opening(threading.Thread):
    """Opens the API while the browser loads the page. An error stops the server and is stored in `fault`."""

    def __init__(self, api: Future[App], server: uvicorn.Server, open_api: OpenApi) -> None:
        super().__init__(name="loxo-opening")
        self.api, self.server, self.open_api = api, server, open_api
        self.close: Callable[[], None] | None = None
        self.fault: BaseException | None = None

    def run(self) -> None:
        # Imported modules and the run stay in memory until the end. Searching them for garbage would take a tenth of
        # the time here, and would delay later answers.
        gc.disable()
        try:
            api, self.close = self.open_api(Stop(self.server))
            self.api.set_result(api)
            gc.freeze()
        except BaseException as error:  # reported by the serving thread
            self.fault = error
            if not self.api.done():
                self.api.set_exception(error)
            self.server.should_exit = True
        finally:
            gc.enable()

    def end(self) -> None:
        if self.ident is not None:
            self.join()
        if self.close is not None:
            self.close()


def _door(address: str, door: ExitStack) -> Path:
    """A file that forwards to the address, removed with `door`. Every account can read the command line of a browser,
    but only this one the file."""
    folder = Path(door.enter_context(tempfile.TemporaryDirectory(prefix="loxo-", ignore_cleanup_errors=True)))
    file = folder / "review.html"
    file.touch(0o600)
    file.write_text(FORWARD.format(html.escape(address)), encoding="utf-8")
    return file


def _listen(host: str, port: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in (port,) if port is not None else (PORT, 0):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
            listener.listen(128)
            return listener
        except (OSError, OverflowError) as error:
            listener.close()
            reason = getattr(error, "strerror", None) or str(error)
    raise LoxoError(f"The server cannot listen on {host}:{port or PORT} ({reason}). Give another --port or --host.")


def account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        return "reviewer"
