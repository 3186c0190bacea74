"""`loxo review`: opens the run, the port and a browser, and serves until it is stopped."""

from __future__ import annotations

import getpass
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from loxo.errors import LoxoError
from loxo.review.session import Session

PORT = 8750  # tried first, so that a forwarded port stays the same


def serve(
    run: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    browser: bool = True,
    recordings: str | Path | None = None,
    reviewer: str | None = None,
    sample: int | None = None,
    on_address: Callable[[str, Session], None] | None = None,
) -> None:
    """Serves the review page of a run folder until Ctrl-C; every decision is on the disk by then.

    `host` is the address to listen on, `port` the port (None: PORT, or any free one). `recordings` is a folder where
    moved recordings are found by name. `reviewer` names the journal (None: the name of the user's account), `sample`
    makes the page begin with so many events of each class. `on_address` is told the address, token included.
    Raises LoxoError when the run or the port cannot be opened.
    """
    try:
        import uvicorn

        from loxo.review.app import create_app
    except ImportError as error:
        raise LoxoError(f"The review page needs {error.name}: pip install 'loxo[review]'.") from error
    listener = _listen(host, port)
    with listener:
        session = Session(run, reviewer or _account(), recordings)
        token = secrets.token_urlsafe(24)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}/?token={token}"
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(session, token, host, sample),
                log_level="warning",
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        try:
            if on_address is not None:
                on_address(address, session)
            if browser:
                # The port is open already: the browser waits until the first request is answered.
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            pass
        finally:
            session.close()


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
    raise LoxoError(f"{host}:{port or PORT} cannot be listened on ({reason}). Give another --port or --host.")


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        return "reviewer"
