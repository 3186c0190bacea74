"""Metrics: examples calculated by hand, and comparisons with other implementations."""

import numpy as np
import pandas as pd
import pytest
from cases import by_chance, found, truth
from hypothesis import given, settings
from hypothesis import strategies as st

from loxo.evaluation.intervals import bootstrap
from loxo.evaluation.matching import HIT, match
from loxo.evaluation.metrics import (
    at_rate,
    average_precision,
    average_precision_by,
    best_f1,
    border_errors,
    curve,
    events_ap,
    matching_curve,
    ratios,
    recall_by_snr,
)
from loxo.evaluation.psds import psds
from loxo.evaluation.segments import Frames, frame_truth, presence, segment_scores
from loxo.events.table import events_frame


def points(*score_and_correct, events):
    score, correct = (np.array([row[k] for row in score_and_correct]) for k in range(2))
    return curve(score.astype(float), correct.astype(bool), events)


FIVE = [(0.9, 1), (0.8, 0), (0.8, 1), (0.6, 0), (0.5, 1)]


def test_equal_scores_are_one_point_of_a_curve():
    whole = points(*FIVE, events=4)
    assert whole.threshold.tolist() == [0.9, 0.8, 0.6, 0.5]
    assert whole.hits.tolist() == [1, 2, 2, 3] and whole.false_positives.tolist() == [0, 1, 2, 2]
    assert whole.recall.tolist() == [0.25, 0.5, 0.5, 0.75]
    assert whole.precision.tolist() == [1.0, 2 / 3, 0.5, 0.6]
    # AP: 1/4 x 1 at .9, 1/4 x 2/3 at .8, nothing at .6, 1/4 x 3/5 at .5; the fourth event is not found
    assert average_precision(whole) == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    # F1: 2 x hits / (events + hits + false): 2/5, 4/7, 4/8, 6/9
    assert best_f1(whole) == {"threshold": 0.5, **ratios(3, 2, 4)}
    assert ratios(3, 2, 4)["f1"] == pytest.approx(2 * 0.6 * 0.75 / (0.6 + 0.75))


def test_recall_at_rates_of_false_positives():
    whole = points(*FIVE, events=4)
    # Two hours: 0.1/h allows none (threshold .9); 0.5/h one (.8); 1/h two (.5, the whole list); 5.7/h eleven, but the
    # list has only two.
    got = [at_rate(whole, rate, 2.0) for rate in (0.1, 0.5, 1.0, 5.7)]
    assert [row["allowed"] for row in got] == [0, 1, 2, 11]
    assert [row["threshold"] for row in got] == [0.9, 0.8, 0.5, 0.5]
    assert [row["recall"] for row in got] == [0.25, 0.5, 0.75, 0.75]
    assert [row["list_ends_before"] for row in got] == [False, False, False, True]
    wrong_first = at_rate(points((0.9, 0), (0.8, 1), events=1), 0.1, 2.0)
    assert wrong_first["threshold"] is None and wrong_first["recall"] == 0.0


def test_metrics_without_events_or_without_detections():
    assert average_precision(points((0.5, 0), events=0)) is None
    empty = curve(np.zeros(0), np.zeros(0, bool), 3)
    assert average_precision(empty) == 0.0 and len(empty) == 0 and best_f1(empty) is None
    assert at_rate(empty, 1.0, 5.0)["recall"] == 0.0 and at_rate(empty, 1.0, 5.0)["list_ends_before"]
    assert ratios(0, 0, 0) == {"hits": 0, "false": 0, "events": 0, "precision": None, "recall": None, "f1": None}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_the_ap_of_groups_equals_the_ap_of_each_group(seed):
    rng = np.random.default_rng(seed)
    n, groups = int(rng.integers(0, 60)), 5
    group, score, right = rng.integers(0, groups, n), rng.integers(0, 8, n) / 8, rng.random(n) < 0.5
    events = np.bincount(group[right], minlength=groups) + rng.integers(0, 3, groups)
    got = average_precision_by(group, score, right, events)
    for k in range(groups):
        alone = average_precision(curve(score[group == k], right[group == k], int(events[k])))
        assert (alone is None and np.isnan(got[k])) or got[k] == pytest.approx(alone)


