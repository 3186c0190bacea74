"""Output that all benchmarks share: machine, versions, date, quartiles, tables, sections of the docs, and CPU time."""

from __future__ import annotations

import ctypes
import io
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

PACKAGES = ("loxo", "onnxruntime", "openvino", "torch", "numpy", "scipy", "soundfile", "soxr", "pandas")
RESULTS = Path("runs/benchmarks")
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
PR_SET_CHILD_SUBREAPER = 36  # from linux/prctl.h
LOXO = str(Path(sys.executable).parent / "loxo")  # the command of this environment


def machine() -> dict[str, Any]:
    """CPU, cores, memory and load, and the versions of Python and of the packages."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in about.splitlines() if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 1e9, 1),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """Versions of the installed packages among PACKAGES."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def write_result(name: str, result: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Writes NAME-DATE.json with the result and the machine. Further files of the same day get a number."""
    folder.mkdir(parents=True, exist_ok=True)
    stem, number = f"{name}-{date.today().isoformat()}", 1
    path = folder / f"{stem}.json"
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.json"
    path.write_text(json.dumps({"date": date.today().isoformat(), "machine": machine(), **result}, indent=1) + "\n")
    print(f"\nwritten to {path}")
    return path


@contextmanager
def section(name: str, page: Path = PAGE) -> Iterator[None]:
    """Prints what the block prints, and replaces section `name` of the page of benchmarks by it.

    The section lies between `<!-- NAME -->` and `<!-- end -->`. NAME is a make target; ": ..." after it distinguishes
    two sections of one target. The first line contains date, commit, machine and command. After an error in the block,
    the page stays as it is.
    """
    with redirect_stdout(_Copy(sys.stdout)) as printed:
        yield
    text = f"<!-- {name} -->\n\n{_origin(name)}\n\n{printed.getvalue().strip()}\n\n<!-- end -->"
    pattern = rf"<!-- {re.escape(name)} -->\n.*?<!-- end -->"
    content, count = re.subn(pattern, lambda _: text, page.read_text(encoding="utf-8"), flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{page} has {count} sections <!-- {name} -->; one is needed. The figures are printed above.")
    page.write_text(content, encoding="utf-8")
    print(f"\nsection {name} of {page.name} written")


class _Copy(io.StringIO):
    """Keeps the text that is written to another stream."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(text)
        return super().write(text)

    def flush(self) -> None:
        self.stream.flush()


def _origin(name: str) -> str:
    """The line with date, commit, machine and command. Of absolute paths only the last part is shown."""
    changed = "-dirty" if _git("status", "--porcelain", "src", "benchmarks") else ""
    commit = (_git("rev-parse", "--short", "HEAD") or "unknown") + changed
    about = machine()
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
    return (
        f"Measured {date.today().isoformat()} at commit {commit} on {about['processor']}, {about['cores']} cores, "
        f"by `make {name.partition(':')[0]}`, here `{command}`"
    )


def _git(*arguments: str) -> str:
    """What a git command prints about this checkout. Empty without git or outside a checkout."""
    with suppress(OSError):
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True).stdout.strip()
    return ""


def children_cpu_s() -> float:
    """CPU time in seconds of all ended child processes and their descendants. Needs the module `resource`.

    The function first waits for processes that ended commands have left. `loxo detect`, for example, does not wait for
    the process from which its workers are forked. Only Linux can adopt such orphans. On other systems the CPU time of
    that process and of its workers is missing.
    """
    import resource

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with suppress(ChildProcessError):  # no child process is left
        while True:
            os.waitpid(-1, 0)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles of the values of all rounds."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else list(values) * 3
    return {"median": middle, "low": low, "high": high, "rounds": len(values)}


def format_spread(values: dict[str, float], form: str = "{:.1f}") -> str:
    """Median and quartiles as text, such as "12.0 (11.5-12.4)"."""
    return f"{form.format(values['median'])} ({form.format(values['low'])}-{form.format(values['high'])})"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints a Markdown table. None is printed as a dash."""
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join('–' if cell is None else str(cell) for cell in row)} |")
