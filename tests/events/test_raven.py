"""Selection tables: format of written tables, accepted tables, and problems of rows."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loxo.audio.filenames import base_name
from loxo.errors import LoxoError
from loxo.events.raven import HEADER, read_raven, write_raven
from loxo.events.table import empty_events, events_frame

ANNOTATIONS = Path(__file__).parents[3] / "shared" / "data" / "annotations"


def rows(count=3, recording="/data/nn01_20200101_000000.wav"):
    return [
        {
            "recording": recording,
            "start_s": 10.0 * k + 1 / 3,
            "end_s": 10.0 * k + 5.123456,
            "label": ("rumble", "gunshot")[k % 2],
            "score": 0.9 / (k + 1),
            "low_hz": 10.0,
            "high_hz": 150.5,
        }
        for k in range(count)
    ]


def table(path: Path, *lines: str, encoding: str = "utf-8", end: str = "\n") -> Path:
    path.write_bytes(end.join([*lines, ""]).replace("|", "\t").encode(encoding))
    return path


def test_the_format_of_a_written_table(tmp_path):
    write_raven(events_frame(rows(2)), tmp_path / "a.txt")
    header, first, second = (tmp_path / "a.txt").read_text().splitlines()
    assert tuple(header.split("\t")) == HEADER
    assert first.split("\t") == [
        *("1", "Spectrogram 1", "1", "0.333333", "5.123456", "10.0", "150.5", "rumble", "rumble", "0.9"),
        *("/data/nn01_20200101_000000.wav", "0.333333", "nn01_20200101_000000.wav"),
    ]
    assert second.startswith("2\tSpectrogram 1\t1\t10.333333\t15.123456\t")


@pytest.mark.filterwarnings("ignore")  # warnings of crowsetta
def test_an_independent_reader_reads_the_same_events(tmp_path):
    found = events_frame([{**row, "low_hz": 10.0, "high_hz": 40.0} for row in rows(5)])  # only integers
    write_raven(found, tmp_path / "a.txt")
    dtypes = pd.read_csv(tmp_path / "a.txt", sep="\t").dtypes
    assert [dtypes[f"{end} Freq (Hz)"].kind for end in ("Low", "High")] == ["f", "f"]
    crowsetta = pytest.importorskip("crowsetta")
    boxes = crowsetta.formats.bbox.Raven.from_file(tmp_path / "a.txt", annot_col="Common Name").to_bbox()
    ours = read_raven(tmp_path / "a.txt")
    theirs = [(box.onset, box.offset, box.low_freq, box.high_freq, box.label) for box in boxes]
    assert theirs == list(ours[["start_s", "end_s", "low_hz", "high_hz", "label"]].itertuples(index=False, name=None))


def test_a_table_without_events_is_a_header_and_can_be_read(tmp_path):
    write_raven(empty_events(), tmp_path / "a.txt", extra={})
    assert (tmp_path / "a.txt").read_text() == "\t".join(HEADER) + "\n"
    pd.testing.assert_frame_equal(read_raven(tmp_path / "a.txt"), empty_events())


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**12),
            st.integers(0, 10**8),
            st.sampled_from(["rumble", "gunshot"]),
            st.none() | st.integers(0, 10**6),
        ),
        max_size=8,
    )
)
def test_written_events_are_read_back_exactly_to_the_microsecond(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("raven") / "a.txt"
    events = events_frame(
        {
            "recording": "L:\\nn\\nn01_20200101_000000.wav",
            "start_s": start / 1e6,
            "end_s": (start + length) / 1e6,
            "label": label,
            "score": np.nan if score is None else score / 1e6,
            "low_hz": 10.0,
            "high_hz": 150.0,
        }
        for start, length, label, score in found
    )
    write_raven(events, path)
    pd.testing.assert_frame_equal(read_raven(path), events, check_exact=True)


def test_extra_columns_are_written_and_read(tmp_path):
    events = events_frame({**row, "snr_db": -1.25 * k, "who": f"me {k}"} for k, row in enumerate(rows()))
    write_raven(events, tmp_path / "a.txt", extra={"snr_db": "SNR (dB)", "who": "Analyst"})
    again = read_raven(tmp_path / "a.txt", extra={"snr_db": "snr (db)", "who": "Analyst"})
    assert list(again["snr_db"]) == [0.0, -1.25, -2.5] and list(again["who"]) == ["me 0", "me 1", "me 2"]
    with pytest.raises(LoxoError, match="no column 'Depth'"):
        read_raven(tmp_path / "a.txt", extra={"depth": "Depth"})


def test_several_recordings_need_durations_and_have_cumulative_begin_times(tmp_path):
    events = events_frame([*rows(1, "c.wav"), *rows(2, "a.wav")])
    with pytest.raises(LoxoError, match="duration"):
        write_raven(events, tmp_path / "a.txt")
    with pytest.raises(LoxoError, match=r"'c\.wav'"):
        write_raven(events, tmp_path / "a.txt", durations={"a.wav": 60.0})
    write_raven(events, tmp_path / "a.txt", durations={"a.wav": 86400.0, "silent.wav": 3600.0, "c.wav": 60.0})
    read = pd.read_csv(tmp_path / "a.txt", sep="\t")
    assert list(read["Begin Time (s)"]) == [0.333333, 10.333333, 90000.333333]
    again = read_raven(tmp_path / "a.txt")
    assert list(again["recording"]) == ["a.wav", "a.wav", "c.wav"]
    np.testing.assert_allclose(again["start_s"], events["start_s"], atol=1e-6)


def test_text_that_a_table_cannot_hold_becomes_codes(tmp_path):
    write_raven(events_frame([{**rows(1)[0], "label": "a\tb", "recording": "c\n.wav"}]), tmp_path / "a.txt")
    events = read_raven(tmp_path / "a.txt")
    assert list(events["label"]) == ["a<09>b"] and list(events["recording"]) == ["c<0A>.wav"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_encoding_line_end_column_order_and_case_is_read(tmp_path, encoding, end):
    path = table(
        tmp_path / "a.txt",
        "END TIME (S)|begin time|Begin Path|file offset (s)|Espèce",
        "100012.5|100010|C:\\forêt\\a.wav|10|éléphant",
        '7,5|5|C:\\forêt\\a.wav|5|"said ""loud"""',
        encoding=encoding,
        end=end,
    )
    events = read_raven(path, "espèce")
    assert list(events["label"]) == ['said "loud"', "éléphant"]
    assert list(events["recording"]) == ["C:\\forêt\\a.wav"] * 2
    assert list(events["start_s"]) == [5.0, 10.0] and list(events["end_s"]) == [7.5, 12.5]
    assert events["score"].isna().all() and events["low_hz"].isna().all()