def test_errors_of_onset_and_offset():
    # Onsets: .5 late, 1 early, 1 late; offsets: .5 early, 1 late, 3 late. The clip-level label is left out.
    given_truth = truth((10, 20), (30, 40), (50, 60), (90, 100), clip=[3])
    matching = match(given_truth, calls := found((10.5, 19.5, 0.9), (29, 41, 0.9), (51, 63, 0.9), (95, 97, 0.9)))
    errors = border_errors(matching, given_truth, calls)
    assert errors["onset_s"] == {"n": 3, "median": 0.5, "quartiles": [-0.25, 0.75], "median_absolute": 1.0}
    assert errors["offset_s"] == {"n": 3, "median": 1.0, "quartiles": [0.25, 2.0], "median_absolute": 1.0}
    assert border_errors(match(given_truth, found()), given_truth, found())["onset_s"]["median"] is None


def test_recall_by_signal_to_noise_ratio():
    given_truth = truth((0, 1), (10, 11), (20, 21), (30, 31), (40, 41))
    matching = match(given_truth, found((0, 1, 0.9), (20, 21, 0.3)))
    rows = recall_by_snr(matching, np.array([-1.0, 0.0, 4.9, 5.0, np.nan]))
    assert [(row["from_db"], row["found"], row["events"]) for row in rows] == [(-5.0, 1, 1), (0.0, 1, 2), (5.0, 0, 1)]
    assert [row["found"] for row in recall_by_snr(matching, np.zeros(5), threshold=0.5)] == [1]


def test_event_ap_of_events_tables():
    row = {"recording": "w0", "end_s": 5.0, "start_s": 0.0}
    true = events_frame([{**row, "label": "rumble"}, {**row, "label": "rumble", "start_s": 20.0, "end_s": 24.0}])
    called = events_frame([{**row, "label": "rumble", "score": 0.9}, {**row, "label": "gunshot", "score": 0.9}])
    assert events_ap(true, called, ("rumble", "gunshot")) == {"rumble": 0.5, "gunshot": None}


# -- segments and frames


def test_metrics_of_segments():
    # Segments of 10 s. Event 5-21: segments 0, 1, 2. Marginal event 40-45: segment 4 is left out. Detections: 18-22
    # (.8) overlaps segments 1 and 2; 42-52 (.9) overlaps 4 (left out) and 5 (false); 60-70 (.5) overlaps only 6.
    given_truth = truth((5, 21), (40, 45), marginal=[1])
    got = segment_scores(given_truth, found((18, 22, 0.8), (42, 52, 0.9), (60, 70, 0.5)), 10.0)
    assert {key: got[key] for key in ("hits", "false", "events")} == {"hits": 2, "false": 2, "events": 3}
    assert got["precision"] == 0.5 and got["recall"] == pytest.approx(2 / 3)
    # AP: one false segment at .9; two of three positive segments are found at .8, with precision 2/3
    assert got["ap"] == pytest.approx(2 / 3 * 2 / 3)


def test_clock_hours_combine_the_recordings_of_a_site():
    # Site 0: recordings of 30 min at 0:50 and 1:10. The event is at 15 min of the first (1:05), the detection at 10 min
    # of the second (1:20): the same hour. Site 1 has a detection at 0:00, which is a false positive.
    given_truth = truth((900, 905), recording=[0])
    calls = found((600, 605, 0.9), (0, 5, 0.8), recording=[1, 2])
    got = presence(given_truth, calls, np.array([0, 0, 1]), np.array([3000.0, 4200.0, 0.0]))
    assert (got["hits"], got["false"], got["events"]) == (1, 1, 1)


