"""The public interface is a list: what is on it stays, what is not on it may change."""

import subprocess
import sys

import pytest

import loxo


def test_exported_names():
    assert loxo.__all__ == [
        "HTSAT",
        "HTSATConfig",
        "LoxoError",
        "detect",
        "load_model",
        "load_weights",
        "read_raven",
        "save_model",
        "write_raven",
    ]
    for name in loxo.__all__:
        assert getattr(loxo, name) is not None and name in dir(loxo)
    with pytest.raises(AttributeError, match="no attribute 'detekt'"):
        _ = loxo.detekt


def test_importing_loxo_and_asking_for_help_import_nothing_heavy():
    code = (
        "import loxo, loxo.cli, sys; print([m for m in ('torch', 'pandas', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
