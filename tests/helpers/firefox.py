"""Headless Firefox for tests of pages, driven by its own protocol (Marionette)."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
PREFERENCES = """user_pref("marionette.port", {port});
user_pref("intl.accept_languages", "{language}");
user_pref("app.update.enabled", false);
"""


# What web pages put into the console: errors of scripts, and what the security policy refuses. The browser's own
# messages have other sources.
CONSOLE = """
return Services.console.getMessageArray().filter((message) => message instanceof Ci.nsIScriptError)
  .map((message) => `${message.sourceName}: ${message.errorMessage}`).filter((text) => /^https?:/.test(text));
"""


class Page:
    """The page of a window. A certificate of its own is accepted. `faults`: the console since the browser's start."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._number = connection, 0
        self._receive()
        self._do("WebDriver:NewSession", acceptInsecureCerts=True)

    def open(self, address: str) -> None:
        self._do("WebDriver:Navigate", url=address)

    def run(self, script: str) -> Any:
        """The value that a script returns."""
        return self._do("WebDriver:ExecuteScript", script=script, args=[])["value"]

    def until(self, condition: str, seconds: float = 60) -> None:
        """Waits until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, (condition, self.run("return document.body.innerText"))
            time.sleep(0.1)

    @property
    def faults(self) -> list[str]:
        self._do("Marionette:SetContext", value="chrome")
        found = self.run(CONSOLE)
        self._do("Marionette:SetContext", value="content")
        return found

    def _do(self, command: str, **parameters: Any) -> Any:
        self._number += 1
        message = json.dumps([0, self._number, command, parameters]).encode()
        self._connection.sendall(b"%d:%b" % (len(message), message))
        _, _, error, result = self._receive()
        assert error is None, error
        return result

    def _receive(self) -> Any:
        length = b""
        while (byte := self._connection.recv(1)) != b":":
            length += byte
        content = b""
        while len(content) < int(length):
            content += self._connection.recv(int(length) - len(content))
        return json.loads(content)


@contextmanager
def firefox(folder: Path, language: str) -> Iterator[Page]:
    """A window of a Firefox with a new profile in `folder`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir()
    (folder / "user.js").write_text(PREFERENCES.format(port=port, language=language))
    process = subprocess.Popen(
        [str(FIREFOX), "--headless", "--marionette", "--remote-allow-system-access", "--profile", str(folder)],
        env=os.environ | {"HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                assert time.monotonic() < end, "Firefox does not start"
                time.sleep(0.2)
        with connection:
            yield Page(connection)
    finally:
        process.terminate()
        process.wait(30)
