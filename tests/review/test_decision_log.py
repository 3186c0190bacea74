"""What was decided outlives kills, torn lines and second thoughts."""

import json
import os
import signal
import subprocess
import sys

import pytest

from loxo.errors import LoxoError
from loxo.review.decision_log import DecisionLog, decision_log_path, read_decision_log
from loxo.review.merge import by_reviewer, final, finals, without_repeats


def said(log):
    return {event: decision.verdict for event, decision in log.decisions.by_event.items()}


def test_decisions_are_restored_when_the_log_is_opened_again(tmp_path):
    path = decision_log_path(tmp_path, "Ana María")
    log = DecisionLog(path, "Ana María")
    log.add([{"event": "a", "verdict": "yes"}, {"event": "b", "verdict": "no"}])
    log.add([{"event": "a", "start_s": 1.5, "note": "faint"}])
    log.close()
    again = DecisionLog(path, "Ana María")
    assert said(again) == {"a": "yes", "b": "no"}
    assert (again.decisions.by_event["a"].start_s, again.decisions.by_event["a"].note) == (1.5, "faint")
    again.close()


def test_undo_and_redo_have_no_limit_and_work_after_opening_again(tmp_path):
    path = tmp_path / "ana.jsonl"
    log = DecisionLog(path, "Ana")
    for verdict in ("yes", "no", "unsure"):
        log.add([{"event": "a", "verdict": verdict}])
    log.add([{"event": "b", "verdict": "no"}, {"event": "a", "verdict": None}])
    log.undo()
    assert said(log) == {"a": "unsure"}
    log.close()
    log = DecisionLog(path, "Ana")
    for expected in ({"a": "no"}, {"a": "yes"}, {}):
        log.undo()
        assert said(log) == expected
    assert log.undo() is None
    for expected in ({"a": "yes"}, {"a": "no"}, {"a": "unsure"}, {"a": None, "b": "no"}):
        log.redo()
        assert said(log) == expected
    log.undo()
    log.add([{"event": "c", "verdict": "yes"}])  # something new: what was undone is gone for good
    assert log.redo() is None
    log.close()


def test_an_incomplete_last_line_is_dropped_and_the_next_decision_starts_a_new_line(tmp_path):
    path = tmp_path / "ana.jsonl"
    log = DecisionLog(path, "Ana")
    log.add([{"event": "a", "verdict": "yes"}])
    log.close()
    whole = path.read_bytes()
    for cut in (0, 1, 20, whole.index(b"\n"), whole.index(b"\n") + 1, len(whole) - 30, len(whole) - 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        log = DecisionLog(path, "Ana")
        assert said(log) == {}
        log.add([{"event": "b", "verdict": "no"}])
        log.close()
        assert {event: d.verdict for event, d in read_decision_log(path).by_event.items()} == {"b": "no"}
        assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_damaged_line_in_the_middle_is_reported(tmp_path):
    path = tmp_path / "ana.jsonl"
    log = DecisionLog(path, "Ana")
    log.add([{"event": "a", "verdict": "yes"}])
    log.close()
    lines = path.read_bytes().splitlines(keepends=True)
    for bad in (b"{]\n", b'{"undo":5,"at":""}\n', b'{"action":1,"at":"","changes":[{"event":1}]}\n', b"[]\n"):
        path.write_bytes(lines[0] + lines[1] + bad + lines[1])
        with pytest.raises(LoxoError, match="line 3: the decision log is damaged"):
            DecisionLog(path, "Ana")


def test_one_decision_log_is_written_by_one_server(tmp_path):
    log = DecisionLog(tmp_path / "ana.jsonl", "Ana")
    with pytest.raises(LoxoError, match="another `loxo review`"):
        DecisionLog(tmp_path / "ana.jsonl", "Ana")
    log.close()
    DecisionLog(tmp_path / "ana.jsonl", "Ana").close()


def test_a_name_without_a_letter_is_refused(tmp_path):
    with pytest.raises(LoxoError, match="no letter"):
        decision_log_path(tmp_path, "../..")
    assert decision_log_path(tmp_path, "../../etc/passwd").parent == tmp_path / "review"


WRITER = """
import sys
from pathlib import Path
from loxo.review.decision_log import DecisionLog
log = DecisionLog(Path(sys.argv[1]), "Ana")
for k in range(100000):
    log.add([{"event": f"e{k}", "verdict": "no"}])
    print(k, flush=True)
"""


def test_sigkill_loses_no_decision_that_was_answered(tmp_path):
    path = tmp_path / "ana.jsonl"
    for kill_at in (1, 7, 40):
        path.unlink(missing_ok=True)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
        seen = -1
        while seen < kill_at:
            seen = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split("\n")
        seen = max([seen, *(int(line) for line in rest[:-1])])
        writer.wait()
        writer.stdout.close()
        log = DecisionLog(path, "Ana")
        assert set(said(log)) >= {f"e{k}" for k in range(seen + 1)}
        log.close()


def two(tmp_path, ana, ben):
    logs = []
    for name, changes in (("Ana", ana), ("Ben", ben)):
        log = DecisionLog(tmp_path / f"{name}.jsonl", name)
        for change in changes:
            log.add([change])
        log.close()
        logs.append(read_decision_log(tmp_path / f"{name}.jsonl"))
    return by_reviewer(logs)


def test_decisions_of_two_reviewers_are_merged(tmp_path):
    people = two(
        tmp_path,
        [
            {"event": "both", "verdict": "yes"},
            {"event": "one", "verdict": "no"},
            {"event": "half", "verdict": "yes", "start_s": 1.0},
            {"event": "apart", "verdict": "yes"},
            {"event": "named", "verdict": "other", "label": "frog"},
        ],
        [
            {"event": "both", "verdict": "yes", "note": "clear"},
            {"event": "half", "verdict": "unsure"},
            {"event": "apart", "verdict": "no"},
            {"event": "named", "verdict": "other", "label": "frog"},
        ],
    )
    answers = finals(people)
    verdicts = {event: answer.verdict for event, answer in answers.items()}
    assert verdicts == {"both": "yes", "one": "no", "half": "yes", "apart": "disputed", "named": "other"}
    assert answers["half"].bounds == {"start_s": 1.0} and answers["named"].label == "frog"
    assert answers["both"].note == "Ben: clear" and answers["apart"].reviewers == "Ana: yes; Ben: no"


def test_the_latest_decision_of_one_reviewer_on_two_computers_counts(tmp_path):
    first, second = (DecisionLog(tmp_path / name, "Ana") for name in ("z.jsonl", "a.jsonl"))
    first.add([{"event": "a", "verdict": "yes"}])
    second.add([{"event": "a", "verdict": "no"}])
    first.decisions.by_event.update(
        {"a": first.decisions.by_event["a"].__class__(verdict="yes", at="2001-01-01T00:00:00+00:00")}
    )
    people = by_reviewer([second.decisions, first.decisions])
    assert final([("Ana", people["Ana"]["a"])]).verdict == "no"
    first.close()
    second.close()


def test_two_drawings_of_one_event_count_once():
    drawn = [
        {"recording": "r", "label": "rumble", "start_s": 1.0, "end_s": 5.0},
        {"recording": "r", "label": "rumble", "start_s": 1.5, "end_s": 5.5},
        {"recording": "r", "label": "gunshot", "start_s": 1.0, "end_s": 5.0},
        {"recording": "r", "label": "rumble", "start_s": 4.5, "end_s": 9.0},
    ]
    assert without_repeats(drawn) == [drawn[0], *drawn[2:]]
