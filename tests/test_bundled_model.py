"""The model that ships, on real recordings: what a user relies on, with room for noise between versions."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from loxo import detect, load_model


@pytest.fixture(scope="module")
def model():
    return load_model("default")


@pytest.fixture(scope="module")
def pack(shared: Path) -> Path:
    return shared / "data" / "recordings"


def rainforest_calls(pack: Path) -> dict[str, list[tuple[float, float]]]:
    """The official boxes of the recordings from rainforest recorders, by file."""
    with (pack / "manifest.csv").open(encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["file"].startswith("rumble/elp_pnnn")]
    calls: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        calls.setdefault(row["file"], []).append((float(row["start_s"]), float(row["end_s"])))
    return calls


def matches(events: pd.DataFrame, calls: list[tuple[float, float]]) -> int:
    """Calls with an event of their own at an intersection over union of at least 0.3, best pairs first."""
    pairs = []
    for k, (start, end) in enumerate(calls):
        for event in events[events["label"] == "rumble"].itertuples():
            shared = min(end, event.end_s) - max(start, event.start_s)
            union = max(end, event.end_s) - min(start, event.start_s)
            if shared >= 0.3 * union:
                pairs.append((shared / union, k, event.Index))
    used: set[tuple[str, int]] = set()
    found = 0
    for _, k, index in sorted(pairs, reverse=True):
        if ("call", k) not in used and ("event", index) not in used:
            used |= {("call", k), ("event", index)}
            found += 1
    return found


def test_rainforest_rumbles_are_found(pack, model):
    calls = rainforest_calls(pack)
    found = sum(matches(detect(pack / name, model), boxes) for name, boxes in calls.items())
    assert sum(map(len, calls.values())) == 8 and found >= 6


def test_the_gain_of_a_recording_hardly_matters(pack, model, tmp_path):
    name, calls = next(iter(rainforest_calls(pack).items()))
    samples, rate = soundfile.read(pack / name, dtype="float32")
    counts = []
    for gain_db in (-30, 0, 20):
        soundfile.write(tmp_path / "moved.wav", samples * 10 ** (gain_db / 20), rate, subtype="FLOAT")
        counts.append(matches(detect(tmp_path / "moved.wav", model), calls))
    assert max(counts) - min(counts) <= 1 and min(counts) >= len(calls) - 2


def test_silence_and_a_steady_hum_are_quiet(model, tmp_path):
    rate = 4000
    seconds = np.arange(60 * rate) / rate
    hum = 0.1 * np.sin(2 * np.pi * 50 * seconds) + 0.001 * np.random.default_rng(0).standard_normal(len(seconds))
    for name, samples in (("silence", np.zeros(60 * rate)), ("hum", hum)):
        soundfile.write(tmp_path / f"{name}.wav", samples, rate)
        assert detect(tmp_path / f"{name}.wav", model).empty, name
