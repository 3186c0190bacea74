"""Truth and detections by hand and by chance, for the tests of the evaluation."""

import numpy as np

from loxo.evaluation.spans import Detections, Regions, Truth


def truth(*spans, marginal=(), clip=(), ignored=(), recording=None):
    """Events (start, end) in recording 0 (or as `recording` lists); indices of marginal and clip-level ones."""
    start, end = (np.array([span[k] for span in spans], float) for k in range(2))
    counted = np.array([k not in marginal for k in range(len(spans))], bool)
    whole = np.array([k in clip for k in range(len(spans))], bool)
    number = np.zeros(len(spans), np.int64) if recording is None else np.array(recording, np.int64)
    regions = Regions(np.zeros(len(ignored), np.int64), *(np.array([r[k] for r in ignored], float) for k in range(2)))
    return Truth(number, start, end, counted, whole, regions)


def found(*spans, recording=None):
    """Detections (start, end, score)."""
    start, end, score = (np.array([span[k] for span in spans], float) for k in range(3))
    number = np.zeros(len(spans), np.int64) if recording is None else np.array(recording, np.int64)
    return Detections(number, start, end, score)


def by_chance(seed, events=40, recordings=3, length=200.0, marginal=0.1, clips=0, regions=2, levels=20):
    """Crowded truth and detections on a grid of 0.25 s, with equal scores, marginal events and ignored regions."""
    rng = np.random.default_rng(seed)

    def spans(number):
        start = np.round(rng.uniform(0, length, number) * 4) / 4
        return rng.integers(0, recordings, number), start, start + np.round(rng.uniform(0.5, 12, number) * 4) / 4

    where, start, end = spans(events)
    near = rng.random(events) < 0.8
    shift = np.round(rng.normal(0, 1.5, (2, events)) * 4) / 4
    other = spans(events // 2)
    d_start = np.concatenate([np.maximum(start + shift[0], 0)[near], other[1]])
    d_end = np.concatenate([(end + shift[1])[near], other[2]])
    d_end = np.maximum(d_end, d_start + 0.25)
    score = rng.integers(1, levels, len(d_start)) / levels
    counted, clip = rng.random(events) >= marginal, np.zeros(events, bool)
    clip[:clips] = True
    given = Truth(where, start, end, counted, clip, Regions(*spans(regions)))
    return given, Detections(np.concatenate([where[near], other[0]]), d_start, d_end, score)
