"""`loxo watch`: files that grow, are renamed, replaced, removed; each is searched once, with the tables of a survey."""

import json
import os
import threading
import time
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fakes import CHUNK_S, FakeModel, write

from loxo.errors import LoxoError
from loxo.live import watch as module
from loxo.live.watch import watch
from loxo.runs.journal import read_run_journal
from loxo.runs.record import read_record
from loxo.survey.survey import survey

SECONDS = 3 * CHUNK_S + 5
OLD = time.time() - 3600


class CountingModel(FakeModel):
    """Adds a line to `log` for each group of windows."""

    def __init__(self, log: Path) -> None:
        super().__init__(weight_of_place=1.0)
        self.log = log

    def logits(self, windows: np.ndarray) -> np.ndarray:
        with self.log.open("a") as file:
            file.write(f"{len(windows)}\n")
        return super().logits(windows)


def run(card: Path, out: Path, until, timeout_s: float = 200, **options) -> list[str]:
    """Watches until `until(status)`; returns the notes."""
    notes: list[str] = []
    end = time.monotonic() + timeout_s

    def stop(status):
        assert time.monotonic() < end, f"{status}, {notes}"
        return until(status)

    options = {"settle_s": 0.3, "complete_after_s": 1.0, "poll_s": 0.05, **options}
    options.setdefault("load", partial(FakeModel, None, 1.0))
    watch(card, "fake", out, on_note=notes.append, stop=stop, **options)
    return notes


def same_tables(card: Path, out: Path, tmp: Path) -> int:
    """The run's tables and events are those of a survey of the same folder, byte for byte. Returns its windows."""
    log = tmp.with_suffix(".log")
    survey([card], "fake", tmp, load=partial(CountingModel, log), formats=("raven",))
    for name in ["events.csv", *(str(path.relative_to(tmp)) for path in tmp.glob("tables/**/*.txt"))]:
        assert (out / name).read_bytes() == (tmp / name).read_bytes(), name
    statuses = [[file.status for file in read_record(run).recordings] for run in (out, tmp)]
    assert statuses[0] == statuses[1]
    return windows(log)


def windows(log: Path) -> int:
    """The windows that were computed."""
    return sum(map(int, log.read_text().split()))


def aged(path: Path) -> Path:
    os.utime(path, (OLD, OLD))
    return path


def content(seconds: float, seed: int = 0, tmp: Path | None = None) -> bytes:
    path = write(tmp / f".content{seed}.wav", seconds, seed=seed, subtype="PCM_16")
    data = path.read_bytes()
    path.unlink()
    return data


def test_waiting_and_growing(tmp_path):
    """A file that waits, one that grows in steps, one under a temporary name; the growing one is searched early."""
    card, out, log = tmp_path / "card", tmp_path / "run", tmp_path / "log"
    aged(write(card / "a_20200101_000000.wav", SECONDS))
    data = content(SECONDS, 1, tmp_path)
    growing, hidden = card / "b_20200101_000000.wav", card / ".c_20200101_000000.wav.Xy12"
    hidden.write_bytes(content(30, 2, tmp_path))
    early: list[float] = []

    def copy():
        for at in range(0, len(data), 12000):
            with growing.open("ab") as file:
                file.write(data[at : at + 12000])
            time.sleep(0.08)
            early.extend(entry.analysed_s for entry, _ in read_run_journal(out) if entry.version == module.GROWING)
        aged(hidden).rename(card / "c_20200101_000000.wav")

    copier = threading.Thread(target=copy)

    def until(status):
        if not copier.ident:
            copier.start()
        return not copier.is_alive() and status.finished == 3

    run(card, out, until, load=partial(CountingModel, log))
    assert early and min(early) < SECONDS - CHUNK_S
    assert windows(log) == same_tables(card, out, tmp_path / "whole")  # each stretch once
    assert not list(out.glob("parts/*/*"))
    state = json.loads((out / "live.json").read_text())
    shown = {"kind": "watch", "folder": str(card), "complete": 3, "growing": 0, "waiting": 0, "problems": 0}
    assert state.items() >= shown.items() and state["events"] == sum(entry.events for entry, _ in read_run_journal(out))
    end = datetime(2020, 1, 1).astimezone() + timedelta(seconds=int(SECONDS))
    assert datetime.fromisoformat(state["heard"]) == end


