"""An engine for small computers: memory that is free goes back to the system before and after each computation.

The C library would keep it: about 25 MB, for computations that follow each other without a pause. A live station
computes for a moment and then waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loxo.engine.engine import Engine, Floats, LongInput
from loxo.machine import return_freed_memory


class FrugalEngine:
    """The engine `inner`, with the same results."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner
        self.config: Any = inner.config
        self.group, self.sha256 = inner.group, inner.sha256
        return_freed_memory()

    def describe(self) -> dict[str, str]:
        return self.inner.describe()

    def read(self, samples: Floats) -> LongInput:
        return_freed_memory()
        return _FrugalInput(self.inner.read(samples))


class _FrugalInput:
    def __init__(self, inner: LongInput) -> None:
        self.inner = inner

    def outputs(self, firsts: Sequence[int]) -> tuple[Floats, Floats | None]:
        found = self.inner.outputs(firsts)
        return_freed_memory()
        return found
