"""What Loxo asks of the machine."""

import gc

import pytest

from loxo.machine import gc_paused


def test_the_collector_rests_during_imports_and_is_left_as_it_was():
    before = gc.get_freeze_count()
    with gc_paused():
        assert not gc.isenabled()
    assert gc.isenabled() and gc.get_freeze_count() > before
    gc.unfreeze()
    gc.disable()
    try:
        with pytest.raises(ImportError), gc_paused():
            raise ImportError
        assert not gc.isenabled()
    finally:
        gc.enable()
