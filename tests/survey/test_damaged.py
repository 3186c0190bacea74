"""A small version of benchmarks/damaged_files.py."""

from damaged_files import DAMAGES, FORMATS, analyse_damaged


def test_damaged_recordings_are_analysed_up_to_the_fault_or_named(tmp_path):
    files = len(FORMATS) * len(DAMAGES)
    ends = analyse_damaged(tmp_path, files, seed=7)
    assert sum(ends.values()) == files and set(ends) >= {"done", "truncated", "failed"}
