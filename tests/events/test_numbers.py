"""Numbers as programs of several languages write them. No reading is wrong by a factor of 1,000 without a report."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loxo.errors import LoxoError
from loxo.events.cells import parse_table
from loxo.events.numbers import to_number
from loxo.events.reader import read_events
from loxo.events.rows import AMBIGUOUS, events_from_table
from loxo.events.table import events_frame
from loxo.events.writers import WRITERS

CASES = Path(__file__).parents[3] / "shared" / "cases" / "tables"
STYLES = {  # thousands separator and decimal sign
    "English": (",", "."),
    "German": (".", ","),
    "French": ("\u202f", ","),
    "Swiss": ("’", "."),
    "Spanish": ("\u00a0", ","),
    "plain": ("", "."),
    "plain comma": ("", ","),
    "Arabic": ("٬", "٫"),
}


def events_of(*rows, header="Begin Time (s)\tEnd Time (s)\tBegin File", strict=False):
    """The events of a TAB separated table; the rows need no name of a recording."""
    text = "\n".join([header, *(row if row.count("\t") == header.count("\t") else f"{row}\ta.wav" for row in rows)])
    return events_from_table(parse_table(Path("t.txt"), text, "\t"), label="rumble", strict=strict)


def times(events):
    return events[["start_s", "end_s"]].values.tolist()


def is_ambiguous(events):
    return any(AMBIGUOUS in sentence for sentence in events.attrs["problems"])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("12", 12), ("12.5", 12.5), ("12,5", 12.5), ("0,345", 0.345), (".5", 0.5), ("5,", 5), ("-3,5", -3.5)),
        *(("1,234.5", 1234.5), ("1.234,5", 1234.5), ("1,234,567", 1234567), ("1.234.567", 1234567)),
        *(("1234,567", 1234.567), ("1,2345", 1.2345), ("1,23,456.7", 123456.7), ("1.5e3", 1500), ("1,5E-1", 0.15)),
        *(("12 345,5", 12345.5), ("12\u00a0345,5", 12345.5), ("12\u202f345", 12345), ("12\u2009345.25", 12345.25)),
        *(("12'345.50", 12345.5), ("12’345’678", 12345678), ("−3.5", -3.5), ("–3,5", -3.5), ("+2", 2)),
        *(("١٢٫٥", 12.5), ("١٢٬٣٤٥٫٥", 12345.5), ("۱۲٫۵", 12.5), ("\u200f١٢", 12), ("１２，５", 12.5)),
        *((text, None) for text in ("", ".", "-", "12 34", "1_000", "1.234,567.8", "1,2,3", "12'34", "10²", "1:30")),
        *((text, None) for text in ("1 234'567", "12 s", "0x10", "1,234.567,8", "0 123", "12,345 678")),
    ],
)
def test_one_number(text, number):
    assert to_number(text) == number


def test_words_for_no_number():
    assert to_number("NaN") != to_number("NaN") and to_number("-inf") == -to_number("Infinity")


@pytest.mark.skipif(not CASES.is_dir(), reason="the folder of reference data, ../shared, is not here")
def test_the_reported_tables():
    assert times(read_events(CASES / "b-thousands_20200101_000000.txt", label="x")) == [[12345.5, 12350.75]]
    assert is_ambiguous(read_events(CASES / "b5-thousands-en-int_20200101_000000.txt", label="x"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            ("12,345\t12,350", "1.5\t2"),
            [[1.5, 2], [12345, 12350]],
        ),  # one number decides for both columns
        (("12,345\t12,350", "1,5\t2"), [[1.5, 2], [12.345, 12.350]]),
        (("12.345\t12.350", "1,5\t2"), [[1.5, 2], [12345, 12350]]),
        (("12,345\t1,012,350",), [[12345, 1012350]]),
        (("12,345\t1012,350",), [[12.345, 1012.35]]),
        (("0,345\t1,345",), [[0.345, 1.345]]),
        (("998\t1,001", "1,500\t1,502"), [[998, 1001], [1500, 1502]]),  # a decimal comma: the end before the start
    ],
)
def test_the_columns_decide(rows, expected):
    events = events_of(*rows)
    assert times(events) == expected and events.attrs["problems"] == []


@pytest.mark.parametrize(
    ("duration", "expected"), [("5", [12345, 12350]), ("0,005", [12.345, 12.35]), ("5.0", [12345, 12350])]
)
def test_durations_decide(duration, expected):
    header = "Begin Time (s)\tEnd Time (s)\tDelta Time (s)\tBegin File"
    events = events_of(f"12,345\t12,350\t{duration}\ta.wav", header=header)
    assert times(events) == [expected] and events.attrs["problems"] == []


@pytest.mark.parametrize(("row", "start"), [("12,345\t12,350", 12.345), ("12.345\t12.350", 12.345)])
def test_undecided_numbers_are_reported(row, start):
    for strict in (False, True):
        events = events_of(row, strict=strict)
        [sentence] = events.attrs["problems"]
        assert AMBIGUOUS in sentence and f"is read as {start}" in sentence and "line 2" in sentence
        assert events["start_s"][0] == start


def test_other_columns_decide_and_a_reading_as_thousands_is_reported():
    header = "Begin Time (s)\tEnd Time (s)\tConfidence\tBegin File"
    same = events_of("12.345\t12.350\t0.85\ta.wav", header=header)
    assert times(same) == [[12.345, 12.35]] and same.attrs["problems"] == []
    other = events_of("12,345\t12,350\t0.85\ta.wav", header=header)
    assert times(other) == [[12345, 12350]] and "'12,345' is read as 12345" in other.attrs["problems"][0]


def test_frequencies_and_scores_decide_by_their_order_and_limit():
    header = "Begin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tScore\tBegin File"
    events = events_of("5\t6\t500\t2,000\t1,000\ta.wav", header=header)
    assert events[["low_hz", "high_hz", "score"]].values.tolist() == [[500, 2000, 1]]
    assert events.attrs["problems"] == []
    assert is_ambiguous(events_of("5\t6\t1,000\t2,000\t0\ta.wav", header=header))


def test_a_column_with_both_decimal_signs_decides_nothing():
    assert is_ambiguous(events_of("1,5\t2.5", "12,345\t12,350"))


def test_audacity_tracks_and_csv_tables_use_the_same_rules(tmp_path):
    (tmp_path / "a.txt").write_text("12.345,5\t12.350,75\trumble\n")
    (tmp_path / "b.csv").write_text("file;start;end;label\na.wav;12 345,5;12 350,75;rumble\n")
    (tmp_path / "c.csv").write_text('file,start,end,label\na.wav,"12,345.5","12 350.75",rumble\n')
    (tmp_path / "d.csv").write_text('IN FILE,OFFSET,DURATION,MANUAL ID\na.wav,"12.345,5","5,25",rumble\n')
    for name in "a.txt", "b.csv", "c.csv", "d.csv":
        assert times(read_events(tmp_path / name)) == [[12345.5, 12350.75]]


def test_further_columns_use_the_same_rules():
    header = "Begin Time (s)\tEnd Time (s)\tSNR (dB)\tBegin File"
    table = parse_table(Path("t.txt"), f"{header}\n1,5\t2\t−3,5\ta.wav\n3\t4\t12,345\ta.wav", "\t")
    events = events_from_table(table, label="x", extra={"snr_db": "SNR (dB)"})
    assert list(events["snr_db"]) == [-3.5, 12.345] and events.attrs["problems"] == []


def test_tables_of_loxo_have_a_decimal_point(tmp_path):
    """Without a score, every number of such a table may have three decimals."""
    events = events_frame([{"recording": "nn_20200101_000000.wav", "start_s": 12.345, "end_s": 15.678, "label": "x"}])
    for kind in ("csv", "raven", "audacity"):
        path = tmp_path / f"nn_20200101_000000{WRITERS[kind].suffix}"
        WRITERS[kind].write(events, path)
        again = read_events(path)
        assert times(again) == [[12.345, 15.678]] and again.attrs["problems"] == []


def written(value, thousands, decimal, decimals, trim):
    text = f"{value:,.{decimals}f}"
    if trim and "." in text:
        text = text.rstrip("0").rstrip(".")
    text = text.replace(",", "\0").replace(".", decimal).replace("\0", thousands)
    return text.translate({ord("0") + k: ord("٠") + k for k in range(10)}) if decimal == "٫" else text


@settings(max_examples=150, deadline=None)
@given(
    spans=st.lists(st.tuples(st.integers(0, 90_000_000), st.integers(0, 30_000)), min_size=1, max_size=6),
    style=st.sampled_from(sorted(STYLES)),
    decimals=st.integers(0, 5),
    trim=st.booleans(),
    columns=st.lists(st.sampled_from(["duration", "score", "frequencies"]), unique=True),
)
def test_no_number_is_wrong_without_a_report(spans, style, decimals, trim, columns):
    thousands, decimal = STYLES[style]
    header = ["Begin Time (s)", "End Time (s)"]
    header += ["Duration (s)"] * ("duration" in columns) + ["Confidence"] * ("score" in columns)
    header += ["Low Freq (Hz)", "High Freq (Hz)"] * ("frequencies" in columns) + ["Begin File"]
    rows, wanted = [], set()
    for k, (start_ms, length_ms) in enumerate(spans):
        start, end = (round(ms / 1000, decimals) for ms in (start_ms, start_ms + length_ms))
        values = [start, end] + [end - start] * ("duration" in columns) + [0.5] * ("score" in columns)
        values += [20.0, 1500.0] * ("frequencies" in columns)
        rows.append("\t".join([*(written(v, thousands, decimal, decimals, trim) for v in values), f"{k}.wav"]))
        wanted.add((f"{k}.wav", round(start, 6), round(end, 6)))
    table = parse_table(Path("t.txt"), "\n".join(["\t".join(header), *rows]), "\t")
    events = events_from_table(table, label="x", strict=False)
    found = set(events[["recording", "start_s", "end_s"]].itertuples(index=False, name=None))
    if not is_ambiguous(events):
        assert found == wanted
    cells = [cell for row in rows for cell in row.split("\t")[:-1]]
    decided = any(thousands and thousands in cell and decimal in cell for cell in cells)
    if decided or (decimals not in (0, 3) and not trim):
        assert found == wanted and not is_ambiguous(events)


def test_wrong_numbers_are_refused_by_their_column():
    with pytest.raises(LoxoError, match=r"line 2: 'Begin Time \(s\)' is not a number \('1_000'\)"):
        events_of("1_000\t2", strict=True)
