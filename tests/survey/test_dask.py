"""The same run on Dask: a scheduler and two workers in processes of their own on loopback, as docs/cluster.md shows."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import CHUNK_S, DeadlyModel, FakeModel, HangingModel, faulty, write

from loxo.errors import LoxoError
from loxo.survey import dask as cluster
from loxo.survey.schedule import Task
from loxo.survey.survey import survey

distributed = pytest.importorskip("distributed")
HELPERS = Path(__file__).resolve().parents[1] / "helpers"


@contextmanager
def started(*command: str):
    """A process of Dask's, ended with the block."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HELPERS), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "false",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # else the end of a shell may continue a process that is stopped on purpose
    )
    try:
        yield process
    finally:
        process.terminate()
        process.send_signal(signal.SIGCONT)  # to one that has been stopped
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stderr.close()


def reader(process, said):
    """Reads what a process says up to a line with `said`, and the rest behind our back, so that it never waits."""
    for line in process.stderr:
        if said in line:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return line
    raise AssertionError(f"{process.args} has ended")


@contextmanager
def two_workers(*options: str):
    """The address of a scheduler with two workers."""
    with started("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard") as process:
        address = reader(process, "Scheduler at:").split()[-1]
        worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard", *options)
        with started(*worker) as first, started(*worker) as second:
            for process in (first, second):
                reader(process, "Registered to")
            yield address


@pytest.fixture(scope="module")
def scheduler():
    with two_workers() as address:
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
    full_scale(tmp_path / "card" / "1.wav")
    load = partial(DeadlyModel, tmp_path / "marker")
    summary = survey([tmp_path / "card"], "fake", tmp_path / "run", load=load, cluster=scheduler)
    assert (summary.recordings, summary.problems) == (3, []) and (tmp_path / "marker").exists()


def test_a_recording_that_crashes_its_workers_is_named_after_one_attempt_more(scheduler, tmp_path, monkeypatch):
    """The scheduler allows three deaths of workers, Loxo one. Later calls have one attempt more."""
    monkeypatch.setattr(cluster, "LOOK_S", 0.5)
    for k, name in enumerate(("a.wav", "bad.wav", "c.wav")):
        write(tmp_path / "card" / name, 3, seed=k)
    load = partial(faulty, "crash", tmp_path / "attempts", os.getpid())
    for calls in (1, 2):
        summary = survey([tmp_path / "card"], "fake", tmp_path / "run", load=load, cluster=scheduler)
        ((path, sentence),) = summary.problems
        assert summary.recordings == 2 and sentence.startswith(f"{path}: set aside") and path.name == "bad.wav"
        assert len((tmp_path / "attempts").read_text().split()) == 1 + calls


def full_scale(path):
    soundfile.write(path, np.sign(np.sin(np.arange(6000) / 4)), 1000)


def hang(address, folder, stop, monkeypatch):
    """A run, one of whose workers hangs at its second recording; the notes that tell it. The patience with all else is
    endless, so that this machine may be as slow as it likes."""
    marker, limit_s = folder / "marker", cluster._ClusterTasks._limit_s

    def only_the_hung(run, job):
        if not marker.exists() or job.task.index != 1 or run.attempts:
            return float("inf")
        job.begun = True  # it has left the marker, if its first sign of life has come through or not
        return limit_s(run, job)

    monkeypatch.setattr(cluster._ClusterTasks, "_limit_s", only_the_hung)
    for k in range(3):
        write(folder / "card" / f"{k}.wav", 6, seed=k)
    full_scale(folder / "card" / "1.wav")
    load = partial(HangingModel, marker, stop)
    survey([folder / "card"], "fake", folder / "here", load=FakeModel)
    options = {"load": load, "cluster": address, "patience_minutes": 1 / 60}
    summary = survey([folder / "card"], "fake", folder / "run", **options)
    assert (summary.recordings, summary.problems) == (3, []) and marker.exists()
    assert results(folder / "run") == results(folder / "here")
    recordings = json.loads((folder / "run/run.json").read_text())["recordings"]
    return [note for item in recordings for note in item["notes"]]


def test_a_worker_that_hangs_is_restarted_and_its_shard_done_elsewhere(scheduler, tmp_path, monkeypatch):
    (note,) = hang(scheduler, tmp_path, False, monkeypatch)
    assert "done at the second attempt" in note
    with distributed.Client(scheduler) as client:
        client.wait_for_workers(2, timeout=30)
        assert int((tmp_path / "marker").read_text()) not in client.run(os.getpid).values()


def test_a_worker_that_cannot_be_reached_any_more_is_done_without(tmp_path, monkeypatch):
    """It is stopped as a whole, and there is no nanny that could restart it: to the others its network is gone."""
    with two_workers("--no-nanny") as address:
        # Loxo gives the task to the other worker, and notes it; or the scheduler does, when the connection breaks.
        assert len(hang(address, tmp_path, True, monkeypatch)) <= 1


def test_the_patience_with_a_task_that_nobody_begins_goes_with_its_audio():
    run = cluster._ClusterTasks(None, None, None, None, None, 600.0)
    job = cluster._Job(Task(0, "a.wav", 0, 60.0), None, 0.0)
    run.running["key"] = job
    assert run._limit_s(job) == 600 + 8 * 3600
    run.beat((0.0, ("key", 30.0, 7200.0, 1)))
    assert run._limit_s(job) == 600 and run.seconds() == {0: (30.0, 7200.0)} and job.since > 0
    run.beat((0.0, ("of a task that was given up", 1.0, 1.0, 1)))


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
