"""The app on a large card: a survey with damaged recordings, a killed server, and a long list of surveys.

    python benchmarks/bench_app.py [--recordings 200] [--seconds 10] [--runs 1000]

It checks, and exits with an error if one of these is not so:

    - a survey of 200 recordings with 3 damaged ones goes on when the server is killed, is found again by a new server,
      stops, goes on, and ends with 197 recordings and 3 problems
    - a run of the app has the same events.csv as one of the command

and it measures

    - from the command until the first page, by wall clock and CPU time
    - the list of 1,000 surveys: the first time, and again
    - the CPU time of a survey through the app beside that of `loxo detect`, three times in turn
    - the time of a recording of 24 h through the app, with the page of the run open, beside that of `loxo detect`
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import reporting
from loxo.simulation.simulate import simulate

RATE, DAMAGED, REPEATS = 2000, 3, 3


class App:
    """A server of `loxo app` and its browser."""

    def __init__(self, environment: dict[str, str]) -> None:
        began = time.monotonic()
        command = [sys.executable, "-m", "loxo", "app", "--no-browser", "--port", "0"]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://\S+", self.process.stdout.readline())
        assert found is not None
        self.root = found[0].partition("?")[0]
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self.browser.open(found[0]).read()
        self.ask("api/home")
        self.first_page_s = time.monotonic() - began

    def ask(self, path: str, content: Any = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"})
        return json.loads(self.browser.open(request, timeout=120).read())

    def end(self, number: int = signal.SIGINT) -> float:
        """Ends the server. Returns its CPU time."""
        self.process.send_signal(number)
        _, _, usage = os.wait4(self.process.pid, 0)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.returncode = 0
        return usage.ru_utime + usage.ru_stime


def row(name: str, figure: str) -> None:
    print(f"| {name} | {figure} |", flush=True)


def compared(name: str, times: list[tuple[float, float]]) -> None:
    """Times by the app and by the command, in turn: medians, and the ratios."""
    app, command = (statistics.median(each) for each in zip(*times, strict=True))
    ratios = sorted(by_app / by_command for by_app, by_command in times)
    row(name, f"app {app:.1f} s, command {command:.1f} s; ratios {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


def make_card(folder: Path, recordings: int, seconds: float) -> None:
    rng = np.random.default_rng(0)
    noise = 0.02 * rng.standard_normal(int(seconds * RATE)).astype(np.float32)
    for number in range(recordings):
        site = folder / f"site{number % 4}"
        site.mkdir(parents=True, exist_ok=True)
        path = site / f"202403{1 + number // 96:02}_{number // 4 % 24:02}0000.wav"
        if number < DAMAGED:
            path.write_bytes(b"RIFF no sound" * number)
        else:
            soundfile.write(path, np.roll(noise, 997 * number), RATE, subtype="PCM_16")


def until(app: App, run: str, wanted: Any, seconds: float = 1800) -> Any:
    end = time.monotonic() + seconds
    while not wanted(shown := app.ask(f"api/runs/{run}")):
        assert time.monotonic() < end, shown
        time.sleep(0.2)
    return shown


def check_survey(environment: dict[str, str], card: Path, out: Path, recordings: int) -> None:
    def progress(shown: Any) -> int:
        return int(shown["jobs"][0]["progress"].get("finished", 0))

    app = App(environment)
    found = app.ask("api/inspect", {"folder": str(card)})
    row("inspected", f"{found['recordings']} recordings, {found['hours']:.2f} h, {len(found['problems'])} problems")
    values = {"paths": [str(card)], "out": str(out), "workers": 1}
    run = app.ask("api/start", {"command": "detect", "values": values})["run"]
    until(app, run, lambda shown: progress(shown) >= recordings // 10)
    app.end(signal.SIGKILL)
    time.sleep(1)
    app = App(environment)
    shown = app.ask(f"api/runs/{run}")
    assert shown["state"] == "running", shown["state"]
    after = progress(shown)
    until(app, run, lambda shown: progress(shown) >= max(after + 1, recordings // 4))
    app.ask(f"api/jobs/{shown['job']}/stop", {})
    stopped = until(app, run, lambda shown: shown["state"] != "running")
    assert stopped["state"] == "stopped" and stopped["recordings"] < recordings - DAMAGED, stopped
    app.ask(f"api/jobs/{shown['job']}/resume", {})
    shown = until(app, run, lambda shown: shown["state"] == "finished")
    assert (shown["recordings"], shown["problems"]) == (recordings - DAMAGED, DAMAGED), shown
    app.end()
    row("server killed after", f"{recordings // 10} recordings; found again after {after}")
    row("stopped after", f"{stopped['recordings']} recordings; resumed and finished")


def cpu_time(command: list[str], environment: dict[str, str]) -> float:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 1)
    process.returncode = 0
    return usage.ru_utime + usage.ru_stime


def compare(environment: dict[str, str], card: Path, folder: Path) -> None:
    from loxo.app.jobs import LONG, Jobs

    jobs, times = Jobs(folder / "jobs"), []
    for number in range(REPEATS):
        outs = [folder / f"{kind}-{number}" for kind in ("app", "command")]
        job = jobs.add(["detect", str(card), "--out", str(outs[0]), "--workers", "1"], str(outs[0]), LONG)
        module = [sys.executable, "-m", "loxo.app.job", str(jobs.folder / job.id)]
        command = [sys.executable, "-m", "loxo", "detect", str(card), "--out", str(outs[1]), "--workers", "1"]
        times.append((cpu_time(module, environment), cpu_time(command, environment)))
        assert (outs[0] / "events.csv").read_bytes() == (outs[1] / "events.csv").read_bytes()
    compared("CPU time of this survey", times)


def compare_days(environment: dict[str, str], folder: Path, hours: int) -> None:
    """A long recording through the app, with an open page of the run, and by command, in turn: wall-clock time."""
    card = folder / "long"
    card.mkdir()
    simulate(folder / "sound", 1.0, 7)
    (hour,) = (folder / "sound").glob("*.flac")
    samples, rate = soundfile.read(hour, dtype="int16")
    with soundfile.SoundFile(card / "20240301_000000.wav", "w", rate, 1, "PCM_16") as file:
        for _ in range(hours):
            file.write(samples)
    app, times = App(environment), []
    for number in range(REPEATS):
        outs = [folder / f"long-{kind}-{number}" for kind in ("app", "command")]
        values = {"paths": [str(card)], "out": str(outs[0]), "workers": 1}
        began = time.monotonic()
        run = app.ask("api/start", {"command": "detect", "values": values})["run"]
        with app.browser.open(f"{app.root}api/runs/{run}/events", timeout=120) as page:
            while b'"state":"finished"' not in page.readline():
                pass
        by_app = time.monotonic() - began
        began = time.monotonic()
        command = [sys.executable, "-m", "loxo", "detect", str(card), "--out", str(outs[1]), "--workers", "1"]
        cpu_time(command, environment)
        times.append((by_app, time.monotonic() - began))
        assert (outs[0] / "events.csv").read_bytes() == (outs[1] / "events.csv").read_bytes()
    app.end()
    compared(f"time of a recording of {hours} h, with the page of the run open", times)


def list_runs(environment: dict[str, str], run: Path, folder: Path, count: int) -> None:
    from loxo.app.runs import Runs

    runs = Runs(Path(environment["LOXO_HOME"]))
    for number in range(count):
        copy = folder / f"run-{number}"
        copy.mkdir(parents=True)
        for name in ("run.json", "events.csv"):
            shutil.copy(run / name, copy / name)
        runs.add(copy)
    app = App(environment)
    app.ask("api/app")
    for words in ("again", "and again"):
        began = time.monotonic()
        listed = app.ask("api/home")["runs"]
        row(f"{len(listed)} surveys listed, {words}", f"{time.monotonic() - began:.2f} s")
    row(f"first page with {len(listed)} surveys, summaries not known yet", f"{app.first_page_s:.2f} s")
    app.end()
    app = App(environment)
    row(f"first page with {len(listed)} surveys", f"{app.first_page_s:.2f} s, CPU time {app.end():.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="The app on a large card.")
    parser.add_argument("--recordings", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a recording")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--hours", type=int, default=24, help="length of the long recording; 0: none")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="loxo-app-") as temporary:
        folder = Path(temporary)
        own = {"HOME": str(folder), "LOXO_HOME": str(folder / "loxo"), "LOXO_LANGUAGE": "en", "COLUMNS": "200"}
        environment = os.environ | own
        with reporting.section("bench-app"):
            print("| | |\n|---|---|")
            app = App(environment)
            row("first page, no surveys", f"{app.first_page_s:.2f} s, CPU time {app.end():.2f} s")
            make_card(folder / "card", given.recordings, given.seconds)
            check_survey(environment, folder / "card", folder / "out", given.recordings)
            compare(environment, folder / "card", folder)
            if given.hours:
                compare_days(environment, folder, given.hours)
            list_runs(environment, folder / "out", folder / "runs", given.runs)


if __name__ == "__main__":
    main()
