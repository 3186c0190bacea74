"""The page's files at once, and everything else as soon as the run is read.

A run of a hundred thousand events takes a moment to read; the browser spends it with starting and with loading the
page. What it asks about events in the meantime waits. When the run cannot be opened, that is what it is answered.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from importlib.resources import files

from loxo.errors import LoxoError
from loxo.review.guard import App, Receive, Scope, Send

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Front:
    """ASGI application: GET / and /static/NAME from memory, whatever else from the `api`, once that is there.

    `sample`: so many events of each class the page begins with.
    """

    def __init__(self, api: Future[App], sample: int | None = None) -> None:
        self._api = api
        self._files = _static(sample)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        file = self._files.get(scope.get("path", "")) if scope["type"] == "http" else None
        if file is not None and scope["method"] in ("GET", "HEAD"):
            await _answer(send, 200, file[0], file[1] if scope["method"] == "GET" else b"")
            return
        try:
            api = await asyncio.shield(asyncio.wrap_future(self._api))
        except LoxoError as error:
            await _answer(send, 400, "application/json", json.dumps({"error": str(error)}).encode())
            return
        await api(scope, receive, send)


async def _answer(send: Send, status: int, kind: str, content: bytes) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _static(sample: int | None) -> dict[str, tuple[str, bytes]]:
    """Type and content of the page's files by path, read once: what is not among them cannot be asked for."""
    root = files("loxo.review") / "static"
    found = {}
    for folder, path in ((root, "/static/"), (root / "js", "/static/js/")):
        for file in folder.iterdir():
            kind = TYPES.get("." + file.name.rpartition(".")[2])
            if kind is not None and file.is_file():
                found[path + file.name] = (kind, file.read_bytes())
    kind, page = found.pop("/static/index.html")
    # Named in the page, the modules are asked for all at once, not as each one's imports come to light.
    modules = (f'<link rel="modulepreload" href="{path}">\n' for path in sorted(found) if path.endswith(".js"))
    page = page.replace(b"</head>", "".join(modules).encode() + b"</head>")
    if sample is not None:
        page = page.replace(b'name="sample"', f'name="sample" value="{sample}"'.encode())
    found["/"] = (kind, page)
    return found
