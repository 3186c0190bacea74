"""Jobs: commands of Loxo that run as processes of their own, also after the page and the server have ended.

A job is a folder `jobs/ID/` in the home folder of the app (loxo.machine.user_data):

    job.json        command (the arguments of `loxo`), run (folder, or null), lane, created, language
    started.json    written before its process starts: when; the process adds its number
    lock            held by the process (loxo.files.lock_file) as long as it lives
    stop            a request to stop
    progress.json   the progress of the command (loxo.cli.app: PROGRESS_FILE)
    output.txt      what the command prints
    end.json        exit code and time

The state of a job follows from these files, so it is found again after a restart of the server or of the computer. The
lock is certain where a process number is not: numbers are given again. Jobs of one lane run one after the other. A job
that ends starts the next one, and the server does so too; a lock on `queue.lock` keeps both from starting it twice.

Failure policy: a damaged or half-written job folder is skipped.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loxo.errors import LoxoError
from loxo.files import lock_file, parse_json, write_atomically
from loxo.languages import current
from loxo.machine import ON_ITS_OWN

WAITING, RUNNING, FINISHED, FAILED = "waiting", "running", "finished", "failed"
STOPPED, INTERRUPTED = "stopped", "interrupted"  # by the user; by a crash or a loss of power
LONG, QUICK = "long", "quick"  # lanes: a report does not wait for a detection of weeks
START_S = 60.0  # a process that has not taken its lock after this time has failed
INTERRUPT_CODE = 130  # exit code after Ctrl-C
PROBLEMS_CODE = 1  # the command has finished, and has reported problems
MAX_OUTPUT = 64_000  # bytes that are read from the end of the output


@dataclass(frozen=True)
class Job:
    """A job and its state."""

    id: str
    command: list[str]  # arguments of `loxo`
    run: str | None  # run folder
    lane: str
    created: float  # seconds since 1970
    state: str
    started: float | None = None
    ended: float | None = None
    code: int | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    is_stopping: bool = False

    @property
    def is_open(self) -> bool:
        return self.state in (WAITING, RUNNING)


class Jobs:
    """The jobs in a home folder."""

    def __init__(self, home: Path) -> None:
        self.home, self.folder = home, home / "jobs"
        self._ended: dict[str, tuple[int, Job]] = {}  # jobs that were read after their end, with its time

    def add(self, command: Sequence[str], run: str | None, lane: str) -> Job:
        """Adds a job to the queue. Its command uses the current language. Raises LoxoError while another job of its
        run folder waits or runs."""
        if run is not None and lane == LONG:
            for job in self.listed():
                if job.is_open and job.lane == LONG and job.run == run:
                    raise LoxoError(f"{run}: a job of this run folder is not finished yet.")
        created = time.time()
        id = time.strftime("%Y%m%d-%H%M%S-", time.gmtime(created)) + secrets.token_hex(3)
        content = {"command": list(command), "run": run, "lane": lane, "created": created, "language": current()}
        write_values(self.folder / id / "job.json", content)
        return self.get(id)

    def get(self, id: str) -> Job:
        """Raises LoxoError for an unknown job."""
        job = self._read(id) if id.replace("-", "").isalnum() else None
        if job is None:
            raise LoxoError(f"There is no job {id}.")
        return job

    def listed(self) -> list[Job]:
        """All jobs, the oldest first."""
        try:
            ids = os.listdir(self.folder)  # noqa: PTH208 (thousands of names)
        except FileNotFoundError:
            return []
        found = map(self._read, ids)
        return sorted((job for job in found if job is not None), key=lambda job: (job.created, job.id))

    def _read(self, id: str) -> Job | None:
        folder = self.folder / id
        try:
            ended = (folder / "end.json").stat().st_mtime_ns
        except OSError:
            return _read_job(folder)
        known = self._ended.get(id)
        if known is not None and known[0] == ended:
            return known[1]
        job = _read_job(folder)
        if job is not None and job.ended is not None:
            self._ended[id] = ended, job
        return job

    def stop(self, id: str) -> None:
        """Asks a job to stop. A job that waits leaves the queue."""
        self.get(id)
        (self.folder / id / "stop").touch()

    def resume(self, id: str) -> None:
        """Puts a job that has ended at the end of the queue: the same command resumes its run."""
        job = self.get(id)
        if job.is_open:
            raise LoxoError("The job has not ended yet.")
        folder = self.folder / id
        for name in ("end.json", "progress.json", "started.json", "stop"):
            (folder / name).unlink(missing_ok=True)
        content = read_values(folder / "job.json") | {"created": time.time()}
        write_values(folder / "job.json", content)

    def remove(self, id: str) -> None:
        """Forgets a job that has ended. Its run folder stays."""
        if self.get(id).state == RUNNING:
            raise LoxoError("The job has not ended yet.")
        shutil.rmtree(self.folder / id, ignore_errors=True)

    def output(self, id: str) -> str:
        """The end of what the command has printed."""
        try:
            with (self.folder / id / "output.txt").open("rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - MAX_OUTPUT, 0))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def start_waiting(self) -> None:
        """Starts the oldest waiting job of each lane in which none runs."""
        listed = self.listed()
        if not any(job.state == WAITING for job in listed):
            return
        with self._queue() as is_mine:
            if not is_mine:  # another process is starting jobs
                return
            listed = self.listed()
            for lane in (LONG, QUICK):
                jobs = [job for job in listed if job.lane == lane]
                waiting = [job for job in jobs if job.state == WAITING]
                if waiting and not any(job.state == RUNNING for job in jobs):
                    start(self.folder / waiting[0].id)

    @contextmanager
    def _queue(self) -> Iterator[bool]:
        self.home.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.home / "queue.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            lock_file(handle)
            yield True
        except BlockingIOError:
            yield False
        finally:
            os.close(handle)


def start(folder: Path) -> None:
    """Starts the process of a job, independent of this process and its terminal."""
    write_values(folder / "started.json", {"at": time.time()})
    options: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        # A console without a window, which the processes of the job share: they can receive Ctrl-Break.
        options = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    # Relative folders of modules are those of this process, which may have been started in another folder.
    modules = os.environ.get("PYTHONPATH", "")
    paths = {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, modules.split(os.pathsep)))} if modules else {}
    with (folder / "output.txt").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "loxo.app.job", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=os.environ | paths | ON_ITS_OWN,
            **options,
        )
    _children.append(process)
    _children[:] = [child for child in _children if child.poll() is None]  # ended ones are no longer zombies


_children: list[subprocess.Popen[bytes]] = []


def hold(folder: Path, patience_s: float = 5.0) -> int | None:
    """Takes the lock of a job: the open file that holds it, or None if another process has it."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + patience_s
    while True:
        try:
            lock_file(handle)
            return handle
        except BlockingIOError:  # a server that only looks holds it for a moment
            if time.monotonic() >= until:
                os.close(handle)
                return None
            time.sleep(0.05)


