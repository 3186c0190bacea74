"""Acknowledged = on the disk, in the file that the path names, while other programs replace the decision log."""

import errno
import json
import os
import random
import shutil

import pytest

from loxo.errors import LoxoError
from loxo.review import decision_log
from loxo.review.decision_log import MAX_SIZE, DecisionLog, read_decision_log, read_decision_logs


@pytest.fixture
def path(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "review" / "ana.jsonl"


@pytest.fixture
def log(path):
    log = DecisionLog(path, "Ana")
    yield log
    if path.parent.parent.is_dir():
        log.close()


def verdicts(decisions):
    return {event: decision.verdict for event, decision in decisions.by_event.items()}


def replaced(path, content):
    """What a program that synchronises folders does."""
    copy = path.with_name(".copy")
    copy.write_bytes(content)
    copy.replace(path)


def elsewhere(path, number):
    """The log of the same reviewer on another computer, which has an older copy."""
    lines = path.read_bytes().splitlines(keepends=True)[:4]
    change = {"event": f"there{number}", "verdict": "no"}
    lines.append(
        json.dumps({"action": len(lines), "at": f"2026-01-01T00:00:{number:02}", "changes": [change]}).encode()
    )
    return b"".join(lines) + b"\n"


TROUBLE = {
    "replaced by a copy": lambda path, number: replaced(path, path.read_bytes()),
    "replaced by an older copy": lambda path, number: replaced(
        path, b"".join(path.read_bytes().splitlines(keepends=True)[:3])
    ),
    "replaced from elsewhere": lambda path, number: replaced(path, elsewhere(path, number)),
    "overwritten in place": lambda path, number: path.write_bytes(elsewhere(path, number)),
    "an incomplete copy": lambda path, number: replaced(path, path.read_bytes()[:-7]),
    "empty": lambda path, number: path.write_bytes(b""),
    "renamed": lambda path, number: path.rename(path.with_name("ana.conflict.jsonl")),
    "removed": lambda path, number: path.unlink(),
    "folder removed": lambda path, number: shutil.rmtree(path.parent),
}


@pytest.mark.parametrize("what", TROUBLE)
def test_fifty_decisions_are_on_the_disk_when_they_are_answered(path, log, what):
    answered = {}
    for number in range(50):
        if number % 3 == 2:
            TROUBLE[what](path, number)
        verdict = random.Random(number).choice(("yes", "no", "unsure"))
        assert f"e{number}" in log.add([{"event": f"e{number}", "verdict": verdict}])
        answered[f"e{number}"] = verdict
        stored = verdicts(read_decision_log(path))
        assert answered.items() <= stored.items() and stored == verdicts(log.decisions)
    if what in ("replaced from elsewhere", "overwritten in place"):
        assert {f"there{number}" for number in range(2, 50, 3)} <= stored.keys()


@pytest.mark.parametrize("seed", range(3))
def test_undo_and_redo_are_the_same_with_and_without_older_copies(path, tmp_path, seed):
    chance = random.Random(seed)
    log, calm = DecisionLog(path, "Ana"), DecisionLog(tmp_path / "run" / "calm.jsonl", "Ana")
    for number in range(80):
        if chance.random() < 0.3:
            lines = path.read_bytes().splitlines(keepends=True)
            replaced(path, b"".join(lines[: chance.randrange(len(lines) + 1)]))
        step = chance.choice(("add", "add", "add", "undo", "undo", "redo"))
        change = [{"event": f"e{chance.randrange(5)}", "verdict": chance.choice(("yes", "no")), "note": str(number)}]
        for one in (log, calm):
            one.add(change) if step == "add" else getattr(one, step)()
        assert verdicts(read_decision_log(path)) == verdicts(log.decisions) == verdicts(calm.decisions)
    log.close()
    calm.close()


def test_actions_and_undoing_of_two_copies_are_joined(path, log):
    for event in ("a", "b", "c"):
        log.add([{"event": event, "verdict": "yes"}])
    base = path.read_bytes()
    log.undo()
    log.add([{"event": "d", "verdict": "yes"}])  # here: c was undone, d is new
    ours = path.read_bytes()
    far = path.with_name("far.jsonl")
    far.write_bytes(base)
    other = DecisionLog(far, "Ana")
    other.add([{"event": "e", "verdict": "no"}])
    other.add([{"event": "f", "verdict": "no"}])
    other.undo()
    other.close()
    replaced(path, far.read_bytes())
    assert log.follow() and verdicts(log.decisions) == {"a": "yes", "b": "yes", "d": "yes", "e": "no"}
    joined = path.read_bytes()
    assert verdicts(read_decision_log(path)) == verdicts(log.decisions)
    # The joined log and the older ones come back in any order: nothing is applied twice.
    for content in (ours, joined, far.read_bytes(), joined + b"", ours):
        replaced(path, content)
        log.follow()
        assert verdicts(read_decision_log(path)) == {"a": "yes", "b": "yes", "d": "yes", "e": "no"}
    log.undo()
    assert sorted(verdicts(log.decisions)) in (["a", "b", "d"], ["a", "b", "e"])


def test_the_latest_decision_counts_when_two_copies_are_joined(path, log):
    log.add([{"event": "a", "verdict": "yes", "note": "here"}])
    log.add([{"event": "b", "verdict": "yes"}])
    later = {"action": 1, "at": "2999-01-01T00:00:00", "changes": [{"event": "a", "verdict": "no"}]}
    earlier = {"action": 2, "at": "1999-01-01T00:00:00", "changes": [{"event": "b", "verdict": "no"}]}
    head = path.read_bytes().splitlines()[0]
    replaced(path, b"\n".join([head, json.dumps(later).encode(), json.dumps(earlier).encode(), b""]))
    log.follow()
    assert verdicts(log.decisions) == verdicts(read_decision_log(path)) == {"a": "no", "b": "yes"}
    assert log.decisions.by_event["a"].note == "here"


@pytest.mark.parametrize("copied", ["before the line", "with the line", "never", "removed"])
def test_a_log_replaced_while_a_line_is_written_gets_the_line_once(path, log, monkeypatch, copied):
    log.add([{"event": "a", "verdict": "yes"}])
    fsync, before, todo = os.fsync, path.read_bytes(), [copied]

    def late(handle):
        fsync(handle)
        if not todo or os.path.samestat(os.fstat(handle), path.parent.stat()):
            return
        how = todo.pop()
        if how == "removed":
            path.unlink()
        elif how != "never":
            replaced(path, before if how == "before the line" else path.read_bytes())

    monkeypatch.setattr(os, "fsync", late)
    log.add([{"event": "b", "verdict": "no"}])
    assert verdicts(read_decision_log(path)) == {"a": "yes", "b": "no"}
    assert path.read_bytes().count(b'"b"') == 1
    log.undo()
    assert verdicts(read_decision_log(path)) == {"a": "yes"}


def test_a_log_that_is_replaced_again_and_again_refuses_the_decision(path, log, monkeypatch):
    fsync, head = os.fsync, path.read_bytes()

    def restless(handle):
        fsync(handle)
        replaced(path, head)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", restless)
        with pytest.raises(LoxoError, match="again and again"):
            log.add([{"event": "a", "verdict": "yes"}])
    assert verdicts(log.decisions) == {}
    log.add([{"event": "b", "verdict": "no"}])
    assert verdicts(read_decision_log(path)) == verdicts(log.decisions) == {"b": "no"}


@pytest.mark.parametrize("fault", ["full", "full, not cut", "input/output", "replaced and full"])
def test_a_full_disk_refuses_decisions_and_goes_on_after_room_is_made(path, log, monkeypatch, fault):
    write, fsync, room, answered = os.write, os.fsync, [900], {}

    def limited(handle, content):
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(handle, bytes(content)[: room[0]])  # a full disk takes the beginning of a line
        room[0] -= written
        return written

    def failing(handle):
        if room[0] < 400:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(handle)

    def uncut(handle, length):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    refused = 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", limited)
        if fault == "input/output":
            patch.setattr(os, "fsync", failing)
        if fault == "full, not cut":
            patch.setattr(os, "ftruncate", uncut)
        for number in range(50):
            if fault == "replaced and full" and number % 5 == 4:
                replaced(path, path.read_bytes())
            try:
                log.add([{"event": f"e{number}", "verdict": "no"}])
                answered[f"e{number}"] = "no"
            except LoxoError as error:
                refused += 1
                assert "cannot be stored" in str(error)
            assert verdicts(log.decisions) == answered
    assert refused > 20 and len(answered) > 3
    log.add([{"event": "later", "verdict": "yes"}])
    answered["later"] = "yes"
    assert verdicts(read_decision_log(path)) == verdicts(log.decisions) == answered
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_a_folder_that_cannot_be_written_refuses_decisions_until_it_can(path, log, monkeypatch):
    log.add([{"event": "a", "verdict": "yes"}])
    opened = os.open

    def read_only(name, flags, *mode, **more):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(name, flags, *mode, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        log.add([{"event": "b", "verdict": "yes"}])  # the file is open and still the one that the path names
        path.unlink()
        for _ in range(3):
            with pytest.raises(LoxoError, match=r"Read-only file system.*may you write there"):
                log.add([{"event": "c", "verdict": "yes"}])
    log.add([{"event": "d", "verdict": "yes"}])
    assert verdicts(read_decision_log(path)) == {"a": "yes", "b": "yes", "d": "yes"}


def full(handle, content):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_events_of_a_replaced_log_are_returned_after_a_refused_decision(path, log, monkeypatch):
    replaced(path, elsewhere(path, 7))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(LoxoError):
            log.add([{"event": "a", "verdict": "yes"}])
    assert log.add([{"event": "b", "verdict": "yes"}]) == ["b", "there7"] and log.follow() == []


def test_the_log_of_another_reviewer_is_not_continued(path, log):
    log.add([{"event": "a", "verdict": "yes"}])
    content = path.read_bytes()
    replaced(path, b'{"journal":1,"reviewer":"Ben"}\n')
    with pytest.raises(LoxoError, match="the decision log of 'Ben', not of 'Ana'"):
        log.add([{"event": "b", "verdict": "yes"}])
    assert path.read_bytes() == b'{"journal":1,"reviewer":"Ben"}\n'
    replaced(path, content.replace(b'"Ana"', b'"ANA"'))  # the same name for the file
    log.add([{"event": "c", "verdict": "yes"}])
    assert verdicts(read_decision_log(path)) == {"a": "yes", "c": "yes"}


def test_a_run_folder_that_was_taken_away_is_not_made_again(path, log):
    run = path.parent.parent
    log.add([{"event": "a", "verdict": "yes"}])
    run.rename(run.with_name("elsewhere"))
    with pytest.raises(LoxoError, match="Is the run folder there"):
        log.add([{"event": "b", "verdict": "yes"}])
    with pytest.raises(LoxoError, match="Is the run folder there"):
        log.undo()
    assert not run.exists()
    run.with_name("elsewhere").rename(run)
    log.add([{"event": "c", "verdict": "yes"}])
    assert verdicts(read_decision_log(path)) == {"a": "yes", "c": "yes"}


def test_decisions_are_written_again_when_the_log_is_closed(path, log):
    log.add([{"event": "a", "verdict": "yes"}])
    path.unlink()
    log.close()
    assert verdicts(read_decision_log(path)) == {"a": "yes"}


def test_a_log_that_another_server_has_opened_or_that_is_damaged_refuses_decisions(path, log):
    log.add([{"event": "a", "verdict": "yes"}])
    good = path.read_bytes()
    path.rename(path.with_name("old"))
    other = DecisionLog(path, "Ana")
    with pytest.raises(LoxoError, match="another `loxo review`"):
        log.add([{"event": "b", "verdict": "yes"}])
    other.close()
    for bad in (b'{"action":\n', b"<html>\n", b'{"action":1,"at":"","changes":[{"event":"a","start_s":"abc"}]}\n'):
        replaced(path, good + bad + good)
        with pytest.raises(LoxoError, match="line 3: the decision log is damaged"):
            log.add([{"event": "b", "verdict": "yes"}])
        assert path.read_bytes() == good + bad + good  # nothing is written to it
    replaced(path, good)
    log.add([{"event": "c", "verdict": "no"}])
    assert verdicts(read_decision_log(path)) == {"a": "yes", "c": "no"}


def test_a_log_is_not_followed_out_of_the_run(path, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "ana.jsonl").write_bytes(b"a line without its end")
    path.parent.mkdir()
    path.symlink_to(outside / "ana.jsonl")
    for opening in (lambda: DecisionLog(path, "Ana"), lambda: read_decision_log(path)):
        with pytest.raises(LoxoError, match="symbolic link"):
            opening()
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(outside)
    with pytest.raises(LoxoError, match="symbolic link"):
        DecisionLog(path, "Ana")
    assert (outside / "ana.jsonl").read_bytes() == b"a line without its end"


CHANGE = {"event": "0123456789abcdef", "verdict": "yes"}
WRONG = [
    *(
        {**CHANGE, name: value}
        for name in ("start_s", "low_hz")
        for value in ("abc", [], {}, True, 1e400, 10**400, 1e13)
    ),
    *({**CHANGE, name: value} for name in ("label", "note", "recording") for value in (1, [], {})),
    *({**CHANGE, "label": text} for text in ("", "a\tb", "a\nb", "x" * 61, "\ud800")),
    *({**CHANGE, "note": text} for text in ("x" * 2001, "\udc80", "a\0b")),
    *({**CHANGE, "verdict": verdict} for verdict in ("perhaps", 1, [], {})),
    *({"event": event} for event in (None, 1, [])),
    {},
    "text",
    None,
]
LINES = [
    *(json.dumps({"action": 1, "at": "2026", "changes": [change]}) for change in WRONG),
    *(
        '{"action":1,"at":1,"changes":[]}',
        '{"action":"1","at":"","changes":[]}',
        '{"action":1e999,"at":"","changes":[]}',
    ),
    *('{"action":1,"at":"","changes":7}', '{"action":1,"at":""}', '{"action":1,"undo":1,"at":""}', "{}", "7", "null"),
    *('{"undo":1,"at":""}', '{"redo":1,"at":""}', '{"undo":[],"at":""}', '{"journal":1}', '{"journal":1,"reviewer":7}'),
    *('{"journal":1,"reviewer":"a\\tb"}', '{"journal":1,"reviewer":""}', "[" * 100_000, '{"a":' * 50_000, "9" * 5000),
    "\ufeff{}",
]


def test_a_line_that_no_session_has_written_is_named(path):
    path.parent.mkdir()
    for line in LINES:
        path.write_bytes(b'{"journal":1,"reviewer":"Ben"}\n' + line.encode("utf-8", "surrogatepass") + b"\n")
        with pytest.raises(LoxoError, match=r"ana\.jsonl, line 2: the decision log is damaged"):
            print(line[:200], read_decision_log(path))


def test_logs_that_cannot_be_read_are_named_and_forgotten_when_they_are_gone(path, monkeypatch):
    folder = path.parent
    DecisionLog(path, "Ana").close()
    (folder / "bad.jsonl").write_bytes(b"\xff\xfe\n")
    (folder / "folder.jsonl").mkdir()
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "zero.jsonl").symlink_to("/dev/zero")
    (folder / "gone.jsonl").symlink_to("nowhere")
    (folder / "loop.jsonl").symlink_to("loop.jsonl")
    with (folder / "huge.jsonl").open("wb") as file:
        file.truncate(MAX_SIZE + 1)
    paths = sorted(folder.glob("*.jsonl"))
    logs = read_decision_logs(paths)
    assert len(logs) == 8 and [type(found) for _, found in logs.values()].count(str) == 7
    for bad in paths[1:]:
        assert str(bad) in logs[bad][1] and "decisions do not count" in logs[bad][1]
        bad.rmdir() if bad.is_dir() else bad.unlink()
    assert list(read_decision_logs(paths, logs)) == [path]
    calls = []
    monkeypatch.setattr(decision_log, "read_decision_log", lambda path: calls.append(path))
    assert list(read_decision_logs([path], logs)) == [path] and calls == []  # unchanged: not read again
