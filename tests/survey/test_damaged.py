"""A small version of benchmarks/damaged.py."""

import pytest

from damaged import CODECS, DAMAGES, FORMATS, analyse_damaged


def test_damaged_recordings_are_analysed_up_to_the_fault_or_named(tmp_path):
    pytest.importorskip("av")
    files = (len(FORMATS) + len(CODECS)) * len(DAMAGES) // 2
    ends = analyse_damaged(tmp_path, files, seed=7)
    assert sum(ends.values()) == files and set(ends) >= {"done", "done, with a note", "truncated", "failed"}
