"""The same run on Dask: a scheduler and two workers in processes of their own on loopback, as docs/cluster.md shows."""

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import DeadlyModel, FakeModel
from test_shards import CHUNK_S, write

from loxo.detection import cluster
from loxo.detection.survey import survey
from loxo.errors import LoxoError

distributed = pytest.importorskip("distributed")
HERE = Path(__file__).parent


@contextmanager
def started(*command: str):
    """A process of Dask's, ended with the block."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "false"}
    process = subprocess.Popen(
        [sys.executable, "-m", *command], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


def reader(process, said):
    """Reads what a process says up to a line with `said`, and the rest behind our back, so that it never waits."""
    for line in process.stderr:
        if said in line:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return line
    raise AssertionError(f"{process.args} has ended")


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with two workers."""
    with started("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard") as process:
        address = reader(process, "Scheduler at:").split()[-1]
        worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard")
        with started(*worker) as first, started(*worker) as second:
            for process in (first, second):
                reader(process, "Registered to")
            yield address


@pytest.fixture
def card(tmp_path):
    for k, seconds in enumerate((10, 3.2 * CHUNK_S, 5, 2.1 * CHUNK_S)):
        write(tmp_path / "card" / f"{k}.wav", seconds, seed=k)
    cut = write(tmp_path / "card" / "cut.flac", 40)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    return tmp_path / "card"


def results(folder):
    files = [*folder.glob("tables/*"), *folder.glob("scores/*"), *folder.glob("events*")]
    return {path.name: path.read_bytes() for path in files}


def test_a_scheduler_with_two_workers_gives_the_same_bytes(scheduler, card, tmp_path):
    load = partial(FakeModel, None, 3.0)
    survey([card], "fake", tmp_path / "here", load=load, keep_scores=True)
    seen = []
    summary = survey(
        *([card], "fake", tmp_path / "dask"),
        load=load,
        keep_scores=True,
        cluster=scheduler,
        shard_minutes=CHUNK_S / 60,
        on_progress=seen.append,
    )
    assert summary.recordings == 5 and [path.name for path, _ in summary.problems] == ["cut.flac"]
    assert results(tmp_path / "dask") == results(tmp_path / "here") and len(results(tmp_path / "here")) > 10
    assert (seen[-1].share, seen[-1].finished, seen[-1].failed) == (1.0, 5, 1)
    with distributed.Client(scheduler) as client:
        loaded = client.run(lambda: sorted(cluster._models))
        assert len(loaded) == 2 and len({*map(tuple, loaded.values())}) == 1


def test_a_worker_that_dies_loses_nothing(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "LOOK_S", 0.5)
    for k in range(3):
        write(tmp_path / "card" / f"{k}.wav", 6, seed=k)
    path = tmp_path / "card" / "1.wav"
    soundfile.write(path, np.sign(np.sin(np.arange(6000) / 4)), 1000)  # full scale
    load = partial(DeadlyModel, tmp_path / "marker")
    summary = survey([tmp_path / "card"], "fake", tmp_path / "run", load=load, cluster=scheduler)
    assert (summary.recordings, summary.problems) == (3, []) and (tmp_path / "marker").exists()


def test_what_is_no_cluster_is_told():
    for address in ("local:0", "local:x"):
        with pytest.raises(LoxoError, match="not understood"), cluster._connected(address):
            pass


def test_a_scheduler_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    write(tmp_path / "a.wav", 3)
    with pytest.raises(LoxoError, match="no Dask scheduler can be reached"):
        survey([tmp_path / "a.wav"], "fake", tmp_path / "run", load=FakeModel, cluster="tcp://127.0.0.1:9")
    assert survey([tmp_path / "a.wav"], "fake", tmp_path / "run", load=FakeModel).recordings == 1
