"""Serves the page's files at once, and the API as soon as the run is read.

Reading a run of a hundred thousand events takes a moment, in which the browser starts and loads the page. Requests
about events wait until the run is read. If it cannot be opened, they are answered with the reason.
"""

from __future__ import annotations

import asyncio
import html
import json
from concurrent.futures import Future
from importlib.resources import files

from loxo.errors import LoxoError
from loxo.languages import NAME, languages, read_catalogue, translated
from loxo.report.page import colours
from loxo.review.guard import App, Receive, Scope, Send

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


Files = dict[str, tuple[str, bytes]]  # type and content, by path


class Front:
    """ASGI application: GET of `files` from memory, all other requests from the `api` once it is set."""

    def __init__(self, api: Future[App], files: Files) -> None:
        self._api = api
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        file = self._files.get(scope.get("path", "")) if scope["type"] == "http" else None
        if file is not None and scope["method"] in ("GET", "HEAD"):
            await _answer(send, 200, file[0], file[1] if scope["method"] == "GET" else b"")
            return
        try:
            api = await asyncio.shield(asyncio.wrap_future(self._api))
        except LoxoError as error:
            await _answer(send, 400, "application/json", json.dumps({"error": translated(str(error))}).encode())
            return
        await api(scope, receive, send)


async def _answer(send: Send, status: int, kind: str, content: bytes) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def review_files(sample: int | None = None) -> Files:
    """The files of the review page. `sample`: number of events of each class in its first list."""
    found = page_files("loxo.review")
    if sample is not None:
        kind, page = found["/"]
        found["/"] = kind, page.replace(b'name="sample"', f'name="sample" value="{sample}"'.encode())
    return found


def page_files(package: str) -> Files:
    """The files of the page in `static` of a package; index.html is "/". They are read once; no other file can be
    requested."""
    found = static_files(package)
    kind, page = found.pop("/static/index.html")
    names = json.dumps({"en": "English"} | {code: str(read_catalogue(code)[NAME]) for code in languages()})
    meta = f'<meta name="languages" content="{html.escape(names)}">\n'
    found |= {
        f"/static/languages/{code}.json": ("application/json", json.dumps(read_catalogue(code)).encode())
        for code in languages()
    }
    # The browser requests the modules named in the page at once, instead of one after the other by their imports.
    modules = (f'<link rel="modulepreload" href="{path[1:]}">\n' for path in sorted(found) if path.endswith(".js"))
    found["/"] = (kind, page.replace(b"</head>", f"{meta}{''.join(modules)}</head>".encode()))
    return found


def static_files(package: str) -> Files:
    """The files in `static` and `static/js` of a package, and the colours of all pages."""
    root = files(package) / "static"
    found = {}
    for folder, path in ((root, "/static/"), (root / "js", "/static/js/")):
        for file in folder.iterdir():
            kind = TYPES.get("." + file.name.rpartition(".")[2])
            if kind is not None and file.is_file():
                found[path + file.name] = (kind, file.read_bytes())
    found["/static/colours.css"] = (TYPES[".css"], colours().encode())
    return found
