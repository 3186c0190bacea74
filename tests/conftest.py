"""What tests share: the command, the servers of helpers/, and the folder of reference data, where it is present.

The helpers and the benchmarks can be imported, by tests and by the processes they start, which inherit sys.path.
"""

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from loxo import cli
from loxo.engine import engine

HERE = Path(__file__).resolve().parent
for folder in (HERE / "helpers", HERE.parent / "benchmarks"):
    sys.path.insert(0, str(folder))

os.environ["LOXO_LANGUAGE"] = "en"  # whatever the language of this computer; processes inherit it

from servers import _moto, credentials, loopback, s3, serve  # noqa: E402 (now it can be found)

__all__ = ["_moto", "credentials", "loopback", "s3", "serve"]

# Modules and folders of tests that import a package of an extra at their top. They are skipped where it is missing.
NEEDS = {
    "network": "torch",
    "training": "torch",
    "engine/runtime_cases.py": "torch",
    "engine/test_fields.py": "torch",
    "engine/test_frontend.py": "torch",
    "engine/test_frontend_sounds.py": "torch",
    "engine/test_model_file.py": "torch",
    "engine/test_runtimes.py": "torch",
    "app/test_accessibility.py": "playwright",
    "app/test_browser.py": "playwright",
    "review/test_browser.py": "playwright",
    "review/test_page.py": "playwright",
    "test_bundled_model.py": "torch",
    "test_extending.py": "torch",
}


class SkippedModule(pytest.Module):
    reason = ""

    def collect(self):
        pytest.skip(self.reason, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    if not module_path.is_relative_to(HERE):
        return None
    place = module_path.relative_to(HERE).as_posix()
    for prefix, package in NEEDS.items():
        if (place == prefix or place.startswith(f"{prefix}/")) and find_spec(package) is None:
            module = SkippedModule.from_parent(parent, path=module_path)
            module.reason = f"tests/{prefix} needs the package {package}, which is not installed"
            return module
    return None


SHARED = HERE.parents[1] / "shared"


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory) -> Iterator[None]:
    """What Loxo keeps in the user's cache, and its processes, for this session alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _without_openvino() -> Iterator[None]:
    """This process chooses ONNX Runtime: with OpenVINO loaded, a long process of tests crashes later."""
    installed = engine.is_installed
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("LOXO_TESTS_LOAD_OPENVINO"):
            patch.setattr(engine, "is_installed", lambda runtime: runtime != "openvino" and installed(runtime))
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
