"""What Loxo asks of the machine."""

import gc

import pytest

from loxo.machine import quick_imports


def test_the_collector_rests_during_imports_and_is_left_as_it_was():
    before = gc.get_freeze_count()
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled() and gc.get_freeze_count() > before
    gc.unfreeze()
    gc.disable()
    try:
        with pytest.raises(ImportError), quick_imports():
            raise ImportError
        assert not gc.isenabled()
    finally:
        gc.enable()
