"""Files are written whole or not at all, and are on the disk when the call returns. Names of files, links."""

import os
import re
import stat

import pytest

from loxo.errors import LoxoError
from loxo.files import (
    RESERVED_NAMES,
    atomic_file,
    escape,
    inside,
    leads_out,
    lock_file,
    parse_json,
    portable_name,
    unescape,
    walk,
    walk_files,
    without_fsync,
    write_atomically,
)


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


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\tb\r\nc", "a<09>b<0D><0A>c"),
        ("caf\udce9", "caf<E9>"),  # a byte that is not UTF-8
        ("\udc85\x85\u2028\ud83d", "<DC85><85><2028><D83D>"),
        ("caf\u00e9 \u6f22 a<b <41>", "caf\u00e9 \u6f22 a<b <41>"),
    ],
)
def test_characters_that_a_table_cannot_hold_become_codes(text, written):
    assert escape(text) == escape(written) == written
    assert unescape(written) == text
    assert written.encode().decode().splitlines() == [written]


@pytest.mark.parametrize(
    "name",
    [
        *("a\tb", "a\nb", "a\rb", "a:b", 'a"<>|?*b', "a\\b", "caf\udce9", "CON", "con.2020", "com1 ", "..", ""),
        *("x" * 249, "\u6f22" * 78, "x./a", "x /a", "NUL/a", "y" * 255 + "/a", "a.selections.txt/b", "a.npz/b"),
    ],
)
def test_a_name_that_some_disk_refuses_is_changed_and_stays_unique(name):
    portable = portable_name(name)
    for part in portable.split("/"):
        assert part and len(f"{part}.selections.txt".encode()) <= 255 and not part.endswith((".", " "))
        assert not set(part) & set('\t\r\n<>:"|?*\\') and part.split(".")[0].upper() not in RESERVED_NAMES
    assert portable != name and re.search("-[0-9a-f]{8}(/|$)", portable)
    assert portable_name(f"{name}_") != portable and portable_name(name) == portable
    assert not {part for part in portable.split("/")[:-1] if part.endswith((".txt", ".npz"))}


@pytest.mark.parametrize("name", ["a", "nn01/2020-01-01 00.00.00", "caf\u00e9", "x" * 220, ".a", "a.txt", "CONGO"])
def test_usual_names_stay(name):
    assert portable_name(name) == name


@pytest.mark.parametrize("name", ["x" * 255, "\u6f22" * 85, "x" * 251 + ".txt"])
def test_a_file_may_have_the_longest_name_of_the_disk(tmp_path, name):
    write_atomically(tmp_path / name, b"1")
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_a_walk_follows_links_and_searches_each_folder_once(tmp_path):
    for name in ("r/sub/b", "r/a", "other/deep/d", "other/c", "r/.hidden/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    links = {
        "r/0": "../other",
        "r/1": "../other",
        "r/up": "..",
        "r/sub/loop": ".",
        "r/gone": "nowhere",
        "r/self": "self",
    }
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    faults = []
    found = dict(walk([tmp_path / "r"], lambda path, error: faults.append(path.name)))
    names = {folder.relative_to(tmp_path).as_posix(): names for folder, names in found.items() if names is not None}
    assert names == {"r": ["a"], "r/sub": ["b"], "r/0": ["c"], "r/0/deep": ["d"], "r/up": []}
    assert faults == ["gone", "self"]
    assert len(list(walk_files(tmp_path / "r"))) == 4


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
