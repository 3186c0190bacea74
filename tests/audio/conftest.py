"""Fixtures of the tests of recordings."""

import builtins
import sys

import pytest


@pytest.fixture
def without_pyav(monkeypatch):
    """A function after whose call PyAV cannot be imported."""

    def block():
        real = builtins.__import__

        def without(name, *args, **kwargs):
            if name.split(".")[0] == "av":
                raise ImportError(f"No module named {name!r}", name=name)
            return real(name, *args, **kwargs)

        for name in [name for name in sys.modules if name.split(".")[0] == "av"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(builtins, "__import__", without)

    return block