def _is_held(folder: Path) -> bool:
    try:
        handle = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        lock_file(handle)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _read_job(folder: Path) -> Job | None:
    content, started, end = (read_values(folder / name) for name in ("job.json", "started.json", "end.json"))
    is_stopped = (folder / "stop").exists()
    try:
        state, code = _state(folder, started, end, is_stopped)
        return Job(
            id=folder.name,
            command=[str(argument) for argument in content["command"]],
            run=content["run"],
            lane=content["lane"],
            created=float(content["created"]),
            state=state,
            started=started.get("at"),
            ended=end.get("at"),
            code=code,
            progress=read_values(folder / "progress.json"),
            is_stopping=is_stopped and state == RUNNING,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _state(folder: Path, started: dict[str, Any], end: dict[str, Any], is_stopped: bool) -> tuple[str, int | None]:
    if end:
        code = int(end["code"])
        if code in (0, PROBLEMS_CODE):
            return FINISHED, code
        return (STOPPED if is_stopped or code == INTERRUPT_CODE else FAILED), code
    if not started:
        return (STOPPED if is_stopped else WAITING), None
    if _is_held(folder):
        return RUNNING, None
    if end := read_values(folder / "end.json"):  # it ended between the two looks
        return _state(folder, started, end, is_stopped)
    if "process" not in started and time.time() - float(started["at"]) < START_S:
        return RUNNING, None
    return (STOPPED if is_stopped else INTERRUPTED), None


def read_values(path: Path) -> dict[str, Any]:
    """A JSON object; empty if the file is missing or damaged."""
    with suppress(OSError, ValueError):
        content = parse_json(path.read_bytes())
        if isinstance(content, dict):
            return content
    return {}


def write_values(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
