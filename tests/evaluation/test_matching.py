"""Matching: examples calculated by hand, a brute-force implementation, and the scorer of the reference pack."""

import csv
import importlib.util

import numpy as np
import pytest
from cases import by_chance, found, truth
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from loxo.errors import LoxoError
from loxo.evaluation.matching import (
    FALSE_POSITIVE,
    HIT,
    HIT10,
    IGNORED,
    IOU30,
    IOU50,
    iou_criterion,
    match,
    match_tables,
    pairs,
)
from loxo.evaluation.metrics import average_precision, matching_curve
from loxo.evaluation.spans import Detections, Regions, Truth, merged, overlapping_pairs, seconds_inside
from loxo.events.table import events_frame

MISSED = -np.inf


def test_the_best_detection_changes_its_event_so_that_both_are_hits():
    # Events 10-20 and 18-28. Detection 13-26 (.9): IoU 7/16 = .44 with the first, 8/15 = .53 with the second, which is
    # preferred. Detection 17-27 (.8): 3/17 = .18 with the first, 9/11 = .82 with the second: only the second is
    # eligible.
    matching = match(truth((10, 20), (18, 28)), found((13, 26, 0.9), (17, 27, 0.8)))
    assert matching.verdict.tolist() == [HIT, HIT]
    assert matching.found_at.tolist() == [0.8, 0.9]  # the thresholds at which the first and the second event are found
    assert [part.tolist() for part in pairs(matching)] == [[0, 1], [0, 1]]


def test_an_event_has_one_hit_and_its_other_detections_are_fragments():
    # Event 0-10 has three detections: 0-4 (IoU .4), 4-8 (.4), 8-10 (.2, not eligible). The eligible one with the
    # highest score is the hit.
    matching = match(truth((0, 10)), found((0, 4, 0.5), (4, 8, 0.7), (8, 10, 0.9)))
    assert matching.verdict.tolist() == [FALSE_POSITIVE, HIT, FALSE_POSITIVE]
    assert matching.loose.tolist() == [True, False, True]
    assert matching.found_at.tolist() == [0.7]


@pytest.mark.parametrize(
    ("criterion", "span", "hit"),
    [
        (IOU30, (0, 3), True),  # 3/10
        (IOU30, (0, 2.9), False),
        (IOU30, (0, 33.3), True),  # 10/33.3 = .3003
        (IOU30, (0, 33.4), False),
        (IOU50, (5, 10), True),
        (IOU50, (5, 15), False),  # 5/15
        (HIT10, (9, 50), True),  # 1 of 10 s
        (HIT10, (9.1, 50), False),
        (HIT10, (10, 50), False),  # adjacent spans do not overlap
    ],
)
def test_the_limits_of_the_criteria(criterion, span, hit):
    assert (match(truth((0, 10)), found((*span, 0.5)), criterion).verdict[0] == HIT) == hit


def test_detections_of_marginal_events_are_ignored():
    # Event 0-10 is marginal. 0-6 meets the criterion with it (IoU .6). 8-30 does not (2/30), and only 2 of its 22 s lie
    # in it. 1 of the 1.5 s of 9-10.5 lies in it. Event 20-30 is counted. Its hit is 8-30 (IoU 10/22 = .45), which has a
    # higher score than 20-30.
    matching = match(
        truth((0, 10), (20, 30), marginal=[0]), found((0, 6, 0.9), (8, 30, 0.8), (9, 10.5, 0.7), (20, 30, 0.6))
    )
    assert matching.verdict.tolist() == [IGNORED, HIT, IGNORED, FALSE_POSITIVE]
    assert matching.events == 1 and matching.found_at.tolist() == [MISSED, 0.8]


def test_a_detection_with_half_of_its_duration_in_ignored_regions_is_ignored():
    # Regions 0-4 and 3-6 are 0-6 together. 4-8: 2 of 4 s (half); 4-8.1: 2 of 4.1 s.
    matching = match(truth(ignored=[(0, 4), (3, 6)]), found((4, 8, 0.5), (4, 8.1, 0.5)))
    assert matching.verdict.tolist() == [IGNORED, FALSE_POSITIVE]


def test_a_clip_level_label_has_one_hit_anywhere_and_other_detections_in_it_are_ignored():
    matching = match(truth((0, 60), clip=[0]), found((3, 4, 0.5), (40, 41, 0.7), (59, 80, 0.9)))
    # The last one overlaps by 1 s and has the highest score, so it is the hit. The others lie in the clip.
    assert matching.verdict.tolist() == [IGNORED, IGNORED, HIT]


def test_spans_of_different_recordings_do_not_match():
    matching = match(truth((0, 10), recording=[0]), found((0, 10, 0.9), recording=[1]))
    assert matching.verdict.tolist() == [FALSE_POSITIVE] and not matching.loose.any()


