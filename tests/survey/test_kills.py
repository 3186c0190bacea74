"""A small version of benchmarks/kill_detection.py."""

from kill_detection import DASK, MAIN, WORKER, kill_and_compare


def test_killed_runs_resume_to_the_same_bytes(tmp_path):
    """Two kills of the run and three of a worker; what a kill of a Dask worker does, test_cluster shows."""
    total = kill_and_compare(tmp_path, [MAIN, WORKER, MAIN, WORKER, WORKER], recordings=6, seed=1, every_s=0.3)
    assert (total[MAIN], total[WORKER], total[DASK]) == (2, 3, 0)