def test_views_and_channels_of_one_selection_are_one_event(tmp_path):
    path = table(
        tmp_path / "a.txt",
        "Selection|View|Channel|Begin Time (s)|End Time (s)|Low Freq (Hz)|High Freq (Hz)|Begin File",
        "1|Waveform 1|1|1|2|||a.wav",
        "1|Spectrogram 1|1|1|2|10|40|a.wav",
        "1|Spectrogram 1|2|1|2|10|40|a.wav",
        "2|Spectrogram 1|1|1|2|10|40|a.wav",
        "1|Spectrogram 1|1|7|8|10|40|a.wav",
    )
    events = read_raven(path, label="rumble")
    assert list(events["start_s"]) == [1.0, 1.0, 7.0] and list(events["low_hz"]) == [10.0] * 3
    assert set(events["label"]) == {"rumble"}


def test_rows_that_mark_recordings_without_events_are_not_events(tmp_path):
    path = table(
        tmp_path / "a.txt",
        "Begin Time (s)|End Time (s)|Begin File|Common Name|Tag 1",
        "0|10|a.wav||DUMMY_noEles",
        "0|3|b.wav|nocall|",
        "1|2|c.wav|rumble|",
    )
    events = read_raven(path)
    assert list(events["recording"]) == ["c.wav"] and events.attrs["without_events"] == ["a.wav", "b.wav"]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([], "empty"),
        (["a,b,c", "1,2,3"], "no TAB"),
        (["a|b", "1|2"], "not a table of events"),
        (["Begin Time (s)|End Time (s)", "1|2"], "line 2: there is no name of a recording"),
        (["Begin Time (s)|End Time (s)|Begin File", "1|2|a.wav", "x|2|a.wav"], "line 3: .*not a number"),
        (["Begin Time (s)|End Time (s)|Begin File", "1||a.wav"], "nor a duration"),
        (
            ["Begin Time (s)|End Time (s)|Begin File|File Offset (s)", "1|2|a.wav|1", "3|4|a.wav|"],
            "start of the event is empty",
        ),
        (["Begin Time (s)|End Time (s)|Begin File", "3|2|a.wav"], "ends before it starts"),
        (["Begin Time (s)|End Time (s)|Begin File", "1|2|a.wav|more"], "4 cells"),
    ],
)
def test_an_invalid_row_raises_with_its_line(tmp_path, lines, fault):
    with pytest.raises(LoxoError, match=fault) as caught:
        read_raven(table(tmp_path / "a.txt", *lines))
    assert str(tmp_path / "a.txt") in str(caught.value)


