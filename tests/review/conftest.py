"""A run folder for each test."""

import shutil
from pathlib import Path

import pytest
from fakerun import make_run

from loxo.audio.roots import remember

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    """One browser for the tests of a file. Its event loop must not run during the tests of other files."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    run = make_run(tmp_path_factory.mktemp("made"))
    remember(run.parent.glob("recordings/*.wav"))  # as `loxo detect` does
    return run


@pytest.fixture
def run(made, tmp_path) -> Path:
    """A copy of the run; the recordings are shared."""
    return Path(shutil.copytree(made, tmp_path / "march"))
