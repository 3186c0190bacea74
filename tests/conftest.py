"""What tests share: the command, and the folder of reference data beside the repository, where it is present."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from loxo import cli

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure() -> None:
    torch.set_num_threads(2)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory) -> Iterator[None]:
    """What Loxo keeps in the user's cache, and its processes, for this session alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the folder of reference data, ../shared, is not beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    return shared / "golden"


@pytest.fixture
def loxo(monkeypatch, capsys):
    """Runs `loxo ARGS` in this process: (exit code, standard output, standard error)."""

    def run(*args) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["loxo", *map(str, args)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stopped:
            cli.main()
            raise SystemExit(0)
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run
