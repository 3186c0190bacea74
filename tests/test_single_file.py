"""The single-file program of `make single-file`: it starts, searches a recording through the app, and stops.

Skipped where it has not been built.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

PROGRAM = Path(os.environ.get("LOXO_PROGRAM") or Path(__file__).parents[1] / "dist" / "loxo")
pytestmark = pytest.mark.skipif(
    not PROGRAM.is_file() or sys.platform == "win32", reason=f"{PROGRAM} has not been built: make single-file"
)


@pytest.fixture
def environment(tmp_path):
    """A home folder and a folder to unpack into; no Python is in the search path."""
    for name in ("home", "unpacked"):
        (tmp_path / name).mkdir()
    own = {"HOME": tmp_path / "home", "LOXO_HOME": tmp_path / "home" / "loxo", "TMPDIR": tmp_path / "unpacked"}
    return {"PATH": "/nowhere", "LOXO_LANGUAGE": "en", "COLUMNS": "200"} | {
        name: str(path) for name, path in own.items()
    }


def test_it_is_the_command(environment):
    shown = subprocess.run([PROGRAM, "--version"], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("loxo ")


def test_without_arguments_it_is_the_app_and_searches_a_recording(environment, shared, tmp_path):
    home = Path(environment["HOME"])
    recording = min((shared / "data" / "recordings" / "rumble").glob("*.flac"))
    (home / "card").mkdir()
    shutil.copy(recording, home / "card")
    began = time.monotonic()
    server = subprocess.Popen([PROGRAM], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://\S+", server.stdout.readline())[0]
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        assert b"<title>Loxo" in browser.open(address, timeout=60).read()
        print(f"first page after {time.monotonic() - began:.1f} s")
        root = address.partition("?")[0]

        def ask(path, content=None):
            data = None if content is None else json.dumps(content).encode()
            request = urllib.request.Request(root + path, data, {"Content-Type": "application/json"})
            return json.loads(browser.open(request, timeout=60).read())

        def finished(run, count):
            until = time.monotonic() + 300
            while True:
                shown = ask(f"api/runs/{run}")
                if sum(job["state"] == "finished" for job in shown["jobs"]) == count:
                    return shown
                assert time.monotonic() < until and not any(job["state"] == "failed" for job in shown["jobs"]), shown
                time.sleep(0.5)
                # The server, a job and its command unpack the program; the workers of the command use its files.
                assert len(list((tmp_path / "unpacked").glob("_MEI*"))) <= 3

        values = {"paths": [str(home / "card")], "out": str(home / "out"), "threshold": "0.01", "workers": 2}
        run = ask("api/start", {"command": "detect", "values": values})["run"]
        shown = finished(run, 1)
        assert shown["recordings"] == 1 and shown["problems"] == 0 and sum(shown["events"].values()) > 0
        ask("api/start", {"command": "report", "values": {"runs": [str(home / "out")]}, "run": run})
        assert finished(run, 2)["outputs"]["report"]
        ask("api/quit", {})
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    until = time.monotonic() + 30
    while left := list((tmp_path / "unpacked").glob("_MEI*")):
        assert time.monotonic() < until, left  # each process deletes what it has unpacked
        time.sleep(0.5)