def test_the_recording_of_a_table_can_be_an_argument(tmp_path):
    path = table(tmp_path / "a.txt", "Begin Time (s)|End Time (s)", "1|2")
    assert list(read_raven(path, recording="a.wav")["recording"]) == ["a.wav"]
    with pytest.raises(LoxoError, match="cannot be opened"):
        read_raven(tmp_path / "none.txt")


def test_blank_cells_of_duplicate_columns_are_skipped(tmp_path):
    path = table(
        tmp_path / "a.txt",
        "|File Offset (s)|begin file|Begin Path|File Offset (s)|Begin Time (s)|End Time (s)||Label|label|Old Path",
        "x|10|a.wav|D:\\new\\a.wav||100|102|||rumble|L:\\old\\a.wav",
        "x||b.wav||20|120|121||gunshot|shot|L:\\old\\b.wav",
    )
    events = read_raven(path)
    assert events[["recording", "start_s", "end_s", "label"]].values.tolist() == [
        ["D:\\new\\a.wav", 10.0, 12.0, "rumble"],
        ["b.wav", 20.0, 21.0, "gunshot"],
    ]


def test_a_blank_column_of_offsets_is_ignored(tmp_path):
    lines = ("Begin Time (s)|End Time (s)|File Offset (s)|Begin File", "5|7||a.wav", "9|10||a.wav")
    assert list(read_raven(table(tmp_path / "a.txt", *lines), label="rumble")["start_s"]) == [5.0, 9.0]


@pytest.mark.parametrize(
    "header",
    [
        "FILE OFFSET (S)|DURATION|FILENAME",
        "file_offset_s|delta time (s)|Begin File",
        "FileOffset|duration (s)|BEGIN_PATH",
        "Begin File Offset|Delta Time|file name",
    ],
)
def test_offset_duration_and_name_are_read_with_any_spelling(tmp_path, header):
    events = read_raven(table(tmp_path / "a.txt", header, "48860.426|6.2622|nn01a_20180126_000000.wav"), label="rumble")
    assert events[["start_s", "end_s", "recording", "site"]].values.tolist() == [
        [48860.426, 48866.6882, "nn01a_20180126_000000.wav", "nn01a"]
    ]


def test_marginal_events_are_marked_in_a_column(tmp_path):
    header, row = "Begin Time (s)|End Time (s)|Begin File|Tag 2|notes", "1|2|a.wav"
    notes = ["|", "|marginal", "|Very Marginal, but added", "|m", "m|", "|faint", "|many harmonics"]
    lines = [f"{k}|{k + 1}|a.wav|{note}" for k, note in enumerate(notes)]
    events = read_raven(table(tmp_path / "a.txt", header, *lines), label="rumble")
    assert events["marginal"].dtype == bool
    assert list(events["marginal"]) == [False, True, True, True, False, False, False]
    events = read_raven(table(tmp_path / "b.txt", "Begin Time (s)|End Time (s)|Begin File|marginals", f"{row}|x", row))
    assert sorted(events["marginal"]) == [False, True]
    assert "marginal" not in read_raven(table(tmp_path / "c.txt", "Begin Time (s)|End Time (s)|Begin File", row))


