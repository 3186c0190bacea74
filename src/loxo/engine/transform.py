"""SciPy's Fourier transform of real input, without the rest of scipy.fft.

Importing scipy.fft also imports scipy.special and the test tools of numpy: 15 MB that a small computer has no use for.
Only the compiled module is loaded here. If SciPy keeps it elsewhere, scipy.fft is imported; the result is the same.
It is loaded under its own name, so that a later import of scipy.fft takes the same module: loaded twice, that of SciPy
1.13 frees its memory twice, and the process ends with a signal.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAME = "scipy.fft._pocketfft.pypocketfft"


def _compiled() -> Any:
    try:
        module: Any = sys.modules.get(NAME)
        if module is None:
            (folder,) = find_spec("scipy").submodule_search_locations  # type: ignore
            spec = PathFinder.find_spec(NAME, [str(Path(folder, "fft", "_pocketfft"))])
            module = module_from_spec(spec)  # type: ignore[arg-type]
            spec.loader.exec_module(module)  # type: ignore[union-attr]
            sys.modules[NAME] = module
        module.r2c(np.zeros((1, 2), np.float32), (1,), True, 0, None, 1)
    except Exception:  # private to SciPy: another version may differ in any way
        return None
    return module


_pocketfft = _compiled()


def rfft(values: NDArray[np.float32]) -> NDArray[np.complex64]:
    """The transform of each row of values (rows, samples): (rows, samples // 2 + 1), as scipy.fft.rfft computes it."""
    if _pocketfft is not None:
        found: NDArray[np.complex64] = _pocketfft.r2c(values, (1,), True, 0, None, 1)
        return found
    from scipy import fft  # type: ignore[import-untyped]

    found = fft.rfft(values, axis=1)
    return found
