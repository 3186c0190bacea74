"""Settings of this process."""

import gc
import subprocess
import sys

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


def test_numpy_is_kept_to_one_thread_and_pytorch_is_not():
    code = (
        "import numpy, threadpoolctl\nfrom loxo.machine import numpy_on_one_thread\nnumpy_on_one_thread()\n"
        "print({pool['num_threads'] for pool in threadpoolctl.threadpool_info() if pool['internal_api'] == 'openblas'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() in ("{1}", "set()"), done.stderr  # empty where numpy uses another library