def test_frame_truth_is_the_covered_fraction_of_each_frame():
    assert frame_truth([(0.5, 1.5), (1.2, 2.25)], 4, 1.0).tolist() == [0.5, 1.0, 0.25, 0.0]
    assert frame_truth([(0.25, 0.75), (3.5, 9.0)], 4, 0.5).tolist() == [0.5, 0.5, 0.0, 0.0]
    assert frame_truth([], 3, 1.0).tolist() == [0.0] * 3


def test_ap_equals_that_of_torchmetrics():
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("torchmetrics.functional.classification").binary_average_precision
    rng = np.random.default_rng(0)
    for n, levels in ((500, 50), (2000, 5000)):
        score = rng.integers(1, levels, n) / levels
        positive = rng.random(n) < score**2
        wanted = float(reference(torch.tensor(score), torch.tensor(positive.astype(int))))
        assert average_precision(curve(score, positive, int(positive.sum()))) == pytest.approx(wanted, abs=1e-6)
        frames = Frames()
        for part in np.array_split(np.arange(n), 3):
            frames.add(score[part], positive[part])
        frames.add(np.full(9, 0.5), np.zeros(9, bool), keep=np.zeros(9, bool))
        assert frames.result() == {"ap": pytest.approx(wanted, abs=1e-4), "frames": n, "positive": positive.sum()}
    assert Frames().result() == {"ap": None, "frames": 0, "positive": 0}


def test_segment_ap_equals_that_of_torchmetrics():
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("torchmetrics.functional.classification").binary_average_precision
    given_truth, calls = by_chance(3, events=60, recordings=1, length=3000, marginal=0, regions=0, levels=500)
    dense = np.zeros((2, 4000))
    for start, end in zip(given_truth.start, given_truth.end, strict=True):
        dense[0, int(start) : int(np.ceil(end))] = 1
    for start, end, score in zip(calls.start, calls.end, calls.score, strict=True):
        part = dense[1, int(start) : int(np.ceil(end))]
        np.maximum(part, score, out=part)
    detected = dense[1] > 0
    wanted = float(reference(torch.tensor(dense[1][detected]), torch.tensor(dense[0][detected].astype(int))))
    found_fraction = dense[0][detected].sum() / dense[0].sum()  # the reference receives only the detected segments
    assert segment_scores(given_truth, calls, 1.0)["ap"] == pytest.approx(wanted * found_fraction, abs=1e-6)


# -- polyphonic sound detection score


def test_psds_of_an_example():
    # One hour. Events 0-10 and 20-30. Detections: 1-10 (.9) lies completely in the first event and covers 9/10 of it;
    # 40-45 (.8) is false; 20-24 (.7) is correct and covers 4/10; 24-29 (.6) is correct. The last two together cover
    # 9/10 >= .7, so the second event is found at .6.
    given_truth = truth((0, 10), (20, 30))
    calls = found((1, 10, 0.9), (40, 45, 0.8), (20, 24, 0.7), (24, 29, 0.6))
    # Recall is 1/2 below 1 false positive per hour, and 1 from there on: (1/2 x 1 + 1 x 9) / 10
    assert psds({"rumble": (given_truth, calls)}, 1.0) == pytest.approx(0.95)
    # Two classes, one with recall 0: the mean is half of that. Minus the standard deviation (the same value) it is 0.
    nothing = (truth((0, 1)), found())
    both = {"rumble": (given_truth, calls), "gunshot": nothing}
    assert psds(both, 1.0) == pytest.approx(0.475)
    assert psds(both, 1.0, spread_weight=1.0) == pytest.approx(0.0)
    # A detection with less than 70 % in events is false: 5-20 has 5/15
    assert psds({"rumble": (truth((0, 10)), found((5, 20, 0.9)))}, 1.0) == 0.0
    assert psds({"rumble": (truth(), found((5, 20, 0.9)))}, 1.0) is None


