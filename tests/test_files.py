"""Files are written whole or not at all, and are on the disk when the call returns."""

import os

import pytest

from loxo.errors import LoxoError
from loxo.files import atomic_file, inside, leads_out, lock_file, parse_json, without_fsync, write_atomically


@pytest.fixture
def synced(monkeypatch):
    """The sizes of the files at the calls of os.fsync."""
    sizes, fsync = [], os.fsync

    def counted(handle):
        sizes.append(os.fstat(handle).st_size)
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
    assert named_after == [[5], [5, 3]] and path.read_text() == "123"


def test_fsync_can_be_left_out_for_a_block(tmp_path, synced):
    with without_fsync():
        write_atomically(tmp_path / "a.txt", b"12345")
    assert synced == []
    write_atomically(tmp_path / "a.txt", b"1234")
    assert synced == [4]


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


def test_a_draft_does_not_follow_a_link_of_its_name(tmp_path):
    (tmp_path / "other.txt").write_text("mine")
    (tmp_path / f".a.txt.{os.getpid()}.tmp").symlink_to(tmp_path / "other.txt")
    write_atomically(tmp_path / "a.txt", b"new")
    assert (tmp_path / "other.txt").read_text() == "mine" and (tmp_path / "a.txt").read_text() == "new"
    assert not (tmp_path / "a.txt").is_symlink()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "..",
            "../a",
            "a/../../b",
            "a/..",
            "/a",
            "//host/a",
            "\\a",
            "\\\\host\\a",
            "a\\..\\..\\b",
            "C:a",
            "c:\\a",
            "c:/a",
        ),
        *("", "a\0b", "file/\0", None, 3, ["a"]),
    ],
)
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    assert leads_out(name)
    with pytest.raises(LoxoError, match="leads out of this folder"):
        inside(tmp_path, name)


def test_other_names_are_used(tmp_path):
    (tmp_path / "real/b").mkdir(parents=True)
    (tmp_path / "run").symlink_to(tmp_path / "real")
    (tmp_path / "real/link").symlink_to("b")
    for name in ("a", "b", "link", "link/new", "b/...", "b/..c", "tables/a\\b:c.txt", "~", "new/one/two"):
        assert inside(tmp_path / "run", name) == tmp_path / "run" / name
    with pytest.raises(LoxoError, match="cannot be used"):
        inside(tmp_path, "a" * 300)


@pytest.mark.skipif(os.name == "nt", reason="makes pipes and links")
def test_links_that_lead_out_and_devices_are_refused(tmp_path):
    (tmp_path / "run").mkdir()
    for target in ("..", "/etc", "loop", "../run2", "../missing"):
        (tmp_path / "run/loop").unlink(missing_ok=True)
        (tmp_path / "run/loop").symlink_to(target)
        for name in ("loop", "loop/a"):
            with pytest.raises(LoxoError, match=r"leads out|cannot be used"):
                inside(tmp_path / "run", name)
    os.mkfifo(tmp_path / "run/pipe")
    with pytest.raises(LoxoError, match="a pipe or a device"):
        inside(tmp_path / "run", "pipe")


@pytest.mark.parametrize(
    "content", ["[" * 200_000, '{"a":' * 200_000, "1" * 5000, "{", b"\xff\xfe\x00", "[" * 200_000 + "]" * 200_000]
)
def test_every_fault_of_json_is_a_value_error(content):
    with pytest.raises(ValueError):
        parse_json(content)
