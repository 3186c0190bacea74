"""The public interface is a list: what is on it stays, what is not on it may change."""

import subprocess
import sys

import pytest

import loxo


def test_exported_names():
    assert loxo.__all__ == [
        "AST",
        "CRNN",
        "HTSAT",
        "ASTConfig",
        "CRNNConfig",
        "HTSATConfig",
        "LoxoError",
        "adapt",
        "calibrate",
        "detect",
        "embed",
        "evaluate",
        "load_engine",
        "load_model",
        "load_weights",
        "read_raven",
        "save_model",
        "search",
        "simulate",
        "survey",
        "train",
        "write_raven",
    ]
    pytest.importorskip("lightning")
    for name in loxo.__all__:
        assert getattr(loxo, name) is not None and name in dir(loxo)
    with pytest.raises(AttributeError, match="no attribute 'detekt'"):
        _ = loxo.detekt


def test_survey_can_be_called_more_than_once():
    """Its package has the same name."""
    for _ in range(2):
        with pytest.raises(loxo.LoxoError, match="no such file"):
            loxo.survey("none.wav", "default", "run")


def test_importing_loxo_and_asking_for_help_import_nothing_heavy():
    code = (
        "import loxo, loxo.cli, sys; print([m for m in ('torch', 'pandas', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_name_that_needs_pytorch_says_how_to_install_it():
    code = "import sys; sys.modules['torch'] = None\nimport loxo\nloxo.load_engine, loxo.HTSATConfig\nloxo.load_model"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: loxo.load_model needs torch. Install it: " in done.stderr and '[train]"' in done.stderr


def test_python_m_loxo_is_the_command():
    done = subprocess.run([sys.executable, "-m", "loxo", "--version"], capture_output=True, text=True)
    assert done.stdout == f"loxo {loxo.__version__}\n" and done.returncode == 0