def test_labels_are_read_from_any_column_or_are_an_argument(tmp_path):
    lines = ("Begin Time (s)|End Time (s)|Begin File|Tag 1|Species", "1|2|a.wav|gun|x", "3|4|a.wav||y")
    path = table(tmp_path / "a.txt", *lines)
    assert list(read_raven(path)["label"]) == ["x", "y"]
    assert list(read_raven(path, "tag 1", label="shot")["label"]) == ["gun", "shot"]
    unlabelled = read_raven(path, "Tag 1")
    assert list(unlabelled["label"]) == ["gun", ""]
    assert unlabelled.attrs["problems"] == [
        f"{path}: 1 of 2 row(s) have no label; give `label` or `label_column` (line 3)."
    ]


def test_a_waveform_row_and_a_spectrogram_row_without_selection_numbers_are_one_event(tmp_path):
    path = table(
        tmp_path / "a.txt",
        "view|channel|begin time|end time|low freq|begin path",
        "Waveform 1|1|1|2||a.wav",
        "Spectrogram 1|1|1|2|80|a.wav",
        "Spectrogram 1|1|1|2|80|b.wav",
    )
    assert read_raven(path, label="gunshot")[["recording", "low_hz"]].values.tolist() == [["a.wav", 80], ["b.wav", 80]]


def cumulative_rows(count, first=0):
    """Rows of `count` recordings of one day, with five events each and cumulative begin times."""
    return [
        f"{86400 * k + 1000 * n}|{86400 * k + 1000 * n + 4}|nn0{k}.wav" for k in range(first, count) for n in range(5)
    ]


def test_cumulative_begin_times_without_offsets_give_no_positions(tmp_path):
    header = "Begin Time (s)|End Time (s)|Begin File"
    path = table(tmp_path / "a.txt", header, *cumulative_rows(4))
    with pytest.raises(LoxoError, match=r"line 7: Begin Time is cumulative .* no File Offset"):
        read_raven(path)
    events = read_raven(path, label="rumble", strict=False)
    assert set(events["recording"]) == {"nn00.wav"} and len(events) == 5
    assert len(events.attrs["problems"]) == 1 and "15 of 20 row(s) are left out" in events.attrs["problems"][0]
    with_offsets = [f"{row}|{float(row.split('|')[0]) % 86400}" for row in cumulative_rows(4)]
    placed = read_raven(table(tmp_path / "b.txt", f"{header}|File Offset (s)", *with_offsets), label="rumble")
    assert len(placed) == 20 and placed["end_s"].max() == 4004 and not placed.attrs["problems"]
    own_times = [
        f"{10 * k}|{10 * k + 1}|{'ab'[k % 2]}.wav" for k in range(20)
    ]  # counted from the start of each recording
    assert len(read_raven(table(tmp_path / "c.txt", header, *own_times))) == 20


def test_invalid_rows_are_counted_with_examples(tmp_path):
    bad = [f"{k}|{k - 1}|a.wav|0.5" for k in range(10, 15)]
    path = table(
        tmp_path / "a.txt",
        "Begin Time (s)|End Time (s)|Begin File|Score",
        *("1|2|a.wav|0.5", "x|2|a.wav|", "3|4||", "5||a.wav|", "6|6|a.wav|", "7|8|a.wav|87", "1|2|a.wav|0.5"),
        *("9|9.5|a.wav|0.5|more", *bad),
    )
    events = read_raven(path, label="rumble", strict=False)
    assert list(events["start_s"]) == [1.0, 1.0, 6.0, 7.0] and events["score"].isna().sum() == 2
    assert events.attrs["rows"] == 13
    assert [problem.removeprefix(f"{path}: ") for problem in events.attrs["problems"]] == [
        "1 of 13 row(s) are left out: 'Begin Time (s)' is not a number (line 3: 'x').",
        "1 of 13 row(s) are left out: there is no name of a recording (Begin Path or Begin File); give `recording` "
        "(line 4).",
        "1 of 13 row(s) are left out: there is neither Begin and End Time nor a duration (line 5).",
        "1 of 13 row(s) have a score outside 0 to 1, which is ignored (line 7: 87).",
        "1 of 13 row(s) are left out: there are 5 cells but the header has 4 (line 9).",
        "5 of 13 row(s) are left out: the event ends before it starts (line 10: it starts at 10 s "
        "and lasts -1 s; line 11: it starts at 11 s and lasts -1 s; line 12: it starts at 12 s and lasts -1 s; ...).",
        "1 of 13 row(s) have no duration (line 6: at 6 s of a.wav).",
        "1 of 13 row(s) repeat another row (line 8: as line 2).",
    ]


