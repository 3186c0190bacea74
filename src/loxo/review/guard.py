"""Who may talk to the page's server: nobody without the token, no other web page, no name that is not this computer's.

A request is refused, before anything of it is looked at, when

- its Host is neither a loopback name, a bare address, nor the host that was asked for (DNS rebinding: a foreign name
  that suddenly points to this computer);
- its Origin is another one than its Host, or the browser says that another site sent it (cross-site requests);
- it brings no token: as cookie, or once in the address `/?token=...`, which sets the cookie. Compared in constant time;
- its body is larger than LARGEST_BODY, declared or not, or is no JSON.

Every answer forbids the browser to load anything from elsewhere, to guess types, and to be framed.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

LARGEST_BODY = 256 * 1024  # bytes
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Refused(Exception):
    """A request that is not answered: status, sentence."""


class Guard:
    """ASGI middleware; `token` opens the door, `host` is the one that the user asked to listen on."""

    def __init__(self, app: App, token: str, host: str = "127.0.0.1") -> None:
        self.app, self.token, self.host = app, token.encode(), host
        # Cookies do not know ports: two servers of one computer must not overwrite each other's.
        self.cookie = "loxo_" + hashlib.sha256(self.token).hexdigest()[:8]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there is nothing but HTTP here
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            fresh = self._check(scope, headers)
            body = await _body(scope, headers, receive)
        except Refused as refusal:
            await _answer(send, *refusal.args)
            return
        if fresh:  # without the token in the address bar, in the history, or in a screenshot
            cookie = f"{self.cookie}={self.token.decode()}; Path=/; HttpOnly; SameSite=Strict"
            await _answer(send, 303, "", {"location": "/", "set-cookie": cookie})
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                extra = ((name.encode(), value.encode()) for name, value in HEADERS.items())
                message["headers"] = [*message["headers"], *(pair for pair in extra if pair[0] not in known)]
            await send(message)

        await self.app(scope, body, guarded)

    def _check(self, scope: Scope, headers: dict[str, str]) -> bool:
        """Raises Refused; True when the request brings the token in its address."""
        host = headers.get("host", "")
        if not self._is_own(host):
            raise Refused(403, "This address is not the one that loxo review listens on.")
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and scope["method"] == "GET" and given:
            if not self._is_token(given):
                raise Refused(401, "That is not the token. Open the address that loxo review has printed.")
            return True
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refused(403, "Another web page may not talk to loxo review.")
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise Refused(403, "Another web page may not talk to loxo review.")
        if not self._is_token(_cookie(headers.get("cookie", ""), self.cookie)):
            raise Refused(401, "Open the address, token and all, that loxo review has printed.")
        return False

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token)

    def _is_own(self, host: str) -> bool:
        try:
            name = (urlsplit("//" + host).hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in ("localhost", self.host.lower()):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # A bare address cannot be rebound; but on loopback only, no other one is right.
        return address.is_loopback or not is_loopback(self.host)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _cookie(header: str, name: str) -> str:
    try:
        jar = SimpleCookie(header)
    except CookieError:
        return ""
    return jar[name].value if name in jar else ""


async def _body(scope: Scope, headers: dict[str, str], receive: Receive) -> Receive:
    """The whole body, read at most up to the limit, as a `receive` for the application."""
    if scope["method"] not in ("GET", "HEAD") and not headers.get("content-type", "").startswith("application/json"):
        raise Refused(415, "Only JSON is taken.")
    too_large = Refused(413, f"A request has at most {LARGEST_BODY} bytes.")
    declared = headers.get("content-length", "0")
    if not declared.isdigit() or len(declared) > 12 or int(declared) > LARGEST_BODY:
        raise too_large
    content = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        content += message.get("body", b"")
        if len(content) > LARGEST_BODY:
            raise too_large
        more = message.get("more_body", False)
    whole: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def replay() -> Message:
        return whole.pop() if whole else await receive()

    return replay


async def _answer(send: Send, status: int, sentence: str, extra: dict[str, str] | None = None) -> None:
    headers = HEADERS | {"content-type": "text/plain; charset=utf-8", "connection": "close"} | (extra or {})
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": sentence.encode()})
