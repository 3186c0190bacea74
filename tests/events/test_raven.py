"""Selection tables: what is written, what is understood, and that nothing is dropped."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_what_is_written(tmp_path):
    write_raven(events_frame(rows(2)), tmp_path / "a.txt")
    header, first, second = (tmp_path / "a.txt").read_text().splitlines()
    assert tuple(header.split("\t")) == HEADER
    assert first.split("\t") == [
        *("1", "Spectrogram 1", "1", "0.333333", "5.123456", "10", "150.5", "rumble", "rumble", "0.9"),
        *("/data/nn01_20200101_000000.wav", "0.333333", "nn01_20200101_000000.wav"),
    ]
    assert second.startswith("2\tSpectrogram 1\t1\t10.333333\t15.123456\t")


def test_no_events_give_a_header_only_and_read_back(tmp_path):
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
def test_round_trip_is_exact_to_the_microsecond(tmp_path_factory, found):
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


def test_extra_columns_go_both_ways(tmp_path):
    events = events_frame({**row, "snr_db": -1.25 * k, "who": f"me {k}"} for k, row in enumerate(rows()))
    write_raven(events, tmp_path / "a.txt", extra={"snr_db": "SNR (dB)", "who": "Analyst"})
    again = read_raven(tmp_path / "a.txt", extra={"snr_db": "snr (db)", "who": "Analyst"})
    assert list(again["snr_db"]) == [0.0, -1.25, -2.5] and list(again["who"]) == ["me 0", "me 1", "me 2"]
    with pytest.raises(LoxoError, match="no column 'Depth'"):
        read_raven(tmp_path / "a.txt", extra={"depth": "Depth"})


def test_several_recordings_need_durations_and_begin_times_run_on(tmp_path):
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


def test_a_label_that_would_break_the_table_is_refused(tmp_path):
    with pytest.raises(LoxoError, match="TAB"):
        write_raven(events_frame([{**rows(1)[0], "label": "a\tb"}]), tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_encoding_line_end_order_and_case(tmp_path, encoding, end):
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


def test_rows_that_say_there_is_nothing_are_no_events(tmp_path):
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
        (["a|b", "1|2"], "neither"),
        (["Begin Time (s)|End Time (s)", "1|2"], "line 2: there is no recording"),
        (["Begin Time (s)|End Time (s)|Begin File", "1|2|a.wav", "x|2|a.wav"], "line 3: .*no number"),
        (["Begin Time (s)|End Time (s)|Begin File", "1||a.wav"], "how long"),
        (["Begin Time (s)|End Time (s)|Begin File|File Offset (s)", "1|2|a.wav|"], "places the event"),
        (["Begin Time (s)|End Time (s)|Begin File", "3|2|a.wav"], "cannot be placed"),
        (["Begin Time (s)|End Time (s)|Begin File", "1|2|a.wav|more"], "4 cells"),
    ],
)
def test_what_cannot_be_placed_is_named(tmp_path, lines, fault):
    with pytest.raises(LoxoError, match=fault) as caught:
        read_raven(table(tmp_path / "a.txt", *lines))
    assert str(tmp_path / "a.txt") in str(caught.value)


def test_a_table_that_names_no_recording_can_be_told(tmp_path):
    path = table(tmp_path / "a.txt", "Begin Time (s)|End Time (s)", "1|2")
    assert list(read_raven(path, recording="a.wav")["recording"]) == ["a.wav"]
    with pytest.raises(LoxoError, match="cannot be opened"):
        read_raven(tmp_path / "none.txt")


@pytest.mark.skipif(not ANNOTATIONS.is_dir(), reason="the project's annotation tables are not here")
@pytest.mark.parametrize(
    ("name", "count", "without", "first"),
    [
        ("nn_ele_00-24hr_GeneralTest.txt", 663, 1, (29314.08, 29318.487)),
        ("nn_ele_hb_00-24hr_TrainingSet.txt", 3237, 3, (48860.426, 48866.68825)),
        ("nn_ele_hb_00-24hr_TrainingSet_v2.txt", 3180, 0, (48860.426, 48866.6882)),
    ],
)
def test_tables_of_the_elephant_listening_project(name, count, without, first):
    events = read_raven(ANNOTATIONS / name, label="rumble")
    assert (len(events), len(events.attrs["without_events"])) == (count, without)
    assert events["site"].notna().all() and events["start_time"].notna().all()
    assert ((events["start_s"] - first[0]).abs() + (events["end_s"] - first[1]).abs() < 2e-6).any()
