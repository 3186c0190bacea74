"""Two events where the scores of a class show one, split by the overlap outputs."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import RATE, STEP, FakeConfig, FakeModel
from hypothesis import given
from hypothesis import strategies as st

from loxo.detection.decode import class_rows, decode, find_events
from loxo.detection.detect import detect
from loxo.detection.overlaps import split_overlaps
from loxo.engine.config import Decoding
from loxo.errors import LoxoError
from loxo.runs.config import read_run_config
from loxo.runs.scores import read_scores
from loxo.survey.redecode import redecode
from loxo.survey.survey import survey


class TwoRows(FakeConfig):
    @property
    def rows(self) -> tuple[str, ...]:
        return (*self.classes, *(f"{label} overlap" for label in self.classes))


class OverlapModel(FakeModel):
    """Its overlap output is high where the sound is more than twice as loud as one call."""

    def __init__(self) -> None:
        decoding = {"rumble": Decoding(threshold=0.4, overlap_threshold=0.3), "gunshot": Decoding(threshold=0.4)}
        super().__init__(TwoRows(decoding=decoding))

    def logits(self, windows):
        logits = super().logits(windows)
        return np.concatenate((logits, 2 * (logits - 3)), 1)


def apart(events, spans):
    """With steps of 1 s: PAUSE_S and NEAR_S are less than a step."""
    return split_overlaps(events, spans, 1.0)


def test_the_end_of_one_call_is_the_beginning_of_the_next():
    half = pytest.approx(3 / 4)  # odds of 3, the square root of 9
    assert apart([(0, 100, 0.9)], [(40, 60, 0.5)]) == [(0, 60, 0.9), (40, 100, half)]
    assert apart([(0, 100, 0.9)], [(10, 50, 0.95)]) == [
        (0, 50, 0.9),
        (10, 100, 0.9),
    ]  # the second score never exceeds the first
    assert apart([(0, 100, 0.9)], [(60, 120, 0.5)]) == [(0, 100, 0.9), (60, 100, half)]
    assert apart([(0, 100, 0.1)], [(40, 60, 0.5)]) == [(0, 60, 0.1), (40, 100, 0.1)]
    assert apart([(0, 100, 0.9)], [(0, 120, 0.7)]) == [(0, 100, 0.9)]  # the two events would be the same
    assert apart([(0, 100, 0.9)], [(5, 95, 0.7)]) == [(0, 100, 0.9)]


def test_two_events_are_extended_over_a_span_at_their_border():
    two = [(0, 50, 0.9), (50, 100, 0.8)]
    assert apart(two, [(40, 60, 0.7)]) == [(0, 60, 0.9), (40, 100, 0.8)]
    assert apart(two, [(2, 98, 0.7)]) == two  # each event would cover both
    assert apart(two, [(70, 80, 0.7)])[:2] == [(0, 50, 0.9), (50, 80, 0.8)]  # not at the border


def test_a_border_may_be_a_pause_with_the_span_on_one_side_of_it():
    two = [(100, 126, 0.9), (130, 186, 0.8)]
    drawn = [(100, 155, 0.9), (130, 186, 0.8)]
    assert split_overlaps(two, [(130, 155, 0.7)], 0.08) == drawn
    assert split_overlaps(two, [(128, 155, 0.7)], 0.08) == [(100, 155, 0.9), (128, 186, 0.8)]
    assert split_overlaps(two, [(110, 125, 0.7)], 0.08) == [(100, 126, 0.9), (110, 186, 0.8)]
    later = [(100, 126, 0.9), (140, 186, 0.8)]  # more than a pause: two calls, and one within the second
    found = split_overlaps(later, [(142, 155, 0.7)], 0.08)
    assert len(found) == 3 and (100, 126, 0.9) in found and (142, 186, 0.8) in found


def test_three_calls_in_a_row():
    found = apart([(0, 100, 0.9)], [(60, 80, 0.25), (20, 30, 0.1)])
    assert [event[:2] for event in found] == [(0, 30), (20, 80), (60, 100)]
    assert [event[2] for event in found] == pytest.approx([1 / 4, 0.9, 1 / 2])


def test_a_span_outside_of_all_events_changes_nothing():
    assert apart([(0, 10, 0.9), (30, 40, 0.8)], [(15, 20, 0.9)]) == [(0, 10, 0.9), (30, 40, 0.8)]
    assert apart([], [(15, 20, 0.9)]) == []


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 5), st.floats(0.01, 1)), max_size=6),
    st.lists(st.tuples(st.integers(0, 120), st.integers(1, 30), st.floats(0.01, 1)), max_size=4),
)
def test_no_step_of_an_event_is_lost_and_none_is_added_outside_events_and_spans(lengths, starts):
    events, spans, at, free = [], [], 0, 0
    for length, pause, score in lengths:
        events.append((at + pause, at + pause + length, score))
        at = events[-1][1]
    for start, length, score in sorted(starts):
        if start >= free:
            spans.append((start, start + length, score))
            free = start + length
    found = apart(events, spans)
    steps = lambda some: {step for first, last, _ in some for step in range(first, last)}  # noqa: E731
    assert steps(events) <= steps(found) <= steps([*events, *spans])
    assert all(first < last for first, last, _ in found)
    assert len(events) <= len(found) <= len(events) + len(spans)
    assert max((score for *_, score in found), default=0) == max((score for *_, score in events), default=0)
    middles = [first + last for first, last, _ in found]
    assert middles == sorted(middles)


def test_overlap_scores_split_one_event_into_two():
    scores, two = np.zeros(200), np.zeros(200)
    scores[20:120], two[60:80] = 0.9, 0.6
    one = find_events(scores, Decoding(), 0.1)
    assert one == [(20, 120, 0.9)] == find_events(scores, Decoding(), 0.1, two)  # overlap_threshold is 0
    found = find_events(scores, Decoding(overlap_threshold=0.5), 0.1, two)
    assert (
        len(found) == 2
        and found[0][0] == 20
        and found[1][1] == 120
        and 75 <= found[0][1] <= 85
        and 55 <= found[1][0] <= 65
    )
    assert max(score for *_, score in found) == 0.9 and 0.7 < min(score for *_, score in found) < 0.9
    assert find_events(scores, Decoding(overlap_threshold=0.7), 0.1, two) == one
    assert find_events(scores, Decoding(overlap_threshold=0.5), 0.1) == one


def test_rows_of_a_class():
    rows = ("rumble", "gunshot", "rumble overlap", "gunshot overlap")
    assert class_rows("gunshot", rows) == [1, 3] and class_rows("gunshot", rows[:2]) == [1]


@pytest.fixture
def card(tmp_path) -> Path:
    """Two calls of 8 s, the second of which begins 5 s after the first; then one alone."""
    time = np.arange(40 * RATE) / RATE
    samples = 0.005 * np.random.default_rng(0).standard_normal(len(time))
    for start in (6.0, 11.0, 28.0):
        samples += 0.35 * np.sin(2 * np.pi * 30 * time) * ((time >= start) & (time < start + 8))
    path = tmp_path / "card" / "nn01_20200101_000000.wav"
    path.parent.mkdir()
    soundfile.write(path, samples, RATE)
    return path


def test_from_recording_to_table_and_again_from_kept_scores(card, tmp_path):
    found = detect(card, OverlapModel())
    rumbles = found[found["label"] == "rumble"].reset_index(drop=True)
    step_s = STEP / RATE
    expected = [(6, 14), (11, 19), (28, 36)]
    assert len(rumbles) == 3
    for (start, end), (_, row) in zip(expected, rumbles.iterrows(), strict=True):
        assert abs(row["start_s"] - start) <= 6 * step_s and abs(row["end_s"] - end) <= 6 * step_s
    run = tmp_path / "run"
    survey([card.parent], "fake", run, load=OverlapModel, keep_scores=True)
    (entry,) = json.loads((run / "run.json").read_text())["recordings"]
    kept = read_scores(run, entry["recording"])
    assert kept.labels == TwoRows().rows and kept.scores[2].max() > 0.9
    redecode(run, tmp_path / "again")
    assert (tmp_path / "again/events.csv").read_bytes() == (run / "events.csv").read_bytes()
    redecode(run, tmp_path / "never", changes={"overlap_threshold": {"rumble": 0.0}})
    lines = [(folder / "events.csv").read_text().splitlines() for folder in (run, tmp_path / "never")]
    assert len(lines[1]) == len(lines[0]) - 1


def test_a_run_of_a_version_without_overlap_outputs_is_read(card, tmp_path):
    run = tmp_path / "run"
    survey([card.parent], "fake", run, load=FakeModel, keep_scores=True)
    record = json.loads((run / "run.json").read_text())
    del record["parameters"]["rows"]
    for decoding in record["parameters"]["decoding"].values():
        del decoding["overlap_threshold"]
    (run / "run.json").write_text(json.dumps(record))
    journal = run / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"parameters"' not in line))  # nor did its journal have any
    assert read_run_config(run)[0].rows == ("rumble", "gunshot")
    redecode(run, tmp_path / "again")
    assert (tmp_path / "again/events.csv").read_bytes() == (run / "events.csv").read_bytes()


def test_scores_of_too_few_rows_are_refused():
    with pytest.raises(LoxoError, match="4 rows of scores"):
        decode(np.zeros((2, 10)), TwoRows())
