"""run.json and journal.jsonl: runs of earlier versions are read, and each fault has one message wherever it is met."""

import json

import numpy as np
import pytest

from loxo.errors import LoxoError
from loxo.events.raven import read_raven
from loxo.runs.config import read_run_config
from loxo.runs.folder import RunFolder
from loxo.runs.journal import Journal, read_run_journal
from loxo.runs.read import check_run, read_run
from loxo.runs.record import RecordedFile, RunRecord, is_run, read_record, write_record
from loxo.runs.scores import find_scores, read_scores
from loxo.survey.redecode import analysed_hours, redecode

# As Loxo wrote them before decoding parameters and the overlap between windows got their current names
FORMER_RUN = """{
 "status": "finished",
 "parameters": {
  "version": "0.1.0",
  "model": "default",
  "model_sha256": "0000000000000000000000000000000000000000000000000000000000000000",
  "classes": ["rumble"],
  "rows": ["rumble", "rumble overlap"],
  "sample_rate": 1000,
  "step_samples": 100,
  "decoding": {
   "rumble": {"threshold": 0.5, "smooth_s": 0.0, "edge": 0.5, "split": 0.0, "lasting": 0.0, "crowd": 0.0,
    "overlap": 0.25, "min_duration_s": 0.3, "merge_gap_s": 0.0, "low_hz": 10.0, "high_hz": 150.0}
  },
  "calibration": {},
  "curves": {"rumble": {"threshold": [0.9, 0.1], "fp_per_hour": [0.5, 60.0], "recall": [0.4, 0.9], "data": "Tests."}},
  "threshold": null,
  "overlap": 0.25,
  "batch_size": 8,
  "keep_scores": true,
  "names": {"pattern": null, "time_zone": null},
  "formats": ["raven"],
  "device": "cpu",
  "runtime": "torch"
 },
 "problems": [["sd/notes.txt", "sd/notes.txt: this is not audio."]],
 "recordings": [
  {"recording": "sd/bad.wav", "status": "failed", "duration_s": 0.0, "analysed_s": 0.0, "events": 0,
   "reason": "sd/bad.wav: the file is empty (0 bytes).", "notes": [], "name": null, "table": null},
  {"recording": "sd/nn01_20200101_000000.wav", "status": "done", "duration_s": 6.0, "analysed_s": 6.0, "events": 1,
   "reason": null, "notes": [], "name": "nn01_20200101_000000", "table": "tables/nn01_20200101_000000.selections.txt"}
 ]
}
"""
FORMER_JOURNAL = (
    '{"path": "/sd/bad.wav", "recording": "sd/bad.wav", "name": "bad", "size": 0, "version": "1577836800000000000", '
    '"status": "failed", "duration_s": 0.0, "analysed_s": 0.0, "events": 0, '
    '"reason": "sd/bad.wav: the file is empty (0 bytes).", "notes": [], "files": [], "rows": []}\n'
    '{"path": "/sd/nn01_20200101_000000.wav", "recording": "sd/nn01_20200101_000000.wav", '
    '"name": "nn01_20200101_000000", "size": 12044, "version": "1577836800000000000", "status": "done", '
    '"duration_s": 6.0, "analysed_s": 6.0, "events": 1, "reason": null, "notes": [], '
    '"files": [["tables/nn01_20200101_000000.selections.txt", 400]], '
    '"rows": [["2.0", "3.0", "rumble", "0.900000", "12.0", "80.0", "nn01", "2020-01-01T00:00:02"]]}\n'
)
FORMER_EVENTS = (
    "recording,start_s,end_s,label,score,low_hz,high_hz,site,start_time\n"
    "sd/nn01_20200101_000000.wav,2.0,3.0,rumble,0.900000,12.0,80.0,nn01,2020-01-01T00:00:02\n"
)
NAME = "nn01_20200101_000000"


@pytest.fixture
def former(tmp_path):
    """A run folder of the former version, with kept scores: one rumble from 2 to 3 s."""
    run = tmp_path / "former"
    (run / "scores").mkdir(parents=True)
    (run / "run.json").write_text(FORMER_RUN)
    (run / "journal.jsonl").write_text(FORMER_JOURNAL)
    (run / "events.csv").write_text(FORMER_EVENTS)
    rumble = np.zeros(60, np.float32)  # the first versions kept float32
    rumble[20:30] = 0.9
    np.savez(run / "scores" / f"{NAME}.npz", hop_s=0.1, rumble=rumble, **{"rumble overlap": np.zeros(60, np.float32)})
    return run


def test_a_run_of_the_former_version_is_read(former):
    run = read_run(former)
    assert run.recordings[["status", "site"]].to_numpy().tolist() == [["failed", "sd"], ["done", "nn01"]]
    assert run.events[["start_s", "end_s", "score"]].to_numpy().tolist() == [[2.0, 3.0, 0.9]]
    assert run.problems == [("sd/notes.txt", "sd/notes.txt: this is not audio.")] and run.labels == ["rumble"]
    config, parameters = read_run_config(former)
    assert (config.decoding["rumble"].edge_ratio, config.decoding["rumble"].overlap_threshold) == (0.5, 0.25)
    assert parameters["window_overlap"] == 0.25 and "overlap" not in parameters
    assert read_scores(former, f"sd/{NAME}.wav").scores.shape == (2, 60)
    assert find_scores(former, "sd/bad.wav") is None
    assert analysed_hours(former) == pytest.approx(6 / 3600)


