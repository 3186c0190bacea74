"""Many recordings. After its first use `loxo.survey` is this package, so calling the package calls the function."""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from loxo.survey.survey import survey

        return survey(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
