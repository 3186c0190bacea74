"""Access control of the page's server: no requests without a key, from other web pages, or to foreign host names.

An address `/?token=...` works once: the token is exchanged for a cookie with the key, which no page and no script can
read. The browser that has the cookie may open any number of tabs. When a token is used again by a browser without the
cookie, a page says how to go on, and `renewed` receives another token.

A request is refused before it is processed if

- its Host is neither a loopback name, nor an IP address, nor the host that the user gave (DNS rebinding: a foreign name
  that resolves to this computer);
- its Origin differs from its Host, or the browser marks it as sent by another site (cross-site requests);
- it has neither the cookie nor an unused token. Both are compared in constant time;
- its body is larger than MAX_BODY, declared or not, or is not JSON.

The headers of every answer forbid the browser to load anything from other servers, to guess content types, and to show
the page in a frame.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import ipaddress
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from loxo.languages import current, speaking, text, translated
from loxo.review.login import MAX_FORM, PATH, POLICY, SESSION_S, Login

MAX_BODY = 256 * 1024  # bytes
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

HTML = "text/html; charset=utf-8"
PAGE = '<!doctype html>\n<html lang="{}"><meta charset="utf-8"><title>Loxo</title><p>{}</p></html>\n'
FORWARD = '<!doctype html>\n<meta http-equiv="refresh" content="0;url={}"><title>Loxo</title>\n'
AGAIN = (
    "This address works once, and it was used before. In the browser that used it, open http://{0}/ instead. For "
    "another browser, open the new address that {1} has printed in its terminal just now."
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Refused(Exception):
    """A refused request: status, sentence."""


def new_token() -> str:
    return secrets.token_urlsafe(24)


class Guard:
    """ASGI middleware that requires `token` once, and its cookie afterwards.

    `host` is the address that the user gave to listen on. `used` is called when a token was exchanged, `renewed` with
    another token when a used token was given again. `command` is the one that serves the page, for messages. With a
    `password`, nobody has a token: the login page gives a session to those who know the password (login.py).
    """

    def __init__(
        self,
        app: App,
        token: str,
        host: str = "127.0.0.1",
        *,
        command: str = "loxo review",
        password: str | None = None,
        used: Callable[[], None] = lambda: None,
        renewed: Callable[[str], None] = lambda token: None,
    ) -> None:
        self.app, self.host, self.used, self.renewed, self.command = app, host, used, renewed, command
        self.login = None if password is None else Login(password)
        self.token = token if password is None else None  # the unused one
        self._spent: list[str] = []
        self._key = new_token()
        # Cookies are shared between ports: two servers on one computer must not overwrite each other's cookie.
        self.cookie = "loxo_" + hashlib.sha256(self._key.encode()).hexdigest()[:8]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # only HTTP is served
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        with speaking(headers.get("accept-language", "")):
            await self._serve(scope, headers, receive, send)

    async def _serve(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        try:
            if self.login is not None and scope["path"] == PATH and scope["method"] == "POST":
                await self._log_in(self.login, scope, headers, receive, send)
                return
            fresh = self._check(scope, headers)
            body = await _body(scope, headers, receive)
        except Refused as refusal:
            status, sentence = refusal.args
            if self.login is not None and status == 401 and scope["path"] in ("/", PATH):
                await _answer_login(send, 200)
                return
            await _answer(send, status, sentence, page=scope["path"] in ("/", PATH))
            return
        if fresh:  # removes the token from the address bar, the history and screenshots
            cookie = f"{self.cookie}={self._key}; Path=/; HttpOnly; SameSite=Strict"
            if headers.get("sec-fetch-site", "none") == "none":
                await _answer(send, 303, "", {"location": "/", "set-cookie": cookie})
            else:  # opened by a local file: browsers send the cookie only to an address that this server's page opens
                await _answer(send, 200, FORWARD.format("/"), {"set-cookie": cookie, "content-type": HTML})
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                extra = ((name.encode(), value.encode()) for name, value in HEADERS.items())
                message["headers"] = [*message["headers"], *(pair for pair in extra if pair[0] not in known)]
            await send(message)

        await self.app(scope, body, guarded)

    async def _log_in(self, login: Login, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        """Answers a password from the login page. Raises Refused."""
        self._check_origin(headers)
        if headers.get("origin") is None and headers.get("sec-fetch-site") is None:
            raise Refused(403, f"Other web pages may not send requests to {self.command}.")
        address = str((scope.get("client") or [""])[0])
        if login.is_blocked(address):
            await _answer_login(send, 429, text("Too many wrong passwords. Wait five minutes."))
            return
        form = await _content(headers, receive, MAX_FORM)
        key = login.open(form, address)
        if key is None:
            await _answer_login(send, 401, text("The password is wrong."))
            return
        cookie = f"{self.cookie}={key}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={SESSION_S:.0f}"
        await _answer(send, 303, "", {"location": "/", "set-cookie": cookie})

    def _check_origin(self, headers: dict[str, str]) -> None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_own(host):
            raise Refused(403, f"This is not the address of {self.command}. Open the address that it has printed.")
        is_foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        if is_foreign or headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise Refused(403, f"Other web pages may not send requests to {self.command}.")

    def _check(self, scope: Scope, headers: dict[str, str]) -> bool:
        """Raises Refused for a request that is not allowed. Returns True if its address contains a token to remove."""
        host = headers.get("host", "")
        if not self._is_own(host):
            raise Refused(403, f"This is not the address of {self.command}. Open the address that it has printed.")
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and scope["method"] == "GET" and given:
            self._exchange(given, headers)
            return True
        if self._has_cookie(headers):
            self._check_origin(headers)
            return False
        if self.login is not None and scope["path"] == "/":
            raise Refused(401, "Log in.")  # also by a link in another page
        self._check_origin(headers)
        if self.login is not None:
            raise Refused(401, "Log in again: reload the page.")
        raise Refused(401, f"The token is missing. Open the whole address that {self.command} has printed.")

    def _exchange(self, given: str, headers: dict[str, str]) -> None:
        """Accepts an unused token, or a used one from the browser that has used it. Raises Refused for all others."""
        if self.token is not None and _is_equal(given, self.token):
            self._spent.append(self.token)
            self.token = None
            self.used()
            return
        if not any(_is_equal(given, token) for token in self._spent):
            raise Refused(401, f"The token is wrong. Open the address that {self.command} has printed last.")
        if self._has_cookie(headers):
            return
        if self.token is None:
            self.token = new_token()
            self.renewed(self.token)
        raise Refused(401, AGAIN.format(headers.get("host", ""), self.command))

    def _has_cookie(self, headers: dict[str, str]) -> bool:
        key = _cookie(headers.get("cookie", ""), self.cookie)
        return _is_equal(key, self._key) if self.login is None else self.login.is_open(key)

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
        # An IP address cannot be rebound. On a loopback host only loopback addresses are allowed.
        return address.is_loopback or not is_loopback(self.host)


def _is_equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach the host."""
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
    """The whole body, up to MAX_BODY, as a `receive` for the application. Raises Refused."""
    if scope["method"] not in ("GET", "HEAD") and not headers.get("content-type", "").startswith("application/json"):
        raise Refused(415, "The body of a request must be JSON.")
    content = await _content(headers, receive, MAX_BODY)
    whole: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def replay() -> Message:
        return whole.pop() if whole else await receive()

    return replay


async def _content(headers: dict[str, str], receive: Receive, most: int) -> bytes:
    """The body of a request, of at most `most` bytes. Raises Refused."""
    too_large = Refused(413, f"The body of a request has at most {most} bytes.")
    declared = headers.get("content-length", "0")
    if not declared.isdigit() or len(declared) > 12 or int(declared) > most:
        raise too_large
    content = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        content += message.get("body", b"")
        if len(content) > most:
            raise too_large
        more = message.get("more_body", False)
    return content


async def _answer_login(send: Send, status: int, fault: str = "") -> None:
    # With the usual policy for referrers, browsers would send the form without its origin.
    headers = {"content-type": HTML, "content-security-policy": POLICY, "referrer-policy": "same-origin"}
    await _answer(send, status, Login.page(fault), headers)


async def _answer(
    send: Send, status: int, sentence: str, extra: dict[str, str] | None = None, page: bool = False
) -> None:
    if page:
        sentence, extra = (
            PAGE.format(current(), html.escape(translated(sentence))),
            {"content-type": HTML} | (extra or {}),
        )
    headers = HEADERS | {"content-type": "text/plain; charset=utf-8", "connection": "close"} | (extra or {})
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": sentence.encode()})
