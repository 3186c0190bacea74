"""Kills processes of `loxo detect` at random times and at each file-system event, and resumes the run until it is
finished.

    python benchmarks/kill_detection.py [--kills 100] [--recordings 50] [--seed 0] [--every 1]

Each kill is a SIGKILL. The three targets are equally frequent: the main process of the run, its worker processes, and
the workers of a local Dask cluster. A run that has lost its main process is started again in the same folder. During
the run, every visible file in the folder is read repeatedly, and none may be incomplete. After the run, tables,
events.csv and frame scores must be equal, byte for byte, to those of an undisturbed run, and no temporary file may
remain.

The second part is a small run that is killed immediately before one file-system event: an open, rename, removal, fsync
or new folder in the run folder. The same command resumes it, is killed at a random event, and resumes again. This is
repeated for each event of an undisturbed run, or for each --every th.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from loxo.runs.record import read_record
from loxo.survey.survey import survey
from toy import ToyModel, write_recording

PAUSE_S = 0.01  # per batch of four windows, so that a recording takes long enough to be interrupted
SHARD_MINUTES = 0.25
# Arrays of a part: of a whole shard; of one channel; of a recording that does not change.
MAY_BE_EMPTY = ("fault", "channels", "checks")
MAIN, WORKER, DASK = "the run", "a worker", "a Dask worker"


def make_card(folder: Path, recordings: int) -> Path:
    """Writes recordings of one to six shards."""
    for k in range(recordings):
        write_recording(folder / f"site{k % 3}" / f"r{k:03d}.wav", seconds=8 + 13 * (k % 6), seed=k)
    return folder


def run_survey(card: str, out: str, cluster: str | None, pause_s: float = PAUSE_S) -> None:
    """The survey to be killed; it runs in a separate process."""
    survey(
        [card],
        "toy",
        out,
        load=partial(ToyModel, pause_s),
        workers=2,
        cluster=cluster,
        shard_minutes=SHARD_MINUTES,
        keep_scores=True,
    )


class Watcher(threading.Thread):
    """Repeatedly reads all visible files of a run folder, and lists incomplete ones in `torn`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.torn, self.read, self.ended = folder, [], 0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            self.look()

    def look(self) -> None:
        for path in [Path(folder, name) for folder, _, names in os.walk(self.folder) for name in names]:
            # Only the journal is appended to. Its last line may be incomplete, and is then ignored.
            if path.name.startswith(".") or path.name == "journal.jsonl" or not path.is_file():
                continue
            try:
                self._check(path)
                self.read += 1
            except FileNotFoundError:
                pass
            except Exception as error:
                self.torn.append(f"{path}: {error!r}")

    def _check(self, path: Path) -> None:
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                assert all(len(np.atleast_1d(arrays[name])) for name in arrays.files if name not in MAY_BE_EMPTY)
            return
        text = path.read_text()
        if path.suffix == ".json":
            json.loads(text)
        else:
            lines = text.split("\n")
            separator = "," if path.suffix == ".csv" else "\t"
            assert lines[-1] == "" and len({line.count(separator) for line in lines[:-1]}) == 1, "incomplete"

    def stop(self) -> None:
        self.ended.set()
        self.join()
        self.look()


def processes_of(run: int) -> list[int]:
    """The worker processes of a run: its child processes."""
    found = []
    with suppress(psutil.Error):
        for child in psutil.Process(run).children(recursive=True):
            with suppress(psutil.Error):
                if "resource_tracker" not in " ".join(child.cmdline()):
                    found.append(child.pid)
    return sorted(found)


def progress_of(out: Path) -> tuple[int, int]:
    """Two counts that change when a shard or a recording is finished."""
    with suppress(FileNotFoundError):
        lines = (out / "journal.jsonl").read_bytes().count(b'\n{"path"')
        return lines, len(list(out.glob("parts/*/*.npz")))
    return 0, 0


def kill_and_resume(card: Path, out: Path, kinds: list[str], rng: random.Random, every_s: float) -> dict[str, int]:
    """One run with kills until it is finished or `kinds` is empty. Used kinds are removed from the list.

    Returns the number of kills of each kind.
    """
    kills = dict.fromkeys((MAIN, WORKER, DASK), 0)
    watcher = Watcher(out)
    watcher.start()
    done = False
    while not done:
        cluster = "local:2" if kinds and kinds[-1] == DASK else None
        process = multiprocessing.get_context("spawn").Process(target=run_survey, args=(str(card), str(out), cluster))
        progress = progress_of(out)
        process.start()
        while process.is_alive():
            process.join(rng.uniform(0, 2 * every_s))
            if not kinds or not process.is_alive():
                process.join()
                break
            targets = [process.pid] if kinds[-1] == MAIN else processes_of(process.pid)
            # Workers are killed only while they work. A run whose workers cannot start ends with an error.
            at_work = kinds[-1] == MAIN or progress_of(out) != progress
            if at_work and targets and (kinds[-1] == DASK) == (cluster is not None and kinds[-1] != MAIN):
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(targets), signal.SIGKILL)
                    kills[kinds.pop()] += 1
                    if cluster is not None:  # its new workers need seconds to start
                        progress = progress_of(out)
        if process.exitcode not in (0, -signal.SIGKILL):
            raise SystemExit(f"the run ended with exit code {process.exitcode}")
        done = process.exitcode == 0
    watcher.stop()
    if watcher.torn:
        raise SystemExit("incomplete files: " + "; ".join(watcher.torn[:5]))
    print(f"  {out.name}: {kills}, {watcher.read} files were read, none was incomplete", flush=True)
    return kills