def test_tables_without_rows_or_without_scores():
    nothing = match(truth(), found())
    assert nothing.verdict.shape == (0,) and nothing.events == 0
    assert match(truth((0, 1)), found()).found_at.tolist() == [MISSED]
    assert match(truth(), found((0, 1, 0.5))).verdict.tolist() == [FALSE_POSITIVE]
    with pytest.raises(LoxoError, match="without a score"):
        match(truth((0, 1)), found((0, 1, np.nan)))
    for min_iou in (0.0, 1.2, np.nan):
        with pytest.raises(LoxoError, match="intersection over union"):
            iou_criterion(min_iou)


def test_pairs_have_the_largest_total_overlap():
    # Both detections are eligible for both events: 0-10 and 5-15, detected as 1-11 and 4-14. Overlaps: 9 and 6 s; 6 and
    # 9 s.
    matching = match(truth((0, 10), (5, 15)), found((4, 14, 0.9), (1, 11, 0.8)))
    assert dict(zip(*(part.tolist() for part in pairs(matching)), strict=True)) == {0: 1, 1: 0}


def test_events_tables_are_matched_by_recording_name_and_label():
    row = {"start_s": 0.0, "end_s": 5.0, "label": "rumble"}
    true = events_frame(
        [{**row, "recording": "a.wav", "marginal": False}, {**row, "recording": "b.wav", "marginal": True}]
    )
    called = events_frame([{**row, "recording": name} for name in ("a.wav", "b.wav", "c.wav")])
    matching, events, calls = match_tables(true, called, "rumble")
    assert matching.verdict.tolist() == [HIT, IGNORED, FALSE_POSITIVE]
    assert events.events == 1 and calls.score.tolist() == [1.0] * 3
    assert match_tables(true, called, "gunshot")[0].events == 0


# -- against another implementation


def max_matches(given_truth, given_found, criterion):
    """The size of the largest one-to-one matching, from the criterion for every pair and a solver of SciPy."""
    shared = np.minimum.outer(given_found.end, given_truth.end) - np.maximum.outer(given_found.start, given_truth.start)
    hull = np.maximum.outer(given_found.end, given_truth.end) - np.minimum.outer(given_found.start, given_truth.start)
    whole = hull if criterion is IOU30 else given_truth.end - given_truth.start
    ok = (shared > 0) & (shared >= criterion.min_value * whole - 1e-9) & given_truth.counted
    ok &= np.equal.outer(given_found.recording, given_truth.recording)
    return int((maximum_bipartite_matching(csr_array(ok.astype(int)), perm_type="column") >= 0).sum())


@pytest.mark.parametrize("seed", range(10))
def test_the_hits_are_a_largest_matching_at_every_threshold(seed):
    given_truth, given_found = by_chance(seed, events=60, recordings=2, length=100, regions=0, levels=12)
    for criterion in (IOU30, HIT10):
        matching = match(given_truth, given_found, criterion)
        for threshold in np.unique(given_found.score):
            hits = (matching.verdict == HIT) & (matching.score >= threshold)
            alone = match(given_truth, given_found.above(threshold), criterion)
            wanted = max_matches(given_truth, given_found.above(threshold), criterion)
            assert hits.sum() == (matching.found_at >= threshold).sum() == (alone.verdict == HIT).sum() == wanted
        detections, events = pairs(matching)
        assert len(set(events.tolist())) == len(events) == (matching.verdict == HIT).sum()
        assert detections.tolist() == np.flatnonzero(matching.verdict == HIT).tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_the_order_of_rows_and_the_numbers_of_recordings_have_no_effect(seed, recordings):
    given_truth, given_found = by_chance(seed, recordings=recordings, clips=1)
    rng = np.random.default_rng(seed)
    rows, others = rng.permutation(len(given_truth)), rng.permutation(len(given_found))
    number = rng.permutation(recordings) * 7
    permuted_truth = Truth(
        number[given_truth.recording[rows]],
        *(getattr(given_truth, name)[rows] for name in ("start", "end", "counted", "clip")),
        Regions(number[given_truth.ignored.recording], given_truth.ignored.start, given_truth.ignored.end),
    )
    permuted_found = Detections(
        number[given_found.recording[others]],
        *(getattr(given_found, name)[others] for name in ("start", "end", "score")),
    )
    for criterion in (IOU30, IOU50, HIT10):
        one, other = match(given_truth, given_found, criterion), match(permuted_truth, permuted_found, criterion)
        assert matching_curve(one).hits.tolist() == matching_curve(other).hits.tolist()
        assert average_precision(matching_curve(one)) == average_precision(matching_curve(other))
        assert (one.verdict == IGNORED).sum() == (other.verdict == IGNORED).sum()
        overlap = [
            np.sum(np.minimum(f.end[d], t.end[e]) - np.maximum(f.start[d], t.start[e]))
            for f, t, (d, e) in ((given_found, given_truth, pairs(one)), (permuted_found, permuted_truth, pairs(other)))
        ]
        assert overlap[0] == pytest.approx(overlap[1], abs=1e-9)
        assert sorted(one.found_at) == sorted(other.found_at)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_overlaps_and_unions_equal_those_of_a_loop_over_all_pairs(seed):
    given_truth, given_found = by_chance(seed, events=12, length=30)
    expected = {
        (d, e)
        for d in range(len(given_found))
        for e in range(len(given_truth))
        if given_found.recording[d] == given_truth.recording[e]
        and min(given_found.end[d], given_truth.end[e]) > max(given_found.start[d], given_truth.start[e])
    }
    got = [pair for block in overlapping_pairs(given_found, given_truth) for pair in zip(*block, strict=True)]
    assert set(got) == expected and len(got) == len(expected)
    regions = Regions(given_truth.recording, given_truth.start, given_truth.end)
    grid = np.zeros((3, 400), bool)  # of 0.25 s
    for r, a, b in zip(regions.recording, regions.start, regions.end, strict=True):
        grid[r, round(a * 4) : round(b * 4)] = True
    spans = zip(given_found.recording, given_found.start, given_found.end, strict=True)
    wanted = [grid[r, round(a * 4) : round(b * 4)].sum() / 4 for r, a, b in spans]
    np.testing.assert_allclose(seconds_inside(given_found, regions), wanted, atol=1e-9)
    joined = merged(regions)
    assert (joined.end - joined.start).sum() == pytest.approx(grid.sum() / 4)


