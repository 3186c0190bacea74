"""Tables in all formats, detected by content."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loxo.errors import LoxoError
from loxo.events.cells import original_cell, safe_cell
from loxo.events.reader import read_events, read_tables
from loxo.events.table import empty_events, events_frame
from loxo.events.writers import WRITERS

ANNOTATIONS = Path(__file__).parents[3] / "shared" / "data" / "annotations"
COLUMNS = ["recording", "start_s", "end_s", "label"]


def write(path: Path, *lines: str, encoding: str = "utf-8", end: str = "\n") -> Path:
    path.write_bytes(end.join([*lines, ""]).encode(encoding))
    return path


def events(count=3, recording="nn01_20200101_000000.wav"):
    return events_frame(
        {
            "recording": recording,
            "start_s": 10.0 * k + 1 / 4,
            "end_s": 10.0 * k + 5.5,
            "label": ("rumble", "gunshot")[k % 2],
            "score": 0.25 * (k + 1),
            "low_hz": 10.0,
            "high_hz": 150.5,
        }
        for k in range(count)
    )


@pytest.mark.parametrize("kind", ["raven", "csv"])
def test_written_tables_are_read_back(tmp_path, kind):
    path = tmp_path / f"nn01_20200101_000000{WRITERS[kind].suffix}"
    WRITERS[kind].write(events(), path)
    pd.testing.assert_frame_equal(read_events(path), events())
    WRITERS[kind].write(empty_events(), path)
    again = read_events(path)
    pd.testing.assert_frame_equal(again, empty_events())
    assert again.attrs["without_events"] == ["nn01_20200101_000000"]  # from the name of the table


def test_written_audacity_tracks_are_read_back(tmp_path):
    path = tmp_path / "nn01_20200101_000000.labels.txt"
    WRITERS["audacity"].write(events(), path)
    again = read_events(path)
    assert again[["start_s", "end_s", "label", "score"]].equals(events()[["start_s", "end_s", "label", "score"]])
    assert set(again["recording"]) == {"nn01_20200101_000000"} and set(again["site"]) == {"nn01"}
    assert set(read_events(path, recording="b.wav")["recording"]) == {"b.wav"}
    WRITERS["audacity"].write(empty_events(), path)
    assert read_events(path).attrs["without_events"] == ["nn01_20200101_000000"]


def test_audacity_tracks_of_other_tools_are_read(tmp_path):
    path = write(
        tmp_path / "a.BirdNET.results.txt",
        "1,5\t2\tgun shot\t0.75",
        "\\\t80\t2000",
        "3\t4\t",
        "5\t4\tx",
        encoding="utf-16",
        end="\r\n",
    )
    found = read_events(path, label="rumble")
    assert found[COLUMNS].values.tolist() == [["a", 1.5, 2.0, "gun shot"], ["a", 3.0, 4.0, "rumble"]]
    assert found["high_hz"][0] == 2000 and found["score"][0] == 0.75
    assert len(found.attrs["problems"]) == 1 and "ends before it starts" in found.attrs["problems"][0]
    with pytest.raises(LoxoError, match=r"line 4: .*ends before it starts"):
        read_events(path, strict=True)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("start,end,label,file", "1,2,rumble,a.wav"), ["a.wav", 1, 2, "rumble"]),
        (("file;start_s;end_s;label", "a.wav;1,5;2;rumble"), ["a.wav", 1.5, 2, "rumble"]),
        (("sep=;", "file;start;end;label", "a.wav;1,5;2;rumble"), ["a.wav", 1.5, 2, "rumble"]),
        (  # BirdNET
            (
                "Start (s),End (s),Scientific name,Common name,Confidence,File",
                '3,6,Loxodonta,"Elephant, forest",0.9,x/a.wav',
            ),
            ["x/a.wav", 3, 6, "Elephant, forest"],
        ),
        (  # Kaleidoscope
            (
                "INDIR,FOLDER,IN FILE,OFFSET,DURATION,scientific_name,MANUAL ID",
                "D:\\r,nn01,a.wav,10.5,2,Loxodonta,rumble",
            ),
            ["nn01/a.wav", 10.5, 12.5, "rumble"],
        ),
        (  # OpenSoundscape
            ("audio_file,annotation_file,annotation,start_time,end_time,low_f,high_f", "a.wav,a.txt,rumble,1,2,10,40"),
            ["a.wav", 1, 2, "rumble"],
        ),
        (("filename\tonset\toffset\tevent_label", "a.wav\t1\t2.5\trumble"), ["a.wav", 1, 2.5, "rumble"]),  # DCASE
        (("sound.files,selec,start,end,label", "a.wav,1,1,2,rumble"), ["a.wav", 1, 2, "rumble"]),  # warbleR
        (("Begin Time (s),End Time (s),Begin File,Species", "1,2,a.wav,x"), ["a.wav", 1, 2, "x"]),
    ],
)
def test_tables_of_other_tools_are_read(tmp_path, lines, expected):
    path = write(tmp_path / "some.csv", *lines)
    assert read_events(path)[COLUMNS].values.tolist() == [expected]


@pytest.mark.skipif(not ANNOTATIONS.is_dir(), reason="the folder of reference data, ../shared, is not here")
@pytest.mark.parametrize(
    ("name", "file", "start", "label"),
    [
        ("elephantvoices_rumbles_in_noise.csv", "Sound_file", "Start_time", "Call_type"),
        ("pickering_dzanga_call_type.csv", "filename", "start_time", "Call-Type"),
    ],
)
def test_published_csv_tables_of_elephant_calls_are_read(name, file, start, label):
    with (ANNOTATIONS / name).open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = read_events(ANNOTATIONS / name)
    assert found.attrs["rows"] == len(found) == len(rows) and not found.attrs["problems"]
    wanted = sorted((row[file], round(float(row[start]), 6), row[label]) for row in rows)
    assert sorted(found[["recording", "start_s", "label"]].itertuples(index=False, name=None)) == wanted


def test_site_and_time_are_read_from_events_csv(tmp_path):
    path = write(
        tmp_path / "events.csv",
        "recording,start_s,end_s,label,score,low_hz,high_hz,site,start_time",
        "a.wav,1,2,rumble,0.5,,,nn01,2020-01-01T00:00:01",
    )
    row = read_events(path).iloc[0]
    assert (row["site"], row["start_time"], row["start_s"]) == ("nn01", pd.Timestamp("2020-01-01 00:00:01"), 1.0)


@pytest.mark.parametrize("name", ["nn01.Table.1.selections.txt", "nn01.wav.selections.txt", "nn01_labels.txt"])
def test_the_recording_is_read_from_the_name_of_the_table(tmp_path, name):
    header = "Selection\tBegin Time (s)\tEnd Time (s)\tSpecies"
    found = read_events(write(tmp_path / name, header, "1\t1\t2\trumble"))
    assert found["recording"][0] in ("nn01", "nn01.wav")
    empty = read_events(write(tmp_path / name, header))
    assert len(empty) == 0 and empty.attrs["without_events"] == [found["recording"][0]]


def test_an_empty_table_without_a_recording_in_its_name_has_no_events(tmp_path):
    found = read_events(write(tmp_path / "all sites.txt", "Begin Time (s)\tEnd Time (s)\tBegin File"))
    assert len(found) == 0 and found.attrs["without_events"] == [] and found.attrs["problems"] == []


@pytest.mark.parametrize(
    ("lines", "fault"), [((), "empty"), (("Hello there.",), "first line"), (("a,b", "1,2"), "not a table of events")]
)
def test_a_file_that_is_not_a_table_raises(tmp_path, lines, fault):
    with pytest.raises(LoxoError, match=fault) as caught:
        read_events(write(tmp_path / "a.txt", *lines))
    assert str(tmp_path / "a.txt") in str(caught.value)


def test_tables_and_folders_are_merged(tmp_path):
    (tmp_path / "more").mkdir()
    first = write(tmp_path / "more" / "a.txt", "Begin Time (s)\tEnd Time (s)\tBegin File\tnotes", "1\t2\ta.wav\tm")
    write(tmp_path / "more" / "b.txt", "Begin Time (s)\tEnd Time (s)\tBegin File\tTag", "1\t2\tb.wav\tnocall")
    write(tmp_path / "more" / "notes.txt", "Nothing but words.")
    WRITERS["csv"].write(events(), tmp_path / "c.csv")
    found = read_tables([tmp_path / "more", tmp_path / "c.csv"], label="rumble")
    assert len(found) == 4 and found["recording"][0] == "a.wav"
    assert list(found["marginal"]) == [True, False, False, False]
    assert found.attrs["without_events"] == ["b.wav"] and found.attrs["rows"] == 5
    assert [problem for problem in found.attrs["problems"] if "notes.txt" in problem]
    assert np.array_equal(read_tables(first)["start_s"], [1.0])
    with pytest.raises(LoxoError, match="first line"):
        read_tables([tmp_path / "more" / "notes.txt"])
    with pytest.raises(LoxoError, match="cannot be opened"):
        read_tables([tmp_path / "lost.txt"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(LoxoError, match="contains no table"):
        read_tables([tmp_path / "empty"])


RISKY = [
    "=1+1",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "'=1",
    "''=1",
    '"=1"',
    '"@x',
    " =1",
    "\uff1d1+1",
    "=",
    "-",
    "-5",
    "'quoted",
    "- note",
    "+x",
]


@given(st.text("=+-@'\" 1a\t\r\n\uff1d", max_size=6))
def test_a_cell_starts_no_formula_and_is_read_back(text):
    cell = safe_cell(text)
    assert original_cell(cell) == text
    bare = cell.lstrip(' "')
    assert len(bare) < 2 or bare[0] not in "=+-@\t\r\uff1d" or is_number(cell)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("format", ["raven", "csv", "audacity"])
def test_labels_that_look_like_formulas_are_read_back_from_every_format(tmp_path, format):
    rows = [
        {"recording": "=cmd.wav", "start_s": float(k), "end_s": k + 0.5, "label": label.strip(), "score": 0.5}
        for k, label in enumerate(RISKY)
    ]
    path = tmp_path / ("=cmd.wav" + WRITERS[format].suffix)
    WRITERS[format].write(events_frame(rows), path)
    events = read_events(path)
    assert list(events["label"]) == [label.strip() for label in RISKY] and set(events["recording"]) == {"=cmd.wav"}
    delimiter = "," if format == "csv" else "\t"
    for row in csv.reader(path.read_text().splitlines(), delimiter=delimiter):
        assert not any(cell[:1] in "=+-@" and len(cell) > 1 and not is_number(cell) for cell in row if cell)