def test_suspicious_rows_are_read_and_reported(tmp_path):
    path = table(
        tmp_path / "a.txt",
        "File Offset (s)|Duration|Begin Path|Begin File|Low Freq (Hz)|High Freq (Hz)|Tag 1",
        "90000|4|L:\\a.wav|a.wav|10|40|",
        "5|4|L:\\b.wav|c.wav|40|10|",
        "0.354|9.8|L:\\d.wav|d.wav||100|",
        "0.354|9.8|L:\\e.wav|e.wav||100|DUMMY_NoEles",
        "7|4|L:\\e.wav|e.wav|10|40|",
    )
    events = read_raven(path, label="rumble")
    assert len(events) == 4 and events.attrs["without_events"] == ["L:\\e.wav"]
    assert np.isnan(events["low_hz"][1]) and np.isnan(events["high_hz"][1])
    for expected in (
        "more than 24 h",
        "impossible frequency bounds",
        "name two recordings",
        "DUMMY_NoEles",
        "line 5",
    ):
        assert any(expected in problem for problem in events.attrs["problems"]), expected
    assert len(events.attrs["problems"]) == 5


@pytest.mark.skipif(not ANNOTATIONS.is_dir(), reason="the folder of reference data, ../shared, is not here")
@pytest.mark.parametrize(
    ("name", "counts", "first", "problems"),
    [
        ("nn_ele_00-24hr_GeneralTest.txt", (664, 1, 29, 46), (29314.08, 29318.487), []),
        ("nn_ele_hb_00-24hr_TrainingSet.txt", (3240, 3, 134, 207), (48860.426, 48866.68825), ["40 of 3240"]),
        (
            "nn_ele_hb_00-24hr_TrainingSet_v2.txt",
            (3180, 0, 134, 945),
            (48860.426, 48866.6882),
            ["3 of 3180", "40 of 3180"],  # this version lost the tags of three recordings without events
        ),
    ],
)
def test_tables_of_the_elephant_listening_project(name, counts, first, problems):
    with (ANNOTATIONS / name).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    dummies = [row for row in rows if "dummy" in row.get("Tag 1", "").lower()]
    column = "Begin File" if "Begin File" in rows[0] else "filename"
    recordings = {row[column] for row in rows}
    assert (len(rows), len(dummies), len(recordings)) == counts[:3]

    events = read_raven(ANNOTATIONS / name, label="rumble")
    assert events.attrs["rows"] == len(rows) and len(events) == len(rows) - len(dummies)
    named = {base_name(path) for path in (*events["recording"], *events.attrs["without_events"])}
    assert named == recordings
    assert sorted(map(base_name, events.attrs["without_events"])) == sorted(row[column] for row in dummies)
    offsets = sorted(round(float(row["File Offset (s)"]), 6) for row in rows if row not in dummies)
    assert sorted(events["start_s"]) == offsets
    assert events["site"].notna().all() and events["start_time"].notna().all()
    assert ((events["start_s"] - first[0]).abs() + (events["end_s"] - first[1]).abs() < 2e-6).any()
    assert events["marginal"].sum() == counts[3]
    assert len(events.attrs["problems"]) == len(problems)
    for expected, problem in zip(sorted(problems), sorted(events.attrs["problems"]), strict=True):
        assert expected in problem
