"""The model that ships, on real recordings: what a user relies on, with room for noise between versions."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from loxo import detect, load_engine
from loxo.detection.decode import decode
from loxo.detection.scores import frame_scores
from loxo.simulation.rumble import draw_rumble, synthesise_rumble


@pytest.fixture(scope="module")
def model():
    return load_engine("default", runtime="onnxruntime")


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


def matches(events: pd.DataFrame, calls: list[tuple[float, float]], least: float = 0.3) -> int:
    """Calls with an event of their own at an intersection over union of at least `least`, best pairs first."""
    pairs = []
    for k, (start, end) in enumerate(calls):
        for event in events[events["label"] == "rumble"].itertuples():
            shared = min(end, event.end_s) - max(start, event.start_s)
            union = max(end, event.end_s) - min(start, event.start_s)
            if shared >= least * union:
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


def test_calls_that_overlap_are_told_apart(model):
    """Two voices, the second 3 s after the first, which lasts 5 s: each is an event of its own, with its borders."""
    calls, rate = [(10.0, 15.0, 13.0), (13.0, 18.5, 19.0)], model.config.sample_rate
    never = {label: replace(decoding, overlap_threshold=0.0) for label, decoding in model.config.decoding.items()}
    both = {"told": 0, "not told": 0}
    for seed in range(2, 7):
        rng = np.random.default_rng(seed)
        samples = (0.003 * rng.standard_normal(40 * rate)).astype(np.float32)
        for start, end, f0 in calls:
            voice = replace(draw_rumble(rng), f0_hz=f0, duration_s=end - start, distance_m=80.0)
            sound = synthesise_rumble(replace(voice, levels_db=(0, -1, -4, -8, -14, -20)), rate, rng).samples
            samples[int(start * rate) :][: len(sound)] += 0.02 * sound / np.sqrt(np.mean(sound**2))
        scores = frame_scores(model, [samples])
        for name, config in (("told", model.config), ("not told", replace(model.config, decoding=never))):
            found = decode(scores, config, threshold=0.3)
            both[name] += matches(found, [call[:2] for call in calls], least=0.7) == 2
    assert both["told"] >= 4 and both["not told"] <= 1
