"""`loxo report --clips`: a WAV, a faster WAV and a spectrogram for each listed event."""

import hashlib
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
from report_runs import event, recording, write_run

from loxo import cli


def run_report(monkeypatch, arguments):
    """The exit code of the command."""
    monkeypatch.setattr(sys, "argv", ["loxo", "report", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
        raise SystemExit(0)
    return stopped.value.code or 0


def test_each_event_has_a_clip_with_the_samples_of_the_recording(tmp_path, capsys, monkeypatch):
    path, lost = tmp_path / "a_20200101_000000.wav", tmp_path / "a_20200102_000000.wav"
    samples = np.random.default_rng(0).integers(-3000, 3000, (40 * 4000, 2)).astype(np.int16)
    soundfile.write(path, samples, 4000, subtype="PCM_16")
    rows = [event(str(path), 2.0, score=0.91), event(str(path), 20.0, "gunshot", 0.8, 0.6), event(str(lost), 5.0)]
    run = write_run(tmp_path / "run", [recording(str(path), 40 / 3600), recording(str(lost), 40 / 3600)], rows)
    assert run_report(monkeypatch, [str(run), "--clips"]) == 0
    shown = capsys.readouterr()
    assert "the clips were written to" in shown.out
    assert shown.err.count("a_20200102_000000.wav") >= 1 and "Its events have no clips." in shown.err
    folder = run / "report.clips"
    listed = pd.read_csv(folder / "clips.csv")
    assert listed["label"].tolist() == ["rumble", "gunshot"]
    for row in listed.to_dict("records"):
        wav = folder / row["clip"]
        clip, rate = soundfile.read(wav, dtype="int16")
        first = round(row["clip_start_s"] * 4000)
        assert rate == 4000 and row["clip_start_s"] == max(row["start_s"] - 5, 0)
        assert len(clip) == round((row["end_s"] + 5 - row["clip_start_s"]) * 4000)
        assert np.array_equal(clip, samples[first : first + len(clip)])  # both channels, unchanged
        assert hashlib.sha256(wav.read_bytes()).hexdigest() == row["sha256"]
        fast = soundfile.info(wav.with_suffix(".x8.wav"))
        assert abs(8 * fast.duration - len(clip) / rate) < 0.01
        assert wav.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert wav.name.startswith(f"{row['score']:.3f}_a_20200101_000000_at_")


def test_clips_that_exist_are_kept(tmp_path, monkeypatch):
    path = tmp_path / "a_20200101_000000.wav"
    soundfile.write(path, np.random.default_rng(1).normal(0, 0.1, 30 * 4000), 4000)
    run = write_run(
        tmp_path / "run", [recording(str(path), 30 / 3600)], [event(str(path), 10.0), event(str(path), 20.0)]
    )
    assert run_report(monkeypatch, [str(run), "--clips"]) == 0
    pictures = sorted((run / "report.clips").rglob("*.png"))
    assert len(pictures) == 2
    pictures[0].unlink()  # as after an interruption
    before = pictures[1].stat().st_mtime_ns
    assert run_report(monkeypatch, [str(run), "--clips"]) == 0
    assert pictures[0].is_file() and pictures[1].stat().st_mtime_ns == before


def test_a_comparison_writes_no_clips(tmp_path, capsys, monkeypatch):
    path = tmp_path / "a_20200101_000000.wav"
    runs = [str(write_run(tmp_path / name, [recording(str(path), 1.0)], [])) for name in ("one", "two")]
    assert run_report(monkeypatch, [*runs, "--clips"]) == 2
    assert "no clips" in capsys.readouterr().err


def test_recordings_with_one_name_have_clips_of_their_own(tmp_path, monkeypatch):
    paths = [tmp_path / camp / "20240101_060000.wav" for camp in ("CampA", "CampB")]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, 20 * 4000), 4000)
    rows = [recording(str(path), 20 / 3600) for path in paths]
    run = write_run(tmp_path / "run", rows, [event(str(path), 0.0) for path in paths])
    assert run_report(monkeypatch, [str(run), "--clips"]) == 0
    listed = pd.read_csv(run / "report.clips" / "clips.csv")
    assert listed["clip"].nunique() == 2 and listed["sha256"].nunique() == 2
