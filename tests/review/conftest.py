"""A run folder for each test."""

import shutil
from pathlib import Path

import pytest
from chromium import browser
from fakerun import make_run

from loxo.audio.roots import remember

__all__ = ["browser"]


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    run = make_run(tmp_path_factory.mktemp("made"))
    remember(run.parent.glob("recordings/*.wav"))  # as `loxo detect` does
    return run


@pytest.fixture
def run(made, tmp_path) -> Path:
    """A copy of the run; the recordings are shared."""
    return Path(shutil.copytree(made, tmp_path / "march"))
