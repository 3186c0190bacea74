"""What a worker process needs, imported once by the process that workers are forked from."""

from __future__ import annotations

from loxo.machine import quick_imports

with quick_imports():
    import pandas  # noqa: F401
    import torch  # noqa: F401
