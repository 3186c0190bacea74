"""Settings of this process."""

import gc

import pytest

from loxo.machine import gc_paused


def test_the_garbage_collector_is_paused_and_its_state_restored():
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
