"""Tables with the events of a whole run."""

import csv
import json

import pandas as pd
import pytest

from loxo.errors import LoxoError
from loxo.events.combined import AnalysedRecording, CsvRun, KaleidoscopeRun, ParquetRun, RavenRun
from loxo.events.raven import read_raven
from loxo.events.table import COLUMNS
from loxo.files import unescape

CALL = ("1.5", "3", "rumble", "0.9", "12.3", "80", "nn01", "2020-01-01T00:00:01.500000")
SHOT = ("7.25", "7.5", "gunshot", "0.8", "", "", "", "")
DAY = 24 * 3600 + 1 / 3


def analysed(name: str, seconds: float = 60.0) -> AnalysedRecording:
    return AnalysedRecording(f"card/{name}", f"/data/card/{name}", seconds)


def test_cumulative_times_include_recordings_without_events(tmp_path):
    with RavenRun(tmp_path) as run:
        for k in range(2000):  # five years of one-day recordings, most without events
            run.add(analysed(f"{k}.wav", DAY), [CALL, SHOT] if k in (0, 1999) else [])
        assert not list(tmp_path.glob("*.txt"))  # not visible before it is complete
    events = read_raven(tmp_path / "events.selections.txt")
    assert list(events["start_s"]) == [1.5, 7.25] * 2 and set(events["recording"]) == {
        "/data/card/0.wav",
        "/data/card/1999.wav",
    }
    last = (tmp_path / "events.selections.txt").read_text().splitlines()[-2].split("\t")
    assert last[0] == "3" and float(last[3]) == pytest.approx(1999 * DAY + 1.5, abs=2e-6)
    assert last[10:] == ["/data/card/1999.wav", "1.500000", "1999.wav"]
    assert (tmp_path / "events.files.txt").read_text().splitlines() == [f"/data/card/{k}.wav" for k in range(2000)]


def test_cumulative_times_equal_those_of_write_raven(tmp_path):
    from loxo.events.raven import write_raven
    from loxo.events.table import events_frame

    rows = [{"recording": f"/data/card/{k}.wav", "start_s": 1.5, "end_s": 3.0, "label": "rumble"} for k in (0, 2)]
    write_raven(events_frame(rows), tmp_path / "whole.txt", durations={f"/data/card/{k}.wav": DAY for k in range(3)})
    with RavenRun(tmp_path) as run:
        for k in range(3):
            run.add(analysed(f"{k}.wav", DAY), [("1.5", "3", "rumble", *[""] * 5)] if k != 1 else [])
    assert (tmp_path / "events.selections.txt").read_bytes() == (tmp_path / "whole.txt").read_bytes()


def test_the_format_of_csv_and_kaleidoscope_tables(tmp_path):
    with CsvRun(tmp_path) as run, KaleidoscopeRun(tmp_path) as other:
        for writer in (run, other):
            writer.add(analysed("a, b.wav"), [CALL])
            writer.add(analysed("silent.wav"), [])
            writer.add(analysed("c.wav"), [SHOT])
    lines = list(csv.reader((tmp_path / "events.csv").read_text().splitlines()))
    assert lines == [list(COLUMNS), ["card/a, b.wav", *CALL], ["card/c.wav", *SHOT]]
    rows = list(csv.DictReader((tmp_path / "kaleidoscope.csv").read_text().splitlines()))
    assert rows[0] == {
        **{"INDIR": "/data/card", "FOLDER": "", "IN FILE": "a, b.wav", "CHANNEL": "0", "OFFSET": "1.500000"},
        **{"DURATION": "1.500000", "DATE": "2020-01-01", "TIME": "00:00:01", "HOUR": "00", "Fmin": "12.3"},
        **{"Fmax": "80", "TOP1MATCH": "rumble", "confidence": "0.9", "MANUAL ID": ""},
    }
    assert (rows[1]["IN FILE"], rows[1]["DATE"], rows[1]["DURATION"]) == ("c.wav", "", "0.250000")


def test_parquet_has_dtypes_and_parameters(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    zoned = (*CALL[:-1], "2020-01-01T00:00:01.500000+01:00")
    with ParquetRun(tmp_path, {"model": "default", "window_overlap": 0.5}) as run:
        run.add(analysed("a.wav"), [CALL, SHOT])
        run.add(analysed("b.wav"), [zoned] * 20_001)
    table = parquet.read_table(tmp_path / "events.parquet")
    assert json.loads(table.schema.metadata[b"loxo"]) == {"model": "default", "window_overlap": 0.5}
    frame = table.to_pandas()
    assert list(frame.columns) == [*COLUMNS, "utc_offset_s"] and len(frame) == 20_003
    assert frame["start_s"].dtype == "float64" and frame["start_time"][0] == pd.Timestamp("2020-01-01 00:00:01.5")
    assert pd.isna(frame["low_hz"][1]) and pd.isna(frame["site"][1])
    assert pd.isna(frame["utc_offset_s"][0]) and frame["utc_offset_s"][2] == 3600
    assert frame["start_time"][2] == frame["start_time"][0]


@pytest.mark.parametrize("kind", [RavenRun, CsvRun, KaleidoscopeRun, lambda folder: ParquetRun(folder, {})])
def test_an_error_keeps_the_previous_tables(tmp_path, kind):
    if kind not in (RavenRun, CsvRun, KaleidoscopeRun):
        pytest.importorskip("pyarrow")
    with kind(tmp_path) as run:
        run.add(analysed("a.wav"), [CALL])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError), kind(tmp_path) as run:
        run.add(analysed("b.wav"), [SHOT])
        raise ValueError
    with pytest.raises(LoxoError), kind(tmp_path / next(iter(before)) / "x") as run:
        run.add(analysed("b.wav"), [SHOT])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("kind", [RavenRun, CsvRun, KaleidoscopeRun, "parquet"])
def test_names_that_a_table_cannot_hold_become_codes(tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    names = ["a\tb.wav", "a\nb.wav", "caf\udce9.wav"]
    with ParquetRun(tmp_path, {}) if kind == "parquet" else kind(tmp_path) as run:
        for name in names:
            run.add(analysed(name), [CALL])
    if kind == "parquet":
        import pandas as pd

        found = list(pd.read_parquet(tmp_path / "events.parquet")["recording"])
    elif kind is KaleidoscopeRun:
        found = [line.split(",")[2] for line in (tmp_path / "kaleidoscope.csv").read_text().splitlines()[1:]]
    elif kind is RavenRun:
        found = (tmp_path / "events.files.txt").read_text().splitlines()
        rows = [line.split("\t") for line in (tmp_path / "events.selections.txt").read_text().splitlines()]
        assert len(rows) == 4 and {len(row) for row in rows} == {13}
    else:
        found = [line.split(",")[0] for line in (tmp_path / "events.csv").read_text().splitlines()[1:]]
    assert [name.rpartition("/")[2] for name in found] == ["a<09>b.wav", "a<0A>b.wav", "caf<E9>.wav"]
    assert [unescape(name).rpartition("/")[2] for name in found] == names