def results(folder: Path) -> dict[str, bytes]:
    """The files that must be the same after any interruption."""
    names = [*folder.glob("tables/**/*.txt"), *folder.glob("scores/**/*.npz"), *folder.glob("events*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


def check_tidy(out: Path) -> None:
    """SystemExit when temporary files remain in a finished run."""
    if left := [path for path in out.rglob("*") if path.name in ("parts", ".lock") or path.suffix == ".tmp"]:
        raise SystemExit(f"{out}: temporary files remain: {left}")


def run_to_event(card: str, out: str, last: int, counted: str) -> None:
    """The small survey; it runs in a separate process, which kills itself immediately before file-system event `last`
    in the run folder. If it ends before, it writes the number of its events to `counted`."""
    count = 0

    def event() -> None:
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(name: str, arguments: tuple[object, ...]) -> None:
        if name in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"):
            path = arguments[0]
            if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(out):
                event()

    fsync = os.fsync

    def audited_fsync(handle: int) -> None:
        event()
        fsync(handle)

    os.fsync = audited_fsync
    sys.addaudithook(audit)
    survey(
        [card],
        "toy",
        out,
        load=ToyModel,
        shard_minutes=SHARD_MINUTES,
        keep_scores=True,
        formats=("raven", "audacity", "kaleidoscope"),
    )
    Path(counted).write_text(str(count))


def kill_at_events(folder: Path, seed: int, every: int = 1) -> int:
    """Kills the small run at each file-system event, or each `every` th. Returns the number of kills. SystemExit on any
    fault."""
    card, counted, whole, out = folder / "small", folder / "counted", folder / "small-whole", folder / "small-run"
    for k, seconds in enumerate((8, 40, 9)):
        write_recording(card / f"r{k}.wav", seconds, seed=k)

    def run(out: Path, last: int) -> bool:
        """Whether the run has ended."""
        arguments = (str(card), str(out), last, str(counted))
        process = multiprocessing.get_context("spawn").Process(target=run_to_event, args=arguments)
        process.start()
        process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            raise SystemExit(f"event {last}: the run ended with exit code {process.exitcode}")
        return process.exitcode == 0

    run(whole, 0)
    expected, events, rng = results(whole), int(counted.read_text()), random.Random(seed)
    kills = 0
    for last in range(1, events + 1, every):
        shutil.rmtree(out, ignore_errors=True)
        for event in (last, rng.randint(1, events), 0):
            kills += not run(out, event)
        if results(out) != expected:
            raise SystemExit(f"event {last}: the results differ from those of the undisturbed run")
        check_tidy(out)
    print(f"a small run with {events} file-system events, {kills} kills: all identical")
    return kills


def kill_and_compare(
    folder: Path, kinds: list[str], recordings: int, seed: int, every_s: float = 0.7
) -> dict[str, int]:
    """Kills, resumes and compares runs. Returns the number of kills of each kind. SystemExit on any fault."""
    card = make_card(folder / "card", recordings)
    run_survey(str(card), str(folder / "undisturbed"), None, 0.0)
    expected = results(folder / "undisturbed")
    rng = random.Random(seed)
    kinds = list(kinds)
    kinds.sort(key=lambda kind: (kind != DASK, rng.random()))  # used from the end, so the Dask cluster is started last
    total = dict.fromkeys((MAIN, WORKER, DASK), 0)
    rounds = 0
    while kinds:
        out = folder / f"run{rounds}"
        for kind, count in kill_and_resume(card, out, kinds, rng, every_s).items():
            total[kind] += count
        # A shard that was interrupted three times has failed.
        if any(file.status != "done" for file in read_record(out).recordings):
            run_survey(str(card), str(out), None, 0.0)
        if results(out) != expected:
            raise SystemExit(f"{out}: the results differ from those of the undisturbed run")
        check_tidy(out)
        rounds += 1
    print(f"{rounds} runs of {recordings} recordings, {len(expected)} files each: all identical")
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--recordings", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=(MAIN, WORKER, DASK), help="kill only processes of this kind")
    parser.add_argument("--every", type=int, default=1, help="kill at each n-th file-system event")
    args = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kinds = [args.only or (MAIN, WORKER, DASK)[k % 3] for k in range(args.kills)]
        total = kill_and_compare(Path(folder), kinds, args.recordings, args.seed)
        total["each file-system event"] = kill_at_events(Path(folder), args.seed, args.every)
    print(f"{sum(total.values())} kills in {time.monotonic() - start:.0f} s: {total}")


if __name__ == "__main__":
    main()
