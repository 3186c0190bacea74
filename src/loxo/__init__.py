"""Loxo finds elephant rumbles and gunshots in months of field recordings.

The names below are the public interface; everything else may change. They are imported on first use, so that
`import loxo` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loxo.detection.detect import detect
    from loxo.engine.architectures import HTSATConfig
    from loxo.errors import LoxoError
    from loxo.events.raven import read_raven, write_raven
    from loxo.network.foreign.checkpoints import load_weights
    from loxo.network.htsat import HTSAT
    from loxo.network.loading import load_model, save_model

__version__ = "0.1.0"

_HOMES = {
    "HTSAT": "loxo.network.htsat",
    "HTSATConfig": "loxo.engine.architectures",
    "LoxoError": "loxo.errors",
    "detect": "loxo.detection.detect",
    "load_model": "loxo.network.loading",
    "load_weights": "loxo.network.foreign.checkpoints",
    "read_raven": "loxo.events.raven",
    "save_model": "loxo.network.loading",
    "write_raven": "loxo.events.raven",
}

__all__ = [
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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'loxo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