def test_a_run_of_the_former_version_is_decoded_again(former, tmp_path):
    assert redecode(former, tmp_path / "new").events == 1
    table = read_raven(tmp_path / "new" / "tables" / f"{NAME}.selections.txt")
    assert table[["start_s", "end_s", "low_hz"]].to_numpy().tolist() == [[2.0, 3.0, 12.0]]
    assert read_record(tmp_path / "new").parameters["decoding"]["rumble"]["edge_ratio"] == 0.5


def test_a_run_of_the_former_version_is_resumed(former):
    parameters = {**json.loads(FORMER_RUN)["parameters"], "window_overlap": 0.25}
    parameters["decoding"] = read_record(former).parameters["decoding"]
    with RunFolder(former, parameters, []) as folder:
        assert [entry.status for entry in folder.journal.entries.values()] == ["failed", "done"]
        assert folder.journal.rows(f"/sd/{NAME}.wav")[0][:3] == ["2.0", "3.0", "rumble"]
    with (
        pytest.raises(LoxoError, match=r"window_overlap 0\.25 is now 0\.5"),
        RunFolder(former, {**parameters, "window_overlap": 0.5}, []),
    ):
        pass


def test_a_recording_without_a_name_gets_the_name_of_its_table(former):
    record = json.loads(FORMER_RUN)
    for row in record["recordings"]:
        del row["name"]
    (former / "run.json").write_text(json.dumps(record))
    assert read_record(former).names == {f"sd/{NAME}.wav": NAME}


def test_a_run_record_is_read_as_it_was_written(tmp_path):
    files = (
        RecordedFile(
            recording="a.wav", status="done", duration_s=2.5, analysed_s=2.5, events=3, name="a", table="tables/a"
        ),
        RecordedFile(recording="b.wav", status="failed", duration_s=0.0, analysed_s=0.0, reason="b.wav: empty."),
        RecordedFile(recording="c", status="done", duration_s=1, analysed_s=1, notes=("c: recovered: its header.",)),
        RecordedFile(recording="d", status="done", duration_s=1, analysed_s=1, notes=("d: silence.",)),
        RecordedFile(recording="e", status="truncated", duration_s=1, analysed_s=1, notes=("e: silence.",)),
    )
    record = RunRecord(
        status="interrupted", parameters={"threshold": None}, problems=(("x", "x: no."),), recordings=files
    )
    assert not is_run(tmp_path)
    write_record(tmp_path, record)
    assert is_run(tmp_path) and read_record(tmp_path) == record
    counts = json.loads((tmp_path / "run.json").read_text())["counts"]
    assert counts == record.counts == {"recovered": 1, "noted": 1, "truncated": 1, "refused": 2}
    write_record(tmp_path, RunRecord(status="finished", parameters={"threshold": None}, recordings=files))
    assert read_record(tmp_path).status == "finished"  # not the cached record


def test_the_hours_of_a_run_count_a_recording_once_that_was_analysed_twice(former):
    with (former / "journal.jsonl").open("a") as file:
        file.write(FORMER_JOURNAL.splitlines(keepends=True)[1])
    assert len(list(read_run_journal(former))) == 3
    assert analysed_hours(former) == pytest.approx(6 / 3600)


FAULTS = {
    "missing": "this is not a run folder of `loxo detect`: there is no such folder.",
    "empty": "this is not a run folder of `loxo detect`: there is no run.json in it.",
    "a file": "this is a file.",
    "torn": "the run record is damaged",
    "list": "this is not the run record of a detection run, or it is damaged",
    "training": "this is not the run record of a detection run, or it is damaged ('parameters' is missing)",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_run_record_has_one_message(tmp_path, fault):
    run = tmp_path / "run"
    if fault == "a file":
        run.write_text("")
    elif fault != "missing":
        run.mkdir()
    content = {"torn": FORMER_RUN[:100], "list": "[1, 2]", "training": '{"status": "finished", "config": {}}'}.get(
        fault
    )
    if content is not None:
        (run / "run.json").write_text(content)
    readers = {
        "record": lambda: read_record(run),
        "run": lambda: read_run(run),
        "config": lambda: read_run_config(run),
        "scores": lambda: read_scores(run, "a.wav"),
        "evaluation": lambda: find_scores(run, "a.wav"),
        "decode": lambda: redecode(run, tmp_path / "out"),
    }
    if content is None:
        readers["check"] = lambda: check_run(run)
    else:
        readers["resume"] = lambda: RunFolder(run, {"formats": []}, []).__enter__()
    messages = {}
    for name, reader in readers.items():
        with pytest.raises(LoxoError) as caught:
            reader()
        messages[name] = str(caught.value)
    assert len(set(messages.values())) == 1, messages
    message = messages["record"]
    assert FAULTS[fault] in message and message.startswith(str(run)) and "\n" not in message
    assert not (tmp_path / "out").exists()


def test_a_journal_of_the_former_version_gets_checksums_when_it_is_compacted(former):
    before = list(read_run_journal(former))
    journal = Journal(former / "journal.jsonl")
    journal.open({"threshold": None})
    journal.close_compact()
    lines = (former / "journal.jsonl").read_bytes().splitlines()
    assert list(read_run_journal(former)) == before and len(before) == 2
    assert len(lines) == 3 and all(b', "checksum": "' in line for line in lines)
