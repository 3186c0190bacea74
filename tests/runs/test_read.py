"""What is no run is said in one sentence; recordings that were moved are found."""

import json

import numpy as np
import pandas as pd
import pytest
from report_runs import PARAMETERS, event, recording, write_run

from loxo.errors import LoxoError
from loxo.runs.read import Places, read_run


def test_sites_and_start_times_come_from_the_names_of_recordings(tmp_path):
    name = "x/nn01a_20180126_010000.wav"
    run = read_run(write_run(tmp_path / "run", [recording(name, 2), recording("clip.wav", 1)], [event(name, 90.5)]))
    assert run.recordings["site"].tolist() == ["nn01a", ""]
    assert run.recordings["start"].isna().tolist() == [False, True]
    assert run.events["start_time"].tolist() == [pd.Timestamp("2018-01-26 01:01:30.5")]
    assert run.labels == ["rumble", "gunshot"]


def test_names_are_parsed_with_the_pattern_of_the_run(tmp_path):
    names = {"pattern": "{site}/%Y-%m-%d_%Hh%M", "time_zone": None}
    name = "cards/lake/2020-01-02_03h04.wav"
    parameters = {**PARAMETERS, "names": names}
    run = read_run(write_run(tmp_path / "run", [recording(name)], [event(name, 60)], parameters=parameters))
    assert run.events[["site", "start_time"]].to_numpy().tolist() == [["lake", pd.Timestamp("2020-01-02 03:05")]]


def faulty(tmp_path, what):
    folder = tmp_path / "run"
    if what == "missing":
        return folder
    if what == "file":
        folder.write_text("")
        return folder
    write_run(folder, [recording("a_20200101_000000.wav")], [event("a_20200101_000000.wav", 1)])
    record = folder / "run.json"
    if what == "no record":
        record.unlink()
    elif what == "torn":
        record.write_text(record.read_text()[:100])
    elif what == "another":
        record.write_text("[1, 2]")
    elif what == "fields":
        record.write_text(json.dumps({"status": "finished", "parameters": {}, "recordings": [{"recording": "a"}]}))
    elif what == "empty":
        write_run(folder, [], [])
    elif what == "running":
        write_run(folder, [], [], status="running")
    elif what == "no events":
        (folder / "events.csv").unlink()
    elif what == "events":
        (folder / "events.csv").write_bytes(b"\x00\xff\x00 no table")
    elif what == "number":
        write_run(folder, [recording("a_20200101_000000.wav")], [event("a_20200101_000000.wav", -4)])
    elif what == "stranger":
        write_run(folder, [recording("a_20200101_000000.wav")], [event("b.wav", 4)])
    return folder


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("missing", "no such folder"),
        ("file", "this is a file"),
        ("no record", "there is no run.json in it"),
        ("torn", "is damaged"),
        ("another", "not the run record of a detection run"),
        ("fields", "'status' is missing"),
        ("empty", "lists no recordings"),
        ("running", "is in progress"),
        ("no events", "no such file"),
        ("events", "not a table of events"),
        ("number", "line 2: the times or the score"),
        ("stranger", "does not list"),
    ],
)
def test_each_fault_of_a_run_folder_is_one_sentence(tmp_path, what, sentence):
    with pytest.raises(LoxoError, match=sentence) as caught:
        read_run(faulty(tmp_path, what))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_moved_recordings_are_found(tmp_path):
    name = "cards/one/a_20200101_000000.wav"
    run = read_run(write_run(tmp_path / "run", [recording(name)], []))
    assert Places(run).find(name) is None
    for folder in ("disk/two", "disk/one"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a_20200101_000000.wav").touch()
    assert Places(run, tmp_path / "disk").find(name) == tmp_path / "disk/one/a_20200101_000000.wav"
    table = tmp_path / "run/tables/a_20200101_000000.selections.txt"
    table.parent.mkdir()
    table.write_text(f"Selection\tBegin Path\n1\t{tmp_path / 'disk/two/a_20200101_000000.wav'}\n")
    assert Places(run).find(name) == tmp_path / "disk/two/a_20200101_000000.wav"
    with pytest.raises(LoxoError, match="no such folder"):
        Places(run, tmp_path / "nowhere")


def test_a_hundred_thousand_events_are_read_as_columns(tmp_path):
    """Nothing goes row by row: the types are those of an events table."""
    names = [f"a_2020{1 + k // 28:02d}{1 + k % 28:02d}_000000.wav" for k in range(100)]
    rng = np.random.default_rng(0)
    events = [event(name, round(second, 3)) for name in names for second in rng.uniform(0, 86000, 1000)]
    run = read_run(write_run(tmp_path / "run", [recording(name) for name in names], events))
    assert len(run.events) == 100_000 and run.events["start_time"].dtype == "datetime64[us]"
    assert run.events["start_time"].iloc[-1].hour == int(run.events["start_s"].iloc[-1] // 3600)
