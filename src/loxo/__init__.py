"""Loxo finds elephant rumbles and gunshots in months of field recordings.

The names below are the public interface; everything else may change. They are imported on first use, so that
`import loxo` takes no time. Networks (AST, CRNN, HTSAT), load_model, save_model, load_weights and train need the extra
`train` (PyTorch); all other names do not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loxo.detection.detect import detect
    from loxo.detection.embed import embed
    from loxo.engine.architectures import ASTConfig, CRNNConfig, HTSATConfig
    from loxo.engine.engine import load_engine
    from loxo.errors import LoxoError
    from loxo.evaluation.calibrate import calibrate
    from loxo.evaluation.evaluate import evaluate
    from loxo.events.raven import read_raven, write_raven
    from loxo.network.ast import AST
    from loxo.network.crnn import CRNN
    from loxo.network.foreign.checkpoints import load_weights
    from loxo.network.htsat import HTSAT
    from loxo.network.loading import load_model, save_model
    from loxo.simulation.simulate import simulate
    from loxo.survey.search import search
    from loxo.survey.survey import survey
    from loxo.training.adapt import adapt
    from loxo.training.train import train

__version__ = "0.1.0"

_HOMES = {
    "adapt": "loxo.training.adapt",
    "AST": "loxo.network.ast",
    "ASTConfig": "loxo.engine.architectures",
    "CRNN": "loxo.network.crnn",
    "CRNNConfig": "loxo.engine.architectures",
    "HTSAT": "loxo.network.htsat",
    "HTSATConfig": "loxo.engine.architectures",
    "LoxoError": "loxo.errors",
    "calibrate": "loxo.evaluation.calibrate",
    "detect": "loxo.detection.detect",
    "embed": "loxo.detection.embed",
    "evaluate": "loxo.evaluation.evaluate",
    "load_engine": "loxo.engine.engine",
    "load_model": "loxo.network.loading",
    "load_weights": "loxo.network.foreign.checkpoints",
    "read_raven": "loxo.events.raven",
    "save_model": "loxo.network.loading",
    "search": "loxo.survey.search",
    "simulate": "loxo.simulation.simulate",
    "survey": "loxo.survey.survey",
    "train": "loxo.training.train",
    "write_raven": "loxo.events.raven",
}
_TRAINING_PACKAGES = ("torch", "lightning", "yaml")

__all__ = [
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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'loxo' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _TRAINING_PACKAGES:
            raise
        from loxo.installation import install_extra

        raise ImportError(f"loxo.{name} needs {error.name}. Install it: {install_extra('train')}") from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
