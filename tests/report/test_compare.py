"""Two runs, event by event, with the answer known."""

import pandas as pd
import pytest
from pages import assert_self_contained
from report_runs import event, recording, write_run

from loxo.errors import LoxoError
from loxo.events.table import events_frame
from loxo.report.compare import compare, pair_events

A, B = "a_20200101_000000.wav", "b_20200101_000000.wav"


def test_events_are_gained_lost_or_moved_between_two_runs(tmp_path):
    one = [event(A, 10), event(A, 50, score=0.7), event(A, 100), event(A, 200, "gunshot"), event(B, 10)]
    other = [event(f"x/{A}", 10), event(f"x/{A}", 51.0, score=0.9), event(f"x/{A}", 200), event(f"x/{A}", 300)]
    other += [event("x/c_20200101_000000.wav", 10)]
    runs = [
        write_run(tmp_path / "one", [recording(A), recording(B)], one),
        write_run(tmp_path / "two", [recording(f"x/{A}"), recording("x/c_20200101_000000.wav")], other),
    ]
    made = compare(*runs)
    assert made.page == tmp_path / "two" / "comparison.html"
    assert_self_contained(made.page)
    changes = pd.read_csv(tmp_path / "two" / "comparison.changes.csv")
    rows = changes[["label", "change", "start_a", "start_b"]].fillna(-1).to_numpy().tolist()
    assert sorted(rows) == [  # the gunshot at 200 s is another label: one lost, one gained
        ["gunshot", "lost", 200.0, -1],
        ["rumble", "gained", -1, 200.0],
        ["rumble", "gained", -1, 300.0],
        ["rumble", "lost", 100.0, -1],
        ["rumble", "moved", 50.0, 51.0],
    ]
    counts = pd.read_csv(tmp_path / "two" / "comparison.recordings.csv").set_index("label")
    assert counts.loc["rumble", ["same", "moved", "gained", "lost"]].tolist() == [1, 1, 2, 1]
    rates = pd.read_csv(tmp_path / "two" / "comparison.rates.csv")
    assert rates.groupby("run")["events"].max().to_dict() == {"one": 4, "two": 5}
    assert "1 recording of one" in made.page.read_text()


def table(*spans):
    return events_frame([{"recording": "a", "start_s": s, "end_s": e, "label": "rumble"} for s, e in spans])


def test_pairs_are_one_to_one_and_the_longest_overlap_wins():
    assert pair_events(table((0, 10)), table((0, 2), (3, 9))).tolist() == [[0, 1]]
    assert sorted(pair_events(table((0, 4), (5, 9)), table((3, 6), (8, 12))).tolist()) == [[0, 0], [1, 1]]
    assert pair_events(table((0, 4)), table((4, 6))).tolist() == []  # touching is not overlapping
    assert pair_events(table(), table((1, 2))).shape == (0, 2) == pair_events(table((1, 2)), table()).shape


def test_equal_runs_have_no_changes_and_runs_of_other_recordings_are_refused(tmp_path):
    runs = [write_run(tmp_path / name, [recording(A)], [event(A, 1)]) for name in ("one", "two")]
    assert "Both runs contain the same events" in compare(*runs).page.read_text()
    strange = write_run(tmp_path / "three", [recording(B)], [event(B, 1)])
    with pytest.raises(LoxoError, match="no analysed recording in common"):
        compare(runs[0], strange)
