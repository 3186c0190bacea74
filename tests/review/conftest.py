"""A run folder for each test."""

import shutil
from pathlib import Path

import pytest
from fakerun import make_run


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made, tmp_path) -> Path:
    """A copy of the run; the recordings are shared."""
    return Path(shutil.copytree(made, tmp_path / "march"))
