"""Peaks, onsets and offsets, event scores, thresholds."""

import time
from itertools import pairwise

import numpy as np
import pytest
from fakes import STEP, FakeConfig
from hypothesis import given, settings
from hypothesis import strategies as st

from loxo.detection.decode import (
    DENSITY_WINDOWS,
    MIN_PEAK,
    NEIGHBOUR_PENALTY,
    decode,
    find_events,
    score_within,
    smooth,
)
from loxo.engine.config import Calibration, Decoding
from loxo.errors import LoxoError

curve = st.lists(st.sampled_from([0, 1e-6, 0.01, 0.2, 0.3, 0.45, 0.5, 0.7, 0.9, 1.0]) | st.floats(0, 1), max_size=60)
decodings = st.builds(
    Decoding,
    smooth_s=st.sampled_from([0.0, 3.0, 5.0]),
    edge_ratio=st.sampled_from([0.3, 0.5, 0.9]),
    valley_ratio=st.sampled_from([0.0, 0.6, 0.95]),
    min_duration_s=st.sampled_from([0.0, 2.0]),
    merge_gap_s=st.sampled_from([0.0, 1.0, 4.0]),
)


def events_of(values, **options):
    return find_events(np.array(values), Decoding(**options), 1.0)


def test_an_event_extends_down_to_its_edge_ratio():
    assert events_of([0, 0.4, 0.5, 0.8, 0.8, 0.45, 0.4, 0.1]) == [(1 + 1, 6, 0.8)]
    assert events_of([0.9]) == [(0, 1, 0.9)]
    assert events_of([]) == []
    assert events_of([0.3] * 5) == [(0, 5, 0.3)]


def test_an_event_never_extends_into_a_higher_one():
    assert events_of([0.2, 0.6, 0.35, 0.9, 0.2]) == [(1, 3, pytest.approx(0.6 - NEIGHBOUR_PENALTY * 0.35)), (3, 4, 0.9)]


def test_the_penalty_beside_a_higher_event_grows_with_the_valley():
    assert events_of([0, 0.9, 0.5, 0.8, 0], valley_ratio=0.7) == [(1, 2, 0.9), (2, 4, 0.8 - NEIGHBOUR_PENALTY * 0.5)]
    assert events_of([0, 0.9, 0.5, 0.8, 0, 0.7], valley_ratio=0.7)[-1] == (5, 6, 0.7)  # a pause, no valley


def test_a_deep_valley_separates_two_events_and_a_shallow_one_does_not():
    two = [0, 0.8, 0.9, 0.6, 0.5, 0.7, 0.8, 0]
    assert events_of(two) == [(1, 8 - 1, 0.9)]
    lower = 0.8 - NEIGHBOUR_PENALTY * 0.5
    assert events_of(two, valley_ratio=0.7) == [(1, 4, 0.9), (4, 7, lower)]
    assert events_of(two[::-1], valley_ratio=0.7) == [(1, 4, lower), (4, 7, 0.9)]
    assert events_of(two, valley_ratio=0.6) == [(1, 7, 0.9)]  # the valley is 0.625 of the lower peak


def test_a_sustained_event_scores_higher_than_a_short_peak():
    lasts, peaks = [0.8, 0.9, 0.8, 0.8, 0.8, 0.8], [0.5, 0.9, 0.5, 0.5, 0.5, 0.5]
    one, other, neither = (events_of(values, sustain_weight=0.5)[0][2] for values in (lasts, peaks, [0.9] * 6))
    assert one == pytest.approx(6 / 7)  # odds of 9 and 4: their geometric mean is 6
    assert other == pytest.approx(3 / 4)  # of 9 and 1
    assert neither == pytest.approx(0.9)
    assert events_of(peaks)[0][2] == 0.9
    assert 0 < events_of([1, 0.5, 1], edge_ratio=0.4, sustain_weight=0.5)[0][2] < 1


