"""`loxo detect`, `loxo decode` and `loxo score`: the effect of their options, and the options that are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile


def test_a_run_is_detected_decoded_again_and_another_table_is_scored(loxo, tmp_path):
    pytest.importorskip("pyarrow")
    card = tmp_path / "card" / "nn01"
    card.mkdir(parents=True)
    time = np.arange(30 * 4000) / 4000
    samples = 0.01 * np.random.default_rng(0).standard_normal(len(time))
    samples += 0.1 * np.sin(2 * np.pi * 20 * time) * ((time > 12) & (time < 16))
    soundfile.write(card / "20200101_000000.wav", samples, 4000)
    options = ("--name-pattern", "{site}/%Y%m%d_%H%M%S", "--time-zone", "Africa/Brazzaville", "--workers", 1)
    code, out, _ = loxo(
        *("detect", tmp_path / "card", "--out", tmp_path / "run", "--threshold", "rumble=0.001,gunshot=1"),
        *("--keep-scores", "--format", "raven,kaleidoscope,parquet", *options),
    )
    assert code == 0 and "1 recording" in out
    rows = (tmp_path / "run/events.csv").read_text().splitlines()
    assert len(rows) > 1 and ",nn01,2020-01-01T00:00:" in rows[1] and rows[1].endswith("+01:00")
    assert (tmp_path / "run/kaleidoscope.csv").is_file() and (tmp_path / "run/events.parquet").is_file()

    again = ("decode", tmp_path / "run", "--out")
    code, out, _ = loxo(*again, tmp_path / "again", "--threshold", "rumble=0.001,gunshot=1")
    assert code == 0 and (tmp_path / "again/events.csv").read_text().splitlines() == rows
    code, _, _ = loxo(
        *(*again, tmp_path / "other", "--smooth", "rumble=2", "--min-duration", 0.1, "--merge-gap", 0.2),
        *("--edge-ratio", 0.4, "--valley-ratio", 0.7, "--sustain-weight", "gunshot=0.3", "--density-penalty", 0),
        *("--overlap-threshold", 0.1),
    )
    decoding = json.loads((tmp_path / "other/run.json").read_text())["parameters"]["decoding"]
    everywhere = {
        "min_duration_s": 0.1,
        "merge_gap_s": 0.2,
        "edge_ratio": 0.4,
        "valley_ratio": 0.7,
        "density_penalty": 0,
        "overlap_threshold": 0.1,
    }
    assert code == 0 and all(one | everywhere == one for one in decoding.values())
    assert (decoding["rumble"]["smooth_s"], decoding["rumble"]["sustain_weight"]) == (2, 0.5)  # the model's 0.5 stays
    assert decoding["gunshot"]["sustain_weight"] == 0.3

    (tmp_path / "theirs.txt").write_text("Begin Time (s)\tEnd Time (s)\tBegin File\n12\t16\t20200101_000000.wav\n")
    code, out, _ = loxo("score", tmp_path / "theirs.txt", tmp_path / "card", "--out", tmp_path / "scored")
    assert code == 0 and "1 of 1 rows scored" in out
    assert (tmp_path / "scored/theirs.txt").read_text().splitlines()[0].endswith("Loxo rumble\tLoxo gunshot")


@pytest.mark.parametrize(
    ("args", "fault"),
    [
        (("detect",), "Missing argument"),
        (("detect", "card", "--threshold", "much"), "--threshold takes"),
        (("detect", "card", "--smooth", "1"), "No such option"),
        (("detect", "card", "--threshold", "0.5", "--max-fp-per-hour", "1"), "Give one of them"),
        (("detect", "card", "--review-budget", "10", "--max-fp-per-hour", "1"), "not by both"),
        (("detect", "card", "--time-zone", "Africa/Brazaville"), "Africa/Brazzaville"),
        (("detect", "card", "--time-zone", "Etc/GMT-1"), "Use +01:00"),
        (("detect", "card", "--name-pattern", "{place}"), "{place}"),
        (("detect", "card", "--format", "excel"), "no format 'excel'"),
        (("decode",), "Missing argument"),
        (("decode", "run"), "no such folder"),
        (("decode", "run", "--sustain-weight", "much"), "--sustain-weight takes a number"),
        (("decode", "run", "--threshold", "0.5", "--review-budget", "1"), "Give one of them"),
        (("score", "t.txt", "card"), "t.txt"),
        (("score", "t.txt", "--threshold", "0.5"), "No such option"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(loxo, tmp_path, monkeypatch, args, fault):
    monkeypatch.chdir(tmp_path)
    code, _, err = loxo(*args, "--out", "out")
    assert code == 2 and fault in err and not (tmp_path / "out").exists()


def test_thresholds_by_false_positives_say_on_what_data(loxo, tmp_path, monkeypatch):
    from loxo.engine.config import OperatingCurve
    from loxo.engine.model_file import read_model_file, write_copy

    curve = OperatingCurve(threshold=(0.9, 0.4), fp_per_hour=(0.1, 30.0), recall=(0.2, 0.8), data="Two quiet forests.")
    default = read_model_file("default")
    config = replace(default.config, calibration={}, curves={"rumble": curve})
    write_copy(default, tmp_path / "other.safetensors", config, {})
    soundfile.write(tmp_path / "a.wav", np.zeros(36 * 4000), 4000)  # 36 s: one in them is 100 an hour
    for name, value in (("--max-fp-per-hour", 31), ("--review-budget", 1)):
        code, out, _ = loxo(
            *("detect", tmp_path / "a.wav", "--model", tmp_path / "other.safetensors", name, value),
            *("--out", tmp_path / name, "--workers", 1),
        )
        assert code == 0 and "threshold 0.4" in out and "Two quiet forests." in out
        assert json.loads((tmp_path / name / "run.json").read_text())["parameters"]["threshold"] == {"rumble": 0.4}
