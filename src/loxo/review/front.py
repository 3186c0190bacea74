"""Serves the page's files at once, and the API as soon as the run is read.

Reading a run of a hundred thousand events takes a moment, in which the browser starts and loads the page. Requests
about events wait until the run is read. If it cannot be opened, they are answered with the reason.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from importlib.resources import files

from loxo.errors import LoxoError
from loxo.report.page import colours
from loxo.review.guard import App, Receive, Scope, Send

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Front:
    """ASGI application: GET / and /static/NAME from memory, all other requests from the `api` once it is set.

    `sample`: number of events of each class in the first list of the page.
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
    """Type and content of the page's files by path. They are read once; no other file can be requested."""
    root = files("loxo.review") / "static"
    found = {}
    for folder, path in ((root, "/static/"), (root / "js", "/static/js/")):
        for file in folder.iterdir():
            kind = TYPES.get("." + file.name.rpartition(".")[2])
            if kind is not None and file.is_file():
                found[path + file.name] = (kind, file.read_bytes())
    found["/static/colours.css"] = (TYPES[".css"], colours().encode())
    kind, page = found.pop("/static/index.html")
    # The browser requests the modules named in the page at once, instead of one after the other by their imports.
    modules = (f'<link rel="modulepreload" href="{path}">\n' for path in sorted(found) if path.endswith(".js"))
    page = page.replace(b"</head>", "".join(modules).encode() + b"</head>")
    if sample is not None:
        page = page.replace(b'name="sample"', f'name="sample" value="{sample}"'.encode())
    found["/"] = (kind, page)
    return found
