"""The login page of a server that other computers can open (access.py), and its sessions.

Each login makes a session of SESSION_S with its own cookie. After MAX_ATTEMPTS wrong passwords from one address in
WINDOW_S, further ones from it are refused unread; also after MAX_ALL from all addresses together. The page needs no
script.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import secrets
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import parse_qs

from loxo.languages import current, text

PATH = "/login"
SESSION_S = 12 * 3600.0
WINDOW_S = 300.0
MAX_ATTEMPTS, MAX_ALL = 5, 100  # wrong passwords in WINDOW_S
MAX_FORM = 4096  # bytes
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1.1rem system-ui,sans-serif;max-width:22rem;margin:15vh auto;padding:0 1rem}"
    "label{display:block;margin:1rem 0 .3rem}input,button{font:inherit;padding:.5rem;box-sizing:border-box;width:100%}"
    "button{margin-top:1rem}.fault{color:light-dark(#a11,#f88)}"
)
PAGE = (
    '<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8"><title>Loxo</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head><body><main>'
    '<h1>Loxo</h1>{fault}<form method="post" action="/login"><label for="password">{label}</label>'
    '<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>'
    "<button>{button}</button></form></main></body></html>\n"
)


class Login:
    """Checks passwords and sessions. `clock`: seconds, for tests."""

    def __init__(self, password: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._digest = _digest(password)
        self._clock = clock
        self._sessions: dict[str, float] = {}  # digests of keys, with the end of the session
        self._wrong: deque[tuple[float, str]] = deque()

    def is_open(self, key: str) -> bool:
        """Whether a cookie belongs to a session that has not ended."""
        return self._sessions.get(_digest(key), 0.0) > self._clock()

    def is_blocked(self, address: str) -> bool:
        while self._wrong and self._wrong[0][0] < self._clock() - WINDOW_S:
            self._wrong.popleft()
        own = sum(where == address for _, where in self._wrong)
        return own >= MAX_ATTEMPTS or len(self._wrong) >= MAX_ALL

    def open(self, form: bytes, address: str) -> str | None:
        """The key of a new session, or None for a wrong password."""
        given = parse_qs(form.decode(errors="replace"), keep_blank_values=True).get("password", [""])[0]
        if not hmac.compare_digest(_digest(given), self._digest):
            self._wrong.append((self._clock(), address))
            return None
        now = self._clock()
        self._sessions = {key: end for key, end in self._sessions.items() if end > now}
        key = secrets.token_urlsafe(24)
        self._sessions[_digest(key)] = now + SESSION_S
        return key

    @staticmethod
    def page(fault: str = "") -> str:
        """The login page in the language of the request, with a sentence about what was wrong."""
        sentence = f'<p class="fault" role="alert">{html.escape(fault)}</p>' if fault else ""
        words = {"label": text("Password"), "button": text("Log in"), "fault": sentence}
        return PAGE.format(language=current(), style=STYLE, **words)


def _digest(words: str) -> str:
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()