def test_a_long_chain_of_overlaps_needs_no_recursion():
    # Event k lasts from 2k to 2k + 3. Each detection is eligible for its own event and the one before. The detection
    # with the lowest score is eligible only for the first event, and moves all others to their next event.
    n = 3000
    start = 2.0 * np.arange(n)
    events = Truth(np.zeros(n, int), start, start + 3, np.ones(n, bool), np.zeros(n, bool))
    between = Detections(np.zeros(n - 1, int), start[:-1] + 0.99, start[:-1] + 4, np.linspace(0.9, 0.8, n - 1))
    late = found((0.0, 1.5, 0.1))
    both = Detections(
        *(np.concatenate([getattr(between, k), getattr(late, k)]) for k in ("recording", "start", "end", "score"))
    )
    matching = match(events, both, IOU30)
    assert (matching.verdict == HIT).sum() == n
    assert len(pairs(matching)[0]) == n


def test_a_hundred_thousand_events_are_matched():
    given_truth, given_found = by_chance(0, events=100_000, recordings=60, length=86_400, regions=1000, levels=1000)
    matching = match(given_truth, given_found)
    assert 60_000 < (matching.verdict == HIT).sum() < 80_000
    assert len(pairs(matching)[0]) == (matching.verdict == HIT).sum()


# -- against the scorer of the reference pack


@pytest.fixture(scope="module")
def scorer(shared):
    path = shared / "tools" / "score_events.py"
    if not path.is_file():
        pytest.skip("the scorer of the reference pack is not beside the repository")
    spec = importlib.util.spec_from_file_location("score_events", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(6))
def test_the_curve_equals_that_of_the_reference_scorer(scorer, tmp_path, seed):
    given_truth, given_found = by_chance(seed, events=60, recordings=4, regions=3)
    # The reference scorer treats marginal events as ignored regions.
    marginal = ~given_truth.counted
    regions = Regions(
        *(
            np.concatenate([getattr(given_truth.ignored, k), getattr(given_truth, k)[marginal]])
            for k in ("recording", "start", "end")
        )
    )
    given = Truth(
        *(getattr(given_truth, k)[~marginal] for k in ("recording", "start", "end", "counted", "clip")), ignored=regions
    )
    columns = ["file", "part", "duration_s", "start_s", "end_s", "label", "confidence", "note"]
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for r, a, b in zip(given.recording, given.start, given.end, strict=True):
            writer.writerow([f"rumble/x{r}.flac", "measure", 300, a, b, "rumble", "clear", ""])
        for r, a, b in zip(regions.recording, regions.start, regions.end, strict=True):
            writer.writerow([f"rumble/x{r}.flac", "measure", 300, a, b, "roar", "clear", ""])
        writer.writerow(["background/y.flac", "measure", 3600, 0, 3600, "rain", "clip-level", ""])
    with (tmp_path / "found.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["recording", "start_s", "end_s", "label", "score"])
        for r, a, b, s in zip(
            given_found.recording, given_found.start, given_found.end, given_found.score, strict=True
        ):
            writer.writerow([f"rumble/x{r}.flac", a, b, "rumble", s])
    files = scorer.read_pack(tmp_path)
    report = scorer.score(files, scorer.read_detections(tmp_path / "found.csv", files)[0])["rumble"]["all"]
    for criterion in (IOU30, HIT10):
        expected = report[criterion.name]
        points = matching_curve(match(given, given_found, criterion))
        assert points.threshold.tolist() == [p["threshold"] for p in expected["curve"]]
        assert points.hits.tolist() == [p["found"] for p in expected["curve"]]
        assert points.false_positives.tolist() == [sum(p["fp"].values()) for p in expected["curve"]]
        assert average_precision(points) == pytest.approx(expected["ap"], abs=1e-12)
        matching = match(given, given_found, criterion)
        assert matching.loose.sum() <= (matching.verdict == FALSE_POSITIVE).sum()