def apart(seed, recordings=4, slots=25):
    """Events and detections, each at most one in 12 s, because the reference joins overlapping spans.

    Some detections are correct, some cover too little of an event, some have no event.
    """
    rng = np.random.default_rng(seed)
    events, calls = [], []
    for recording in range(recordings):
        for slot in range(slots):
            start = 12 * slot + rng.uniform(1, 3)
            end = start + rng.uniform(2, 7)
            if rng.random() < 0.6:
                events.append((recording, start, end))
            shift = rng.normal(0, 0.7, 2)
            if rng.random() < 0.7 and start + shift[0] + 0.3 < end + shift[1]:
                calls.append((recording, start + shift[0], end + shift[1], rng.uniform(0.01, 1)))
    spans = [[row[1:] for row in rows] for rows in (events, calls)]
    numbers = [[row[0] for row in rows] for rows in (events, calls)]
    return truth(*spans[0], recording=numbers[0]), found(*spans[1], recording=numbers[1])


@pytest.mark.filterwarnings("ignore:.*inplace:DeprecationWarning", "ignore:.*true positives:UserWarning")
@pytest.mark.parametrize("seed", range(3))
def test_psds_equals_that_of_psds_eval(seed):
    """Compares with the area under its operating points. The area function of psds_eval does not run with pandas 3."""
    given_truth, calls = apart(seed)

    def listed(spans, keep):
        names = [f"r{number}" for number in spans.recording[keep]]
        columns = {"filename": names, "onset": spans.start[keep], "offset": spans.end[keep]}
        return pd.DataFrame({**columns, "event_label": "rumble"})

    recordings = pd.DataFrame({"filename": [f"r{r}" for r in range(4)], "duration": 400.0})
    events = listed(given_truth, slice(None))
    reference = pytest.importorskip("psds_eval").PSDSEval(
        ground_truth=events, metadata=recordings, dtc_threshold=0.7, gtc_threshold=0.7
    )
    for threshold in np.unique(calls.score):
        reference.add_operating_point(listed(calls, calls.score >= threshold))
    false_per_hour, recall = (np.concatenate(reference.operating_points[name].to_list()) for name in ("fpr", "tpr"))
    for limit in (10.0, 50.0):
        rates = np.unique([0.0, *false_per_hour[false_per_hour < limit], limit])
        best = [recall[false_per_hour <= rate].max(initial=0.0) for rate in rates[:-1]]
        wanted = float(np.sum(best * np.diff(rates))) / limit
        got = psds({"rumble": (given_truth, calls)}, 4 * 400 / 3600, max_fp_per_hour=limit)
        assert 0 < wanted < 1 and got == pytest.approx(wanted, abs=1e-9)


# -- intervals


def test_intervals_contain_the_metric_and_are_reproducible():
    given_truth, calls = by_chance(1, events=400, recordings=40, length=1500)
    matching = match(given_truth, calls)
    hours = np.full(40, 1500 / 3600)
    one, again = (bootstrap(matching, 40, hours, (1.0, 20.0)) for _ in range(2))
    assert one == again and one["draws"] == 1000
    whole = matching_curve(matching)
    for name, value in (
        ("ap", average_precision(whole)),
        ("recall", whole.recall[-1]),
        ("precision", whole.precision[-1]),
    ):
        low, high = one[name]
        assert low < value < high and high - low < 0.25
    low, high = one["recall_at"][1]
    assert low <= at_rate(whole, 20.0, hours.sum())["recall"] <= high


def test_intervals_by_recording_reflect_differences_between_recordings():
    # In one recording all events are found, in the other none. A quarter of the draws contain only the first recording.
    # Another quarter contain only the second. So the 2.5 and 97.5 percentiles are 0 and 1.
    spans = [(10 * k, 10 * k + 5) for k in range(10)]
    given_truth = truth(*spans, *spans, recording=[0] * 10 + [1] * 10)
    matching = match(given_truth, found(*((a, b, 0.5) for a, b in spans)))
    assert bootstrap(matching, 2, None, (1.0,))["recall"] == [0.0, 1.0]
    assert bootstrap(matching, 2, None, (1.0,))["recall_at"] == [None]
    assert bootstrap(match(given_truth, found()), 1, None, ())["recall"] is None
    assert (matching.verdict == HIT).all()
