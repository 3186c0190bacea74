"""The journal of a run: finished recordings are on the disk, in whole lines."""

import io
import os

import pytest

from loxo.errors import LoxoError
from loxo.runs.journal import DONE, Entry, Follower, Journal, read_journal

PARAMETERS = {"threshold": 0.5}
ROWS = [["1.0", "2.0", "rumble", "0.9", "10.0", "80.0", "", ""]]


def entry(name):
    return Entry(path=f"/sd/{name}.wav", recording=f"{name}.wav", name=name, size=1, version="1", status=DONE)


class ShortWrites(io.FileIO):
    """A file that writes at most 7 bytes in a call, as on a nearly full disk, and no more than `room` bytes in all."""

    room = 10**6

    def write(self, data):
        if self.room <= 0:
            raise OSError(28, "No space left on device")
        written = super().write(bytes(data)[: min(7, self.room)])
        self.room -= written
        return written


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.open(PARAMETERS)
    yield journal
    journal.close()


def test_a_recording_and_all_before_it_are_on_the_disk_when_add_returns(journal, monkeypatch):
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda handle: sizes.append(os.fstat(handle).st_size))
    journal.add(entry("a"), ROWS, to_disk=False)
    assert sizes == []
    journal.add(entry("b"), ROWS)
    assert sizes == [journal.path.stat().st_size] and journal.path.read_bytes().count(b"\n") == 3


def test_a_short_write_is_continued(journal):
    journal._file.close()
    journal._file = ShortWrites(journal.path, "ab+")
    for name in "ab":
        journal.add(entry(name), ROWS)
    assert journal.rows("/sd/b.wav") == ROWS
    assert [(read.name, rows) for read, rows in read_journal(journal.path)] == [("a", ROWS), ("b", ROWS)]


def test_a_line_that_cannot_be_written_to_its_end_is_removed(journal):
    journal.add(entry("a"), ROWS)
    before = journal.path.read_bytes()
    journal._file.close()
    journal._file = ShortWrites(journal.path, "ab+")
    journal._file.room = 20
    with pytest.raises(LoxoError, match="room on the disk"):
        journal.add(entry("b"), ROWS)
    assert journal.path.read_bytes() == before
    journal._file.room = 10**6
    journal.add(entry("c"), ROWS)
    assert [read.name for read, _ in read_journal(journal.path)] == ["a", "c"]


def test_a_journal_drops_an_incomplete_last_line_when_it_is_opened(journal):
    journal.add(entry("a"), ROWS)
    journal.close()
    before = journal.path.read_bytes()
    journal.path.write_bytes(before + b'{"path": "torn')
    again = Journal(journal.path)
    again.open(PARAMETERS)
    again.close()
    assert list(again.entries) == ["/sd/a.wav"] and journal.path.read_bytes() == before


def test_a_follower_reads_what_is_new_and_starts_again_when_the_journal_is_rewritten(tmp_path):
    follower = Follower(tmp_path)
    assert follower.read() == []
    journal = Journal(tmp_path / "journal.jsonl")
    journal.open({"names": {}})
    journal.add(entry("a"), [])
    assert [found.name for found, _ in follower.read()] == ["a"] and follower.parameters == {"names": {}}
    assert follower.read() == []
    with journal.path.open("ab") as file:
        file.write(b'{"half a line')
    assert follower.read() == [] and follower.restarts == 0
    with journal.path.open("r+b") as file:
        file.truncate(journal.path.stat().st_size - 13)
    journal.add(entry("b"), [])
    assert [found.name for found, _ in follower.read()] == ["b"]
    journal.close_compact()
    assert [found.name for found, _ in follower.read()] == ["a", "b"] and follower.restarts == 1
