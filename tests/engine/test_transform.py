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
    assert set(done.stdout.split()) <= {transform.NAME}


def test_one_compiled_module():
    """Loaded twice, that of SciPy 1.13 ends the process with a signal. It is loaded once, in either order."""
    for first, then in (("loxo.engine.transform", "scipy.fft"), ("scipy.fft", "loxo.engine.transform")):
        code = (
            f"import sys, {first}, {then}; from loxo.engine import transform; own = transform._pocketfft;"
            "loaded = [module for name, module in sys.modules.items() if name.endswith('pypocketfft')];"
            "assert loaded == [own] if own else True"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
