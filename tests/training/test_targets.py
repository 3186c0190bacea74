"""Frame targets from events."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loxo.engine.architectures import HTSATConfig
from loxo.errors import LoxoError
from loxo.evaluation.segments import positive_frames
from loxo.training.targets import (
    IGNORED,
    PAUSE,
    bin_targets,
    call_overlaps,
    default_edges,
    frame_targets,
    merge_spans,
    training_targets,
    with_overlap_rows,
    with_pauses,
)

CLASSES = ("rumble", "gunshot")


def test_doubled_targets_are_twice_the_covered_fraction_and_at_most_one():
    # Steps of 100 samples. 130-345 covers 0, 70, 100 and 45 samples of the first four steps: doubled, 0, 1, 1, 0.9.
    targets = frame_targets([("rumble", 130, 345)], CLASSES, 5, 100, "doubled")
    np.testing.assert_allclose(targets, [[0, 1, 1, 0.9, 0], [0, 0, 0, 0, 0]], atol=1e-6)


def test_a_shot_on_a_border_between_steps_counts_in_both():
    targets = frame_targets([("gunshot", 160, 240)], CLASSES, 4, 100, "doubled")
    np.testing.assert_allclose(targets[1], [0, 0.8, 0.8, 0], atol=1e-6)


def test_overlapping_events_count_once_and_other_labels_or_samples_outside_do_not_count():
    events = [("rumble", -50, 30), ("rumble", 20, 40), ("trumpet", 0, 400), ("rumble", 395, 900), ("rumble", 500, 600)]
    np.testing.assert_allclose(frame_targets(events, CLASSES, 4, 100, "soft")[0], [0.4, 0, 0, 0.05], atol=1e-6)


@given(st.lists(st.tuples(st.sampled_from(CLASSES), st.integers(-50, 450), st.integers(-50, 450)), max_size=6))
def test_targets_are_between_zero_and_one_and_do_not_depend_on_the_order_of_events(events):
    targets = frame_targets(events, CLASSES, 4, 100, "soft")
    assert targets.dtype == np.float32 and targets.min() >= 0 and targets.max() <= 1
    assert np.array_equal(targets, frame_targets(events[::-1], CLASSES, 4, 100, "soft"))


@pytest.mark.parametrize("steps", [10, 64, 1024])
def test_an_event_as_long_as_the_window_is_positive_in_every_step(steps):
    targets = frame_targets([("rumble", 0, steps * 40)], CLASSES, steps, 40)
    assert targets.shape == (2, steps) and (targets[0] == 1).all()


@given(
    st.lists(st.tuples(st.sampled_from(CLASSES), st.integers(-50, 450), st.integers(-50, 450)), max_size=6),
    st.integers(1, 1100),
    st.integers(1, 500),
)
def test_targets_are_exact_if_bins_are_not_whole_samples(events, bins, window):
    """Compared with a count in which every sample is divided into `bins` equal parts."""
    covered = np.zeros((2, window), bool)
    for label, start, stop in events:
        covered[CLASSES.index(label), max(0, start) : max(0, stop)] = True
    shares = covered.repeat(bins, axis=1).reshape(2, bins, window).mean(2)
    np.testing.assert_array_equal(bin_targets(events, CLASSES, bins, window, "soft"), shares.astype(np.float32))
    np.testing.assert_array_equal(bin_targets(events, CLASSES, bins, window, "hard"), shares >= 0.5)
    doubled = np.minimum(1, 2 * shares).astype(np.float32)
    np.testing.assert_array_equal(bin_targets(events, CLASSES, bins, window, "doubled"), doubled)


def test_a_hard_target_is_positive_from_half_a_bin_on():
    for stop, expected in ((50, 1), (49, 0)):
        assert bin_targets([("rumble", 0, stop)], CLASSES, 1, 100, "hard")[0, 0] == expected
    with pytest.raises(LoxoError, match="hard, soft, doubled"):
        bin_targets([], CLASSES, 1, 100, "sharp")


@given(st.integers(0, 1300), st.integers(1, 2000))
def test_hard_targets_equal_the_positive_frames_of_evaluation(first, length):
    config = HTSATConfig.preset("default")
    step = config.step_samples
    targets = frame_targets([("gunshot", first, first + length)], config.classes, 16, step, default_edges(config))
    spans = [(first / config.sample_rate, (first + length) / config.sample_rate)]
    assert np.array_equal(targets[1] == 1, positive_frames(spans, 16, step / config.sample_rate))
    assert targets[1].any() or length < step  # a shot as long as a step has a positive target at any position


def test_a_shot_shorter_than_a_step_has_a_target_with_the_default_edges():
    coarse = HTSATConfig.preset("default", substeps=1, fine=0, call_overlap=False)
    step = coarse.step_samples
    shot = [("gunshot", int(0.7 * step), int(1.3 * step))]
    assert frame_targets(shot, coarse.classes, 2, step, default_edges(coarse))[1].min() > 0.5
    assert not frame_targets(shot, coarse.classes, 2, step, "hard").any()


def test_an_onset_within_a_call_has_a_pause_before_it():
    events = [("rumble", 0, 500), ("rumble", 300, 800), ("gunshot", 200, 400)]
    assert sorted(with_pauses(events, 0.1, 100)) == [
        *[("gunshot", 200, 400), ("rumble", 0, 270), ("rumble", 300, 500), ("rumble", 300, 800)],
    ]
    targets = frame_targets(with_pauses(events, 0.1, 100), CLASSES, 80, 10)
    assert targets[0].tolist() == [1.0] * 27 + [0.0] * 3 + [1.0] * 50
    assert np.array_equal(targets[1], frame_targets(events, CLASSES, 80, 10)[1])
    shorter = with_pauses(events, 0.1, 20)  # the maximum length of a pause
    assert ("rumble", 0, 280) in shorter


def test_training_targets_mark_the_pauses_within_calls():
    events = [("rumble", 0, 500), ("rumble", 300, 800), ("gunshot", 200, 400)]
    targets = training_targets(events, CLASSES, 80, 800, pause=0.1, sample_rate=400)
    plain = frame_targets(events, CLASSES, 80, 10)
    assert np.flatnonzero(targets[0] == PAUSE).tolist() == [27, 28, 29]
    assert np.array_equal(np.where(targets == PAUSE, 1, targets), plain)
    assert np.array_equal(training_targets(events, CLASSES, 80, 800, pause=0.0, sample_rate=400), plain)


def test_pauses_do_not_change_calls_that_do_not_overlap():
    apart = [("rumble", 0, 100), ("rumble", 130, 200), ("rumble", 200, 260), ("rumble", -900, -500)]
    together = [("rumble", 0, 400), ("rumble", 0, 200), ("rumble", 4, 300)]
    assert with_pauses([], 0.1, 30) == []
    cut = with_pauses(apart, 0.1, 30)
    assert sorted(cut) == [("rumble", -900, -500), ("rumble", 0, 100), ("rumble", 130, 193), ("rumble", 200, 260)]
    whole = merge_spans((start, stop) for _, start, stop in with_pauses(together, 0.1, 30))
    assert whole == [(0, 400)]  # calls with the same onset
    assert sorted(with_pauses(together, 0.0, 30)) == sorted(together)


def test_spans_that_touch_are_merged():
    assert merge_spans([(5, 9), (0, 2), (2, 3), (8, 10), (7, 7)]) == [(0, 3), (5, 10)]


@given(st.lists(st.tuples(st.sampled_from(CLASSES), st.integers(0, 60), st.integers(0, 60)), max_size=6))
def test_call_overlaps_are_the_samples_of_two_or_more_events_of_a_class(events):
    events = [event for event in events if event[1] < event[2]]
    counts, found = np.zeros((2, 60), int), np.zeros((2, 60), bool)
    for label, start, stop in events:
        counts[CLASSES.index(label), start:stop] += 1
    for label, start, stop in call_overlaps(events):
        assert start < stop
        found[CLASSES.index(label), start:stop] = True
    np.testing.assert_array_equal(found, counts >= 2)


def test_targets_have_a_call_overlap_row_per_class_if_the_model_has():
    config = HTSATConfig.preset("default")
    step = config.step_samples
    events = [("rumble", 0, 10 * step), ("rumble", 6 * step, 20 * step), ("gunshot", 3 * step, 4 * step)]
    targets = frame_targets(events, config.classes, config.steps, step)
    targets[0, 7] = IGNORED
    rows = with_overlap_rows(targets, events, config)
    assert rows.shape == (4, config.steps) and rows.dtype == np.float32
    np.testing.assert_array_equal(rows[:2], targets)
    assert rows[2, 6:10].tolist() == [1, IGNORED, 1, 1] and rows[2].sum() == 2 and not rows[3].any()
    without = HTSATConfig.preset("default", call_overlap=False)
    assert with_overlap_rows(targets, events, without) is targets
