"""An app with an empty home, and recordings for it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from chromium import browser
from starlette.testclient import TestClient

from loxo.app import jobs
from loxo.app.api import create_api
from loxo.app.folders import Places
from loxo.cli.app import app

__all__ = ["browser"]

RATE = 2000
DAMAGED = 3


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The home folder of the user; the app has its own in it."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("LOXO_HOME", str(home / "loxo"))
    return home


@pytest.fixture
def card(home) -> Path:
    """Recordings of two sites, three of them damaged."""
    card = home / "card"
    rng = np.random.default_rng(1)
    for site in ("north", "south"):
        (card / site).mkdir(parents=True)
        for hour in range(9):
            noise = 0.02 * rng.standard_normal(20 * RATE).astype(np.float32)
            soundfile.write(card / site / f"20240301_{hour:02}0000.wav", noise, RATE, subtype="PCM_16")
    for hour in range(DAMAGED):
        (card / "south" / f"20240301_{hour:02}0000.wav").write_bytes(b"no sound" * hour)
    return card


@pytest.fixture
def start(home):
    """Starts `loxo app` with options. Returns its address and its process."""
    started = []

    def run(*options: str) -> tuple[str, subprocess.Popen]:
        command = [sys.executable, "-m", "loxo", "app", "--no-browser", "--port", "0", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"})
        started.append(process)
        return next(found[0] for line in process.stdout if (found := re.search(r"https?://\S+", line))), process

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def opened(home):
    """Requests to the API behind no guard, and a function that opens the app again."""

    def open_app(**options):
        api, close = create_api(home / "loxo", typer.main.get_command(app), Places(), lambda: None, **options)
        closing.append(close)
        return TestClient(api)

    closing = []
    yield open_app
    for close in closing:
        close()
    for job in jobs._children:  # else a process of a test would outlive it
        job.wait(60)


@pytest.fixture
def page(opened):
    return opened()
