"""Simulated recordings on disk: reproducibility, calls across minute borders, constant memory, error messages."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from loxo.errors import LoxoError
from loxo.events.raven import read_raven
from loxo.simulation.mixing import Event
from loxo.simulation.negatives import NEGATIVES
from loxo.simulation.recorder import Recorder
from loxo.simulation.simulate import Negative, Scheduled, _minutes, _schedule, simulate
from surveys import has_survey

RATE = 1000


def run(out: Path, **changes: object) -> Path:
    options = {"sample_rate": RATE, "file_hours": 0.05, "rumbles_per_hour": 120, "gunshots_per_hour": 40, **changes}
    simulate(out, 0.1, 7, **options)  # type: ignore[arg-type]
    return out


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = run(tmp_path / "a"), run(tmp_path / "b")
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert names == [
        "negatives.jsonl",
        "sim01a_20180126_000000.flac",
        "sim01a_20180126_000000.selections.txt",
        "sim01a_20180126_000300.flac",
        "sim01a_20180126_000300.selections.txt",
        "simulation.json",
        "truth.txt",
    ]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_true_events_and_parameters_are_written(tmp_path: Path) -> None:
    progress: list[tuple[float, float]] = []
    out = run(
        tmp_path / "a", format="wav", site="forest2", on_progress=lambda done, total: progress.append((done, total))
    )
    truth = read_raven(out / "truth.txt")
    single = read_raven(out / "forest2_20180126_000000.selections.txt")
    assert len(single)
    assert len(truth) > len(single)
    assert "SNR (dB)" in (out / "truth.txt").read_text().splitlines()[0]
    parameters = json.loads((out / "simulation.json").read_text())
    assert parameters["seed"] == 7
    assert sum(file["events"] for file in parameters["files"]) == len(truth)
    info = soundfile.info(out / "forest2_20180126_000000.wav")
    assert (info.frames, info.samplerate, info.subtype) == (180 * RATE, RATE, "PCM_16")
    assert (truth["end_s"] <= 180).all()
    assert progress[-1] == (360.0, 360.0)
    assert len(progress) == 6


def test_negatives_are_listed_in_a_file(tmp_path: Path) -> None:
    out = run(tmp_path / "a", rumbles_per_hour=0, gunshots_per_hour=0, negatives_per_hour=60)
    listed = [json.loads(line) for line in (out / "negatives.jsonl").read_text().splitlines()]
    assert len(listed) > 2
    for negative in listed:
        assert 0 <= negative["start_s"] < negative["end_s"] <= 180
        assert negative["kind"] in NEGATIVES
        assert (out / negative["recording"]).exists()


def test_a_folder_of_real_backgrounds_is_used(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    noise = np.random.default_rng(0).standard_normal(3 * RATE) * 0.1
    soundfile.write(tmp_path / "real" / "n.wav", noise, RATE)
    out = run(tmp_path / "out", backgrounds=tmp_path / "real")
    samples, _ = soundfile.read(out / "sim01a_20180126_000000.flac")
    assert np.abs(samples).max() <= 1
    assert json.loads((out / "simulation.json").read_text())["background_recordings"] == 1


def test_a_simulation_without_calls_has_a_truth_table_without_rows(tmp_path: Path) -> None:
    out = run(tmp_path / "quiet", rumbles_per_hour=0, gunshots_per_hour=0)
    assert len((out / "truth.txt").read_text().splitlines()) == 1
    assert read_raven(out / "truth.txt").empty


def test_benchmarks_make_an_interrupted_survey_again(tmp_path: Path) -> None:
    assert not has_survey(tmp_path / "none")
    survey = run(tmp_path / "survey")
    assert has_survey(survey) and (survey / "truth.txt").exists()
    (survey / "simulation.json").unlink()
    assert not has_survey(survey) and not survey.exists()
    assert has_survey(run(survey))


def test_invalid_arguments_are_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(LoxoError, match="not empty"):
        run(tmp_path / "full")
    with pytest.raises(LoxoError, match="more than 0"):
        simulate(tmp_path / "n", 0)
    with pytest.raises(LoxoError, match="'mp3'"):
        run(tmp_path / "n", format="mp3")
    with pytest.raises(LoxoError, match="do not exist"):
        run(tmp_path / "n", backgrounds=tmp_path / "nowhere")
    with pytest.raises(LoxoError, match="letters and digits, such as sim01a"):
        run(tmp_path / "n", site="../up")
    with pytest.raises(LoxoError, match="1000 Hz"):
        run(tmp_path / "n", sample_rate=100)


def stream(schedule: list[Scheduled], seconds: int, level_db: float = -40) -> tuple[NDArray[np.float64], list[Event]]:
    events: list[Event] = []
    recorder = Recorder(level_db=level_db)
    minutes = list(_minutes(schedule, seconds * RATE, RATE, None, recorder, (1, 2), events, []))
    return np.concatenate(minutes).astype(np.float64), events


def test_the_samples_of_a_negative_are_within_its_listed_span() -> None:
    without, _ = stream([], 60)
    for k in range(5):
        negatives: list[Negative] = []
        schedule = [Scheduled(20 * RATE, "negative", (9, k))]
        blocks = _minutes(schedule, 60 * RATE, RATE, None, Recorder(level_db=-40), (1, 2), [], negatives)
        changed = np.flatnonzero(np.concatenate(list(blocks)) != without)
        (negative,) = negatives
        assert negative.start_s == 20
        assert changed[0] >= 20 * RATE
        assert changed[-1] < negative.end_s * RATE


def test_calls_continue_across_the_borders_of_minutes() -> None:
    schedule = [Scheduled(59 * RATE, "rumble", (9, k)) for k in range(4)]
    without, none = stream([], 150)
    assert none == []
    for item in schedule:
        mix, events = stream([item], 150)
        call = mix - without
        (event,) = events
        assert event.start < 60 * RATE < event.end
        inside = np.sum(call[event.start - RATE // 2 : event.end + RATE] ** 2)
        assert inside > 0.95 * np.sum(call**2)
        # There is no discontinuity at the border: its difference is not above the largest one inside the call.
        differences = np.abs(np.diff(call[event.start : event.end]))
        assert differences[60 * RATE - event.start - 1] <= differences.max()
        signal, noise = (np.mean(_band(x)[event.start : event.end] ** 2) for x in (call, without))
        assert 10 * np.log10(signal / noise) == pytest.approx(event.snr_db, abs=1.0)


def _band(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(samples)
    f = np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum[(f < 12) | (f > 120)] = 0
    return np.fft.irfft(spectrum, len(samples))


def test_calls_are_cut_at_the_end_of_a_file() -> None:
    mix, events = stream([Scheduled(97 * RATE, "rumble", (9, k)) for k in range(3)], 100)
    assert len(mix) == 100 * RATE
    assert events
    assert all(event.end <= 100 * RATE for event in events)


def test_memory_does_not_grow_with_the_duration() -> None:
    rates = {"rumble": 60.0, "gunshot": 20.0, "negative": 60.0}

    def peak(seconds: int) -> int:
        schedule = _schedule(np.random.default_rng(0), seconds * RATE, RATE, rates, (3, 4))
        tracemalloc.start()
        for _ in _minutes(schedule, seconds * RATE, RATE, None, Recorder(), (3, 4), [], []):
            pass
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(1800)  # once before: this imports what is imported when it is used first
    assert peak(1800) < 1.5 * peak(300)


def test_schedules_have_the_rates_and_gaps_of_a_forest_site() -> None:
    rates = {"rumble": 0.7, "gunshot": 0.04, "negative": 0.0}
    days = [_schedule(np.random.default_rng(k), 24 * 3600 * RATE, RATE, rates, (k,)) for k in range(200)]
    counts = np.array([sum(item.kind == "rumble" for item in day) for day in days])
    assert 12 < counts.mean() < 21
    gaps = np.concatenate([np.diff([item.at for item in day if item.kind == "rumble"]) / RATE for day in days])
    assert 15 < np.median(gaps) < 60
