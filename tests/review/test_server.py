"""`loxo review` as a process: the token stands in no command line, and its address works once."""

import os
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

COMMAND = [sys.executable, "-c", "from loxo.cli import main; main()", "review"]


@pytest.fixture
def opened(run, tmp_path):
    """The printed address, what the browser was started with, and the process."""
    browser, shown = tmp_path / "browser.sh", tmp_path / "shown"
    browser.write_text(f'#!/bin/sh\necho "$0 $@" > {shown}.new; mv {shown}.new {shown}\n')
    browser.chmod(0o755)
    process = subprocess.Popen(
        [*COMMAND, str(run), "--port", "0", "--reviewer", "Ana"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"BROWSER": f"{browser} %s", "COLUMNS": "200", "TMPDIR": str(tmp_path)},
    )
    address = re.search(r"http://\S+", process.stdout.readline())[0]
    for _ in range(300):
        if shown.exists():
            break
        time.sleep(0.1)
    yield address, shown.read_text(), process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    process.stdout.read()
    process.wait(30)
    process.stdout.close()


def browser():
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))


def test_the_browser_is_opened_through_a_private_file_that_is_removed_once_used(opened):
    address, command, process = opened
    token = address.partition("token=")[2]
    assert len(token) > 20 and token not in command
    file = Path(unquote(urlsplit(command.split()[-1]).path))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert f'content="0;url={address}"' in file.read_text()
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert token.encode() not in line.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    first = browser()
    assert first.open(address, timeout=30).status == 200
    assert not file.parent.exists()
    assert first.open(address.partition("?")[0], timeout=30).status == 200  # a reload, another tab
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        browser().open(address, timeout=30)
    assert b"works once" in refused.value.read()
    refused.value.close()
    lines = (process.stdout.readline() for _ in range(3))
    again = next(match[0] for line in lines if (match := re.search(r"http://\S+", line)))
    assert again != address and browser().open(again, timeout=30).status == 200


def test_the_private_file_is_removed_when_the_server_stops(opened):
    _, command, process = opened
    file = Path(unquote(urlsplit(command.split()[-1]).path))
    assert file.is_file()
    process.send_signal(signal.SIGINT)
    process.wait(30)
    assert not file.parent.exists() and process.returncode == 0