def test_similar_events_within_a_minute_lower_each_other_s_scores():
    few = DENSITY_WINDOWS[0][1]
    assert {score for *_, score in events_of([0.8, 0] * (few + 1), density_penalty=1.0)} == {0.8}
    odds = 4 * (1 + few) / 8  # of eight similar events
    dense = events_of([0.8, 0] * 8, density_penalty=1.0)
    assert [score for *_, score in dense] == [pytest.approx(odds / (1 + odds))] * 8
    assert {score for *_, score in events_of([0.8, 0] * 8)} == {0.8}
    louder = events_of([0.8, 0, 0.1, 0, 0.1, 0, 0.1, 0, 0.1, 0, 0.1, 0], density_penalty=1.0)
    assert louder[0][2] == 0.8 and louder[1][2] < 0.1  # a much fainter event is not similar
    apart = events_of(([0.8] + [0] * 61) * 8, density_penalty=1.0)
    assert {score for *_, score in apart} == {0.8}


def test_a_sound_that_continues_for_minutes_lowers_its_own_scores():
    (_, few), (radius_s, many) = DENSITY_WINDOWS
    pace = 31  # two within a minute on either side
    events = events_of(([0.8] + [0] * (pace - 1)) * 40, density_penalty=0.5)
    others = 2 * int(radius_s // pace)
    assert few >= 2 and others > many
    odds = 4 * ((1 + many) / (1 + others)) ** 0.5
    assert events[20][2] == pytest.approx(odds / (1 + odds))
    assert events[0][2] == events[-1][2] == 0.8  # with half as many events around them
    assert {score for *_, score in events_of(([0.8] + [0] * 61) * 40, density_penalty=0.5)} == {0.8}


def test_the_score_of_a_given_event_equals_that_of_a_detected_one():
    values = np.array([0, 0.2, 0.6, 0.9, 0.7, 0.5, 0.3, 0, 0, 0])
    decoding = Decoding(smooth_s=3.0, sustain_weight=0.5)
    smoothed = smooth(values, 3)
    first, last, score = find_events(values, decoding, 1.0)[0]
    assert score_within(values[first:last], smoothed[first:last], decoding) == score
    assert score_within(values, smoothed, decoding) == score  # steps of a wide box outside the event do not count
    assert score_within(values[8:], smoothed[8:], decoding) == 0


def test_peaks_below_the_minimum_are_no_events():
    assert events_of([0, 1e-6, 0, MIN_PEAK / 2, 0, MIN_PEAK, 0]) == [(5, 6, MIN_PEAK)]


def test_short_events_are_dropped_and_close_events_merged():
    assert events_of([0, 1, 0, 1, 1, 0], min_duration_s=2) == [(3, 5, 1.0)]
    assert events_of([1, 0, 0, 0.6, 0, 0, 0, 1], merge_gap_s=3) == [(0, 4, 1.0), (7, 8, 1.0)]
    assert events_of([1, 0, 0, 0.3, 0], merge_gap_s=3) == [(0, 1, 1.0), (3, 4, 0.3)]  # a weak event beside a clear one
    assert events_of([1, 0, 0.1, 0, 0.6, 0], merge_gap_s=4) == [(0, 5, 1.0)]  # with the weak peak in the pause
    assert events_of([0.6, 0, 0.1, 0, 1, 0, 0.02, 0], merge_gap_s=4) == [(0, 5, 1.0), (6, 7, 0.02)]


def test_smoothing_is_a_running_mean_over_the_steps_that_exist():
    np.testing.assert_allclose(smooth(np.array([0, 0, 0.9, 0, 0.3]), 3), [0, 0.3, 0.3, 0.4, 0.15])
    np.testing.assert_array_equal(smooth(np.array([0.2, 0.4]), 0), [0.2, 0.4])
    np.testing.assert_allclose(smooth(np.array([0.2, 0.4]), 99), [0.3, 0.3])
    assert len(set(smooth(np.full(50, 0.1), 7))) == 1


@settings(max_examples=200, deadline=None)
@given(curve, decodings)
def test_events_do_not_overlap_and_contain_their_score(values, decoding):
    smoothed = smooth(np.array(values), decoding.smooth_s)
    events = find_events(np.array(values), decoding, 1.0)
    for before, after in pairwise(events):
        assert before[1] <= after[0]
    for first, last, score in events:
        steps = smoothed[first:last]
        assert (steps[(1 - NEIGHBOUR_PENALTY) * steps <= score + 1e-12] >= max(score, MIN_PEAK) - 1e-12).any()
        assert last - first >= decoding.min_duration_s


@settings(max_examples=200, deadline=None)
@given(curve, decodings, st.floats(0, 1), st.floats(0, 1))
def test_the_threshold_selects_events_and_never_changes_them(values, decoding, one, other):
    config = FakeConfig(classes=("rumble",), decoding={"rumble": decoding})
    scores = np.array([values]).reshape(1, -1)
    low, high = (decode(scores, config, threshold=threshold) for threshold in sorted((one, other)))
    kept = low[low["score"] >= max(one, other)].reset_index(drop=True)
    assert kept.to_dict("records") == high.to_dict("records")


@settings(max_examples=100, deadline=None)
@given(curve, decodings)
def test_mirrored_scores_give_mirrored_events(values, decoding):
    """Unless peaks of the same height compete for the same steps."""
    smoothed = smooth(np.array(values), decoding.smooth_s)
    if len(set(smoothed[smoothed >= MIN_PEAK])) < np.sum(smoothed >= MIN_PEAK):
        return
    there = find_events(np.array(values), decoding, 1.0)
    back = find_events(np.array(values[::-1]), decoding, 1.0)
    spans = [(len(values) - last, len(values) - first) for first, last, _ in reversed(back)]
    assert spans == [event[:2] for event in there]


def test_seconds_labels_frequencies_and_the_end_of_the_recording():
    config = FakeConfig()
    scores = np.zeros((2, 10))
    scores[0, 2:6] = 0.8
    scores[1, 9] = 0.6
    found = decode(scores, config, first_step=100, total_samples=109 * STEP + 30)
    assert found.to_dict("records") == [
        {"start_s": 10.2, "end_s": 10.6, "label": "rumble", "score": 0.8, "low_hz": 10, "high_hz": 150},
        {"start_s": 10.9, "end_s": 10.93, "label": "gunshot", "score": 0.6, "low_hz": 80, "high_hz": 500},
    ]
    assert decode(scores, config, threshold=0.9).empty
    assert list(decode(np.zeros((2, 0)), config).columns) == list(found.columns)


def test_a_calibration_changes_scores_but_no_onset_or_offset():
    raw, probability = (0.2, 0.6, 0.9), (0.1, 0.2, 0.8)
    plain = FakeConfig()
    config = FakeConfig(calibration={"rumble": Calibration(raw=raw, probability=probability)})
    scores = np.zeros((2, 60))
    for start, value in ((5, 0.1), (20, 0.6), (40, 0.75), (50, 1.0)):
        scores[:, start : start + 5] = value
    before, after = (decode(scores, c, threshold=0.0) for c in (plain, config))
    edges = ["start_s", "end_s", "label", "low_hz", "high_hz"]
    assert before[edges].to_dict("records") == after[edges].to_dict("records")
    rumbles = after[after["label"] == "rumble"]["score"]
    assert list(rumbles) == pytest.approx([0.1, 0.2, 0.5, 0.8])
    assert (after[after["label"] == "gunshot"]["score"] == before[before["label"] == "gunshot"]["score"]).all()
    listed = decode(scores, config, threshold={"rumble": 0.5})  # the other class keeps its own threshold
    assert [len(listed[listed["label"] == label]) for label in ("rumble", "gunshot")] == [2, 3]


def test_bad_input_is_refused():
    config = FakeConfig()
    for scores, threshold in [(np.zeros((3, 5)), None), (np.full((2, 5), np.nan), None), (np.zeros((2, 5)), 1.5)]:
        with pytest.raises(LoxoError):
            decode(scores, config, threshold=threshold)
    for threshold in ({"rumble": 1.5}, {"whistle": 0.5}):
        with pytest.raises(LoxoError):
            decode(np.zeros((2, 5)), config, threshold=threshold)


def test_a_day_of_noise_takes_no_time():
    scores = np.random.default_rng(0).random((1, 270_000)) ** 8
    start = time.process_time()
    found = decode(scores, FakeConfig(classes=("gunshot",)), threshold=0)
    assert len(found) > 10_000 and time.process_time() - start < 5
