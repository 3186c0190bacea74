"""The process of a job: `python -m loxo.app.job FOLDER` runs the command of the job folder and writes down its end.

The command is a child process, so that also its crash is written down. The child inherits the lock where the system
allows it: while it lives, the job counts as running, even if this process is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from loxo.app.jobs import Jobs, hold, read_values, write_values
from loxo.languages import ENGLISH, VARIABLES
from loxo.machine import ON_ITS_OWN

PROGRESS_FILE = "LOXO_PROGRESS"  # loxo.cli.app, which lies above this room
POLL_S = 0.3


def main(folder: Path) -> None:
    lock = hold(folder)
    if lock is None:
        return
    content = read_values(folder / "job.json")
    write_values(folder / "started.json", {**read_values(folder / "started.json"), "process": os.getpid()})
    code = _run(folder, content, lock)
    write_values(folder / "end.json", {"code": code, "at": time.time()})
    os.close(lock)
    Jobs(folder.parent.parent).start_waiting()


def _run(folder: Path, content: dict[str, Any], lock: int) -> int:
    options: dict[str, Any] = {"pass_fds": [lock]}
    if sys.platform == "win32":
        options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    environment = os.environ | {PROGRESS_FILE: str(folder / "progress.json"), "COLUMNS": "200", "PYTHONUTF8": "1"}
    environment |= {VARIABLES[0]: content.get("language", ENGLISH)} | ON_ITS_OWN
    process = subprocess.Popen(
        [sys.executable, "-m", "loxo", *content["command"]],
        stdin=subprocess.DEVNULL,
        env=environment,
        cwd=folder,
        **options,
    )
    is_stopping = False
    while process.poll() is None:
        if not is_stopping and (folder / "stop").exists():
            is_stopping = True
            process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
        time.sleep(POLL_S)
    return process.returncode


if __name__ == "__main__":
    main(Path(sys.argv[1]))
