"""Files are written whole or not at all, and are on the disk when the call returns."""

import os
import stat

import pytest

from loxo.errors import LoxoError
from loxo.files import atomic_file, lock_file, without_fsync, write_atomically


@pytest.fixture
def synced(monkeypatch):
    """The sizes of the files at the calls of os.fsync; None for folders."""
    sizes, fsync = [], os.fsync

    def counted(handle):
        status = os.fstat(handle)
        sizes.append(None if stat.S_ISDIR(status.st_mode) else status.st_size)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", counted)
    return sizes


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, synced, monkeypatch):
    path, named_after = tmp_path / "a.txt", []
    replace = type(path).replace
    monkeypatch.setattr(type(path), "replace", lambda *names: (named_after.append(list(synced)), replace(*names)))
    write_atomically(path, b"12345")
    with atomic_file(path) as file:
        file.write("123")
    assert named_after == [[5], [5, None, 3]] and synced == [5, None, 3, None] and path.read_text() == "123"


def test_fsync_can_be_left_out_for_a_block(tmp_path, synced):
    with without_fsync():
        write_atomically(tmp_path / "a.txt", b"12345")
    assert synced == []
    write_atomically(tmp_path / "a.txt", b"1234")
    assert synced == [4, None]


def test_a_locked_file_cannot_be_locked_again_until_it_is_closed(tmp_path):
    with (tmp_path / "a").open("w") as first, (tmp_path / "a").open() as second:
        lock_file(first.fileno())
        with pytest.raises(BlockingIOError):
            lock_file(second.fileno())
        first.close()
        lock_file(second.fileno())


def test_a_file_system_without_locks_locks_nothing(tmp_path, monkeypatch):
    from loxo import files

    def flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(files.fcntl, "flock", flock)
    with (tmp_path / "a").open("w") as file:
        lock_file(file.fileno())


def test_a_write_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(LoxoError, match=r"a\.txt: the file cannot be written"), atomic_file(path) as file:
        file.write("new")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old" and [item.name for item in tmp_path.iterdir()] == ["a.txt"]
