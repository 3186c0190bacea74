"""The review page of a run, served by a thread of the test, and what a test asks of it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from loxo.review.app import create_app
from loxo.review.guard import Guard
from loxo.review.session import Session

TOKEN = "a-token-of-the-test"


@dataclass
class Page:
    address: str  # without the token
    app: Guard
    session: Session


@contextmanager
def served(run: Path, **options) -> Iterator["Page"]:
    """The page of the reviewer Ana. `options`: those of Session."""
    session = Session(run, "Ana", **options)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(session, TOKEN)
        config = uvicorn.Config(app, log_level="error", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Page(f"http://127.0.0.1:{listener.getsockname()[1]}/", app, session)
        finally:
            server.should_exit = True
            thread.join()
            session.close()


# Keeps all texts that are drawn on canvases since the last picture began.
TEXTS = """
window.texts = new Set();
const draw = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
  window.texts.add(String(text));
  return draw.call(this, text, ...rest);
};
"""


@contextmanager
def opened(browser, served: Page, width: int = 1280, height: int = 800, scheme: str = "dark", touch: bool = False):
    """The page in a new window. An error on its console fails the test, but for refused requests (status 400)."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=touch, is_mobile=touch
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.add_init_script(TEXTS)
    served.app.token = TOKEN  # for one more browser
    page.goto(f"{served.address}?token={TOKEN}")
    page.wait_for_selector("body[data-shown]")
    yield page
    context.close()
    faults = [fault for fault in faults if "400 (Bad Request)" not in fault]
    assert not faults, faults


def shown(page, row) -> None:
    page.wait_for_selector(f'body[data-shown="{row}"]')


def saved(page, actions: int) -> None:
    """Waits until so many actions are on disk and the page takes the next decision."""
    page.wait_for_selector(f'body[data-actions="{actions}"]:not([data-deciding])')