def test_preallocated_then_filled(tmp_path):
    """A copy that reserves its room first contains zeros, which are searched, and found to be replaced."""
    card, out = tmp_path / "card", tmp_path / "run"
    data = content(SECONDS, 3, tmp_path)
    path = card / "a_20200101_000000.wav"
    card.mkdir()
    written = False

    def until(status):
        nonlocal written
        if not status.found:
            path.write_bytes(data[:44] + bytes(len(data) - 44))
        if status.growing and not written:
            path.write_bytes(data)
            written = True
        return written and status.finished == 1

    notes = run(card, out, until, settle_s=1.0)
    assert any("has changed since it was searched" in note for note in notes)
    same_tables(card, out, tmp_path / "whole")


def test_replaced_truncated_removed(tmp_path):
    card, out = tmp_path / "card", tmp_path / "run"
    replaced, removed = card / "a_20200101_000000.wav", card / "b_20200101_000000.wav"
    aged(write(replaced, 30, seed=1))
    data = content(60, 2, tmp_path)
    cut = card / "c_20200101_000000.wav"
    step = 0

    def until(status):
        nonlocal step
        if step == 0 and status.finished == 1:
            cut.write_bytes(data[: len(data) // 2])
            removed.write_bytes(data[: len(data) - 5000])
            step = 1
        elif step == 1 and status.found == 3:
            removed.unlink()
            write(card / "new.tmp", 40, seed=5, format="WAV")
            aged(card / "new.tmp").replace(replaced)
            step = 2
        return step == 2 and status.finished == 2 and status.found == 2

    notes = run(card, out, until)
    assert any("was removed before" in note for note in notes)
    record = read_record(out)
    assert [problem for problem, _ in record.problems] == [str(removed)]
    by_name = {Path(file.recording).name: file for file in record.recordings}
    assert by_name[replaced.name].duration_s == pytest.approx(40)
    assert by_name[cut.name].status == "truncated" and "cut off" in by_name[cut.name].reason


def test_resumes_within_a_growing_recording(tmp_path):
    """A stopped watch keeps the chunks of a growing file; the next call computes only the others."""
    card, out, log = tmp_path / "card", tmp_path / "run", tmp_path / "log"
    data = content(SECONDS, 1, tmp_path)
    path = card / "a_20200101_000000.wav"
    card.mkdir()
    path.write_bytes(data[: len(data) * 3 // 4])
    run(
        card,
        out,
        lambda status: status.growing == 1,
        load=partial(CountingModel, log),
        settle_s=100,
        complete_after_s=200,
    )
    assert [file.status for file in read_record(out).recordings] == ["truncated"]
    before = windows(log)
    path.write_bytes(data)
    run(card, out, lambda status: status.finished == 1, load=partial(CountingModel, log))
    assert before == 2 * 16 and windows(log) == same_tables(card, out, tmp_path / "whole")


def test_kills():
    """SIGKILLs of a watch with alerts, over files that grow: nothing lost, nothing twice."""
    from live import kills

    kills(2, files=3)


def test_state_names_the_newest_sound(tmp_path):
    """By the names of recordings; by the last change of a file whose name has no time, or one that is to come. A later
    call reads it from the journal."""
    card, out = tmp_path / "card", tmp_path / "run"
    aged(write(card / "a_20200101_000000.wav", 30))
    aged(write(card / "a_20990101_000000.wav", 30))
    run(card, out, lambda status: status.finished == 2)
    for _ in range(2):
        state = json.loads((out / "live.json").read_text())
        assert datetime.fromisoformat(state["heard"]).timestamp() == int(OLD)
        (out / "live.json").unlink()
        run(card, out, lambda status: status.finished == 2)


def test_bad_recording_waits_then_fails(tmp_path):
    card, out = tmp_path / "card", tmp_path / "run"
    card.mkdir()
    bad = card / "a_20200101_000000.wav"
    bad.write_bytes(b"")
    began = time.monotonic()
    notes = run(card, out, lambda status: status.finished == 1, complete_after_s=0.8)
    assert time.monotonic() - began > 0.7
    assert "empty" in read_record(out).recordings[0].reason and "empty" in notes[0]


def test_refuses(tmp_path):
    with pytest.raises(LoxoError, match="no such folder"):
        watch(tmp_path / "none", "fake", tmp_path / "run")
    with pytest.raises(LoxoError, match="on a disk of this computer"):
        watch(tmp_path, "fake", "s3://bucket/run")
    with pytest.raises(LoxoError, match="above 0"):
        watch(tmp_path, "fake", tmp_path / "run", settle_s=0)
