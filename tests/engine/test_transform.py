"""The transform that is loaded without scipy.fft: the same numbers."""

import subprocess
import sys

import numpy as np
from scipy import fft

from loxo.engine import transform


def test_same_numbers(monkeypatch):
    values = np.random.default_rng(0).standard_normal((7, 256)).astype(np.float32)
    expected = fft.rfft(values, axis=1)
    for compiled in (transform._pocketfft, None):  # None: SciPy keeps it elsewhere
        monkeypatch.setattr(transform, "_pocketfft", compiled)
        found = transform.rfft(values)
        assert found.dtype == np.complex64 and (found == expected).all()


def test_small_imports():
    """The front end imports neither scipy.special nor scipy.fft: memory of a live station."""
    code = "import sys, loxo.engine.frontend; print(*(name for name in sys.modules if name.startswith('scipy')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
