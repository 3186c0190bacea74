"""A disk that is full or read-only in the middle of a run: a clear end, nothing torn, and it goes on."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from fakes import CHUNK_S, FakeModel, write

from kill_detection import Watcher
from loxo.errors import LoxoError
from loxo.survey.survey import survey


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 400 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here: that needs root")
    yield place
    subprocess.run(["umount", "-R", str(place)], check=True)


@pytest.fixture
def card(tmp_path):
    for k in range(6):
        write(tmp_path / "card" / f"{k}.wav", 4 + 2.5 * CHUNK_S * (k == 4), seed=k)
    return tmp_path / "card"


def whole_files(folder: Path) -> bool:
    watcher = Watcher(folder)
    watcher.look()
    return not watcher.torn and watcher.read > 0


def run(card, out, **options):
    return survey([card], "fake", out, load=FakeModel, keep_scores=True, shard_minutes=CHUNK_S / 60, **options)


@pytest.mark.parametrize("left", [0, 4096, 16384, 28672])
def test_a_run_on_a_full_disk_ends_with_a_message_and_resumes(card, small_disk, tmp_path, left):
    ballast = small_disk / "ballast"

    def fill(progress):
        if progress.finished == 2 and not ballast.exists():
            stat = os.statvfs(small_disk)
            ballast.write_bytes(bytes(max(stat.f_bavail * stat.f_frsize - left, 0)))

    with pytest.raises(LoxoError, match="room on the disk"):
        run(card, small_disk / "run", on_progress=fill)
    assert whole_files(small_disk / "run")
    ballast.unlink()
    assert run(card, small_disk / "run").resumed >= 2
    run(card, tmp_path / "whole")
    for path in (tmp_path / "whole").rglob("*"):
        if path.is_file() and path.name not in ("journal.jsonl", "run.json"):
            assert (small_disk / "run" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_a_run_into_a_folder_that_becomes_read_only_ends_with_a_message_and_resumes(card, small_disk):
    """The journal is open, which keeps the whole from becoming read-only, but the tables' folder can."""
    tables = str(small_disk / "run" / "tables")

    def protect(progress):
        if progress.finished == 2 and not os.statvfs(tables).f_flag & os.ST_RDONLY:
            subprocess.run(["mount", "--bind", tables, tables], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", tables], check=True)

    with pytest.raises(LoxoError, match="cannot be written"):
        run(card, small_disk / "run", on_progress=protect)
    assert whole_files(small_disk / "run")
    assert json.loads((small_disk / "run" / "run.json").read_text())["status"] == "interrupted"
    subprocess.run(["umount", tables], check=True)
    assert run(card, small_disk / "run").resumed == 2
