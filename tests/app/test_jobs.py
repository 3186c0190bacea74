"""Jobs as processes: their states, their queue, and what remains when the server is killed."""

import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from loxo.app.jobs import LONG, QUICK, START_S, Jobs, hold, write_values
from loxo.errors import LoxoError
from loxo.runs.record import read_record


@pytest.fixture
def jobs(tmp_path):
    return Jobs(tmp_path / "loxo")


def ended(jobs: Jobs, id: str, seconds: float = 60):
    until = time.monotonic() + seconds
    while (job := jobs.get(id)).is_open:
        assert time.monotonic() < until, jobs.output(id)
        time.sleep(0.1)
    return job


def test_a_job_is_the_command_and_its_output(jobs):
    good, bad = jobs.add(["--version"], None, QUICK), jobs.add(["report", "/none"], None, QUICK)
    assert (good.state, bad.state) == ("waiting", "waiting")
    jobs.start_waiting()
    assert [jobs.get(id).state for id in (good.id, bad.id)] == ["running", "waiting"]
    job = ended(jobs, good.id)
    assert (job.state, job.code) == ("finished", 0) and jobs.output(job.id).startswith("loxo ")
    job = ended(jobs, bad.id)  # started by the end of the first
    assert (job.state, job.code) == ("failed", 2) and "error: /none: " in jobs.output(job.id)
    jobs.remove(bad.id)
    assert [job.id for job in jobs.listed()] == [good.id]


def test_a_lane_has_one_job_at_a_time_and_a_run_folder_too(jobs, monkeypatch):
    started = []
    monkeypatch.setattr("loxo.app.jobs.start", lambda folder: started.append(folder.name))
    first, second = jobs.add(["a"], "/one", LONG), jobs.add(["b"], "/two", LONG)
    quick = jobs.add(["c"], "/one", QUICK)
    with pytest.raises(LoxoError, match="not finished yet"):
        jobs.add(["d"], "/one", LONG)
    lock = hold(jobs.folder / first.id)
    write_values(jobs.folder / first.id / "started.json", {"at": time.time(), "process": 1})
    jobs.start_waiting()
    assert started == [quick.id]
    os.close(lock)
    assert jobs.get(first.id).state == "interrupted"  # without an end: killed, or the power was lost
    jobs.start_waiting()
    assert second.id in started
    jobs.stop(second.id)  # it leaves the queue
    assert jobs.get(second.id).state == "stopped"
    jobs.resume(second.id)
    assert jobs.get(second.id).state == "waiting"


def test_a_process_that_never_took_its_lock_has_failed(jobs):
    job = jobs.add(["a"], None, LONG)
    write_values(jobs.folder / job.id / "started.json", {"at": time.time()})
    assert jobs.get(job.id).state == "running"
    write_values(jobs.folder / job.id / "started.json", {"at": time.time() - START_S - 1})
    assert jobs.get(job.id).state == "interrupted"


def test_damaged_jobs_are_skipped(jobs):
    job = jobs.add(["a"], None, LONG)
    (jobs.folder / "empty").mkdir()
    (jobs.folder / "other").mkdir()
    (jobs.folder / "other" / "job.json").write_text('{"command": 3}')
    assert [each.id for each in jobs.listed()] == [job.id]
    for id in ("../x", "", "none", "other"):
        with pytest.raises(LoxoError):
            jobs.get(id)


DAMAGED = 3  # recordings of the card


SERVER = """
import os, signal, sys, typer
from pathlib import Path
from starlette.testclient import TestClient
from loxo.app.api import create_api
from loxo.app.folders import Places
from loxo.cli.app import app
import loxo.cli
api, _ = create_api(Path(os.environ["LOXO_HOME"]), typer.main.get_command(app), Places(), lambda: None)
values = {"paths": [sys.argv[1]], "out": sys.argv[2], "workers": 1}
print(TestClient(api).post("/api/start", json={"command": "detect", "values": values}).json()["run"], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process as Linux does")
def test_a_survey_goes_on_after_its_server_was_killed_and_can_be_stopped_and_resumed(opened, home, card):
    out = home / "out"
    for path in (card / "north").iterdir():  # so long that the survey does not end before it is stopped
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path, np.tile(samples, 30), rate, subtype="PCM_16")
    server = subprocess.run([sys.executable, "-c", SERVER, card, out], stdout=subprocess.PIPE, text=True, check=False)
    assert server.returncode == -signal.SIGKILL
    id = server.stdout.strip()
    page = opened()

    def until(wanted, seconds=120):
        end = time.monotonic() + seconds
        while not wanted(shown := page.get(f"/api/runs/{id}").json()):
            assert time.monotonic() < end, shown
            time.sleep(0.1)
        return shown

    shown = until(lambda run: run["jobs"][0]["progress"].get("finished", 0) > DAMAGED)
    assert shown["state"] == "running" and shown["jobs"][0]["progress"]["recordings"] == 18
    job = shown["job"]
    page.post(f"/api/jobs/{job}/stop")
    assert until(lambda run: run["state"] != "running")["state"] == "stopped"
    before = read_record(out)
    assert before.status == "interrupted" and 0 < len(before.recordings) < 18
    page.post(f"/api/jobs/{job}/resume")
    shown = until(lambda run: run["state"] == "finished")
    assert shown["recordings"] == 18 - DAMAGED and shown["problems"] == DAMAGED and len(shown["jobs"]) == 1
    asked = itertools.count()  # the stream ends soon: older test clients wait for its end
    stream = opened(is_stopping=lambda: next(asked) > 0).get(f"/api/runs/{id}/events").text
    kinds = dict(block.removeprefix("event: ").split("\ndata: ") for block in stream.strip().split("\n\n"))
    assert '"problem_count":3' in kinds["run"] and '"state":"finished"' in kinds["jobs"]
