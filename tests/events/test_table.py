"""Format and checks of the events table."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from loxo.errors import LoxoError
from loxo.events.table import COLUMNS, DTYPES, check_events, empty_events, events_frame
from loxo.events.writers import WRITERS

ROW = {"recording": "nn01_20200101_000000.wav", "start_s": 1.5, "end_s": 3.0, "label": "rumble", "score": 0.5}


def test_tables_with_and_without_rows_have_the_same_columns_and_dtypes():
    for events in (empty_events(), events_frame([ROW])):
        assert tuple(events.columns) == COLUMNS
        assert {name: str(dtype) for name, dtype in events.dtypes.items()} == DTYPES
        check_events(events)


def test_site_and_wall_clock_are_read_from_the_name():
    event = events_frame([ROW]).iloc[0]
    assert (event["site"], event["start_time"]) == ("nn01", pd.Timestamp("2020-01-01 00:00:01.5"))
    unknown = events_frame([{**ROW, "recording": "a.wav"}]).iloc[0]
    assert unknown["site"] is None and pd.isna(unknown["start_time"])
    zone = events_frame([{**ROW, "recording": "a_20200101_000000Z.wav"}, {**ROW, "recording": "b.wav"}])
    assert list(zone["start_time"]) == [datetime(2020, 1, 1, 0, 0, 1, 500000, UTC), None]


def test_rows_are_sorted_and_further_columns_follow():
    rows = [{**ROW, "start_s": start, "snr": start} for start in (2.0, 1.0, 3.0)]
    events = events_frame([*rows, {**ROW, "recording": "a.wav"}])
    assert list(events["start_s"]) == [1.5, 1.0, 2.0, 3.0] and list(events.columns[-1:]) == ["snr"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"start_s": -1.0}, "before the recording"),
        ({"end_s": 1.0}, "before it starts"),
        ({"end_s": np.nan}, "finite"),
        ({"score": 1.5}, "outside 0 to 1"),
        ({"low_hz": 50.0, "high_hz": 20.0}, "lower frequency"),
        ({"recording": ""}, "no recording"),
        ({"label": None}, "label"),
    ],
)
def test_an_invalid_row_raises(change, fault):
    with pytest.raises(LoxoError, match=fault):
        events_frame([{**ROW, **change}])


def test_a_missing_column_raises():
    with pytest.raises(LoxoError, match="high_hz"):
        check_events(events_frame([ROW]).drop(columns="high_hz"))


def test_the_format_of_csv_and_audacity_files(tmp_path):
    events = events_frame([{**ROW, "score": 1 / 3, "low_hz": 10.0, "high_hz": 150.0}])
    WRITERS["csv"].write(events, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == (
        "recording,start_s,end_s,label,score,low_hz,high_hz,site,start_time\n"
        "nn01_20200101_000000.wav,1.5,3,rumble,0.333333,10,150,nn01,2020-01-01T00:00:01.500000\n"
    )
    WRITERS["audacity"].write(events, tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "1.500000\t3.000000\trumble 0.33\n"


def test_a_file_is_written_completely_or_not_at_all(tmp_path):
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(LoxoError):
        WRITERS["csv"].write(events_frame([ROW]).assign(score="high"), tmp_path / "a.csv")
    with pytest.raises(LoxoError, match="cannot be written"):
        WRITERS["csv"].write(events_frame([ROW]), tmp_path / "a.csv" / "b.csv")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
