"""A run folder as `loxo detect --keep-scores` leaves it, made by hand around two recordings with known calls."""

import json
from pathlib import Path

import numpy as np
import soundfile

from loxo.events.raven import write_raven
from loxo.events.table import events_frame
from loxo.events.writers import CsvWriter
from loxo.runs.scores import write_scores

RATE, SECONDS, HOP_S = 4000, 150.0, 0.32
NAMES = ("nn01a_20180126_030000", "nn02b_20180126_180000")
# label, start, end, score: of each recording
CALLS = (
    (
        ("rumble", 12.0, 17.0, 0.93),
        ("rumble", 50.0, 53.5, 0.71),
        ("gunshot", 80.0, 80.6, 0.88),
        ("rumble", 110.0, 113.0, 0.42),
    ),
    (
        ("rumble", 8.0, 12.5, 0.85),
        ("rumble", 30.0, 34.0, 0.55),
        ("gunshot", 66.0, 66.5, 0.35),
        ("rumble", 120.0, 124.0, 0.31),
    ),
)
MISSED = (95.0, 99.0)  # a rumble of the first recording that no event covers
BOUNDS = {"rumble": (10.0, 120.0), "gunshot": (80.0, 1500.0)}


def make_run(folder: Path) -> Path:
    """Writes recordings/ and run/ below `folder`, and returns the run."""
    recordings, run = folder / "recordings", folder / "run"
    recordings.mkdir(parents=True)
    rows, items = [], []
    for number, (name, calls) in enumerate(zip(NAMES, CALLS, strict=True)):
        path = recordings / f"{name}.wav"
        missed = [("rumble", *MISSED, 0.0)] if number == 0 else []
        soundfile.write(path, soundscape([*calls, *missed], number), RATE, subtype="PCM_16")
        events = events_frame(
            {"recording": str(path), "label": label, "start_s": start, "end_s": end, "score": score}
            | dict(zip(("low_hz", "high_hz"), BOUNDS[label], strict=True))
            for label, start, end, score in calls
        )
        rows += events.to_dict("records")
        write_raven(events, run / "tables" / f"{name}.selections.txt")
        write_scores(run / "scores" / f"{name}.npz", tuple(BOUNDS), frame_scores(calls), HOP_S)
        item = {"recording": str(path), "status": "done", "duration_s": SECONDS, "analysed_s": SECONDS}
        items.append(
            item | {"events": len(calls), "reason": None, "notes": [], "table": f"tables/{name}.selections.txt"}
        )
    CsvWriter().write(events_frame(rows), run / "events.csv")
    parameters = {"decoding": {label: {} for label in BOUNDS}}
    record = {"status": "finished", "parameters": parameters, "problems": [], "recordings": items}
    (run / "run.json").write_text(json.dumps(record))
    return run


def soundscape(calls, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(int(SECONDS * RATE)) / RATE
    noise = rng.standard_normal(len(t))
    samples = 0.004 * noise + 0.006 * np.convolve(noise, np.ones(40) / 40, "same")
    for label, start, end, _ in calls:
        inside = (t >= start) & (t < end)
        u = (t[inside] - start) / (end - start)
        if label == "gunshot":
            samples[inside] += 0.25 * np.exp(-9 * u) * rng.standard_normal(len(u))
        else:
            phase = 2 * np.pi * np.cumsum(17 + 5 * np.sin(np.pi * u)) / RATE
            call = sum(np.sin(k * phase) / k**0.7 for k in (1, 2, 3, 4, 5))
            samples[inside] += 0.008 * np.sin(np.pi * u) ** 0.5 * call
    return samples.astype(np.float32)


def frame_scores(calls) -> np.ndarray:
    """(labels, steps)"""
    steps = (np.arange(int(SECONDS / HOP_S)) + 0.5) * HOP_S
    rng = np.random.default_rng(1)
    scores = 0.06 * rng.random((len(BOUNDS), len(steps)))
    for label, start, end, score in calls:
        peak = score * np.exp(-((np.maximum(np.abs(steps - (start + end) / 2) - (end - start) / 2, 0) / 0.5) ** 2))
        row = list(BOUNDS).index(label)
        scores[row] = np.maximum(scores[row], peak)
    return scores.astype(np.float32)
