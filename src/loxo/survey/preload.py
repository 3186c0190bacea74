"""What a worker process needs, imported once by the process that workers are forked from."""

from __future__ import annotations

from loxo.machine import gc_paused

with gc_paused():
    import onnxruntime  # noqa: F401
    import pandas  # noqa: F401
    import scipy.fft  # type: ignore[import-untyped]  # noqa: F401
    import soundfile  # noqa: F401
    import soxr  # noqa: F401

    import loxo.engine.onnx_runtime
    import loxo.survey.tasks  # noqa: F401
