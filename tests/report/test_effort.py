"""Hours, gaps and their causes, worked by hand."""

from datetime import datetime

import pandas as pd
import pytest
from report_runs import recording, write_run

from loxo.report.effort import daily_effort, find_gaps, hourly_effort, overlap_hours, usual_pause_s
from loxo.runs.read import read_run


@pytest.fixture
def recordings(tmp_path):
    """Site a: 22:30 for 4 h, then a pause of 1 h, then 3 h of which 1.5 h could be read. Site b: one that failed."""
    rows = [
        recording("a_20200101_223000.wav", 4.0),
        recording("a_20200102_033000.wav", 3.0, analysed=1.5, reason="cut off."),
        recording("a_20200102_063000.wav", 1.0),
        recording("b_20200105_000000.wav", analysed=0, reason="empty."),
        recording("b_20200106_000000.wav", 2.0),
        recording("no_time.wav", 5.0),
    ]
    return read_run(write_run(tmp_path / "run", rows, [])).recordings


def test_recordings_are_cut_at_full_hours(recordings):
    hours = hourly_effort(recordings)
    a = hours[hours["site"] == "a"].set_index("hour")
    assert a.loc[datetime(2020, 1, 1, 22), ["recorded_h", "analysed_h"]].tolist() == [0.5, 0.5]
    assert a.loc[datetime(2020, 1, 1, 23), "analysed_h"] == 1
    assert a.loc[datetime(2020, 1, 2, 2), "analysed_h"] == 0.5  # 22:30 + 4 h
    assert a.loc[datetime(2020, 1, 2, 3), "analysed_h"] == 0.5  # from 3:30
    assert a.loc[datetime(2020, 1, 2, 5), ["recorded_h", "analysed_h"]].tolist() == [1, 0]  # read until 5:00
    assert a["recorded_h"].sum() == 8 and a["analysed_h"].sum() == 6.5
    assert hours["hour"].is_monotonic_increasing or hours["site"].nunique() > 1


def test_days_without_recordings_have_rows(recordings):
    days = daily_effort(recordings, hourly_effort(recordings))
    a = days[days["site"] == "a"].set_index("date")
    assert a.loc["2020-01-01", ["recordings", "recorded_h", "analysed_h"]].tolist() == [1, 1.5, 1.5]
    assert a.loc["2020-01-02", ["recordings", "cut_off", "recorded_h", "analysed_h"]].tolist() == [2, 1, 6.5, 5]
    b = days[days["site"] == "b"].set_index("date")
    assert b.loc["2020-01-05", ["recordings", "failed", "recorded_h", "analysed_h"]].tolist() == [1, 1, 0, 0]
    unknown = days[days["date"].isna()]
    assert unknown[["site", "recordings", "analysed_h"]].to_numpy().tolist() == [["", 1, 5.0]]


def test_days_between_two_recordings_have_zero_hours(tmp_path):
    rows = [recording("a_20200101_000000.wav", 1), recording("a_20200104_000000.wav", 1)]
    run = read_run(write_run(tmp_path / "run", rows, []))
    days = daily_effort(run.recordings, hourly_effort(run.recordings))
    assert days["date"].dt.day.tolist() == [1, 2, 3, 4] and days["recorded_h"].tolist() == [1, 0, 0, 1]


def test_gaps_have_a_length_and_a_cause(recordings):
    gaps = find_gaps(recordings)
    assert gaps[["site", "hours", "cause"]].to_numpy().tolist() == [
        ["a", 1.0, "nothing was recorded"],
        ["a", 1.5, "a_20200102_033000.wav is cut off"],
        ["b", 24.0, "b_20200105_000000.wav failed"],
    ]
    assert gaps["start"].tolist()[1] == pd.Timestamp("2020-01-02 05:00")


def test_pauses_of_a_recording_schedule_are_not_gaps(tmp_path):
    """One minute every ten: pauses of 9 min are the schedule, and one recording that is not there is a gap."""
    names = [f"a_20200101_{k // 6:02d}{k % 6}000.wav" for k in range(60) if k != 30]
    run = read_run(write_run(tmp_path / "run", [recording(name, 1 / 60) for name in names], []))
    gaps = find_gaps(run.recordings)
    assert gaps["hours"].round(6).tolist() == [round(19 / 60, 6)]
    start = pd.Series(run.recordings["start"]).to_numpy().astype("int64")
    assert usual_pause_s(start, start + 60_000_000) == 540


def test_hours_that_are_recorded_twice_are_counted_as_overlap(tmp_path):
    rows = [recording("x/a_20200101_000000.wav", 2), recording("y/a_20200101_010000.wav", 2)]
    run = read_run(write_run(tmp_path / "run", rows, []))
    assert overlap_hours(run.recordings) == 1.0 and not len(find_gaps(run.recordings))
