"""Adaptation to a site from few annotated calls: data, decision, one command, and the worked example of the docs."""

import csv
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from loxo import LoxoError, load_model, save_model
from loxo.engine.architectures import preset_config
from loxo.evaluation.intervals import paired_bootstrap
from loxo.evaluation.matching import match
from loxo.evaluation.metrics import average_precision, matching_curve
from loxo.evaluation.spans import Detections, Truth
from loxo.events.table import events_frame
from loxo.network.registry import build
from loxo.review.output import export
from loxo.review.session import Session
from loxo.simulation.simulate import simulate
from loxo.training import adapt as adaptation
from loxo.training import train as training
from loxo.training.adapt import adapt
from loxo.training.annotations import match_recordings
from loxo.training.backgrounds import own_backgrounds
from loxo.training.comparing import HeldBack, decide, frame_losses
from loxo.training.config import DataConfig, TrainingConfig
from loxo.training.config_io import model_config
from loxo.training.loop import LAST
from loxo.training.recording_windows import FixedWindows, RecordingWindows, free_spans
from loxo.training.sources import build_sources
from loxo.training.split import limited_calls, split_annotations
from loxo.training.targets import IGNORED
from loxo.training.validation import score_windows, validation_metrics

TINY = {"embed_dim": 8, "num_heads": (1, 2, 4), "depths": (1, 1, 1), "window_samples": 20480, "image_frames": 128}
CONFIG = preset_config("default", **TINY)
RATE, SIZE = CONFIG.sample_rate, CONFIG.window_samples
QUICK = {"iterations": 3, "workers": 0, "validation_windows": 16}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A tiny model with random weights."""
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    torch.manual_seed(0)
    save_model(build(CONFIG), path, {})
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One recording of noise, 120 s, with seven rumbles in the table; its first half was searched up to 55 s."""
    folder = tmp_path_factory.mktemp("site")
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 0.02, 120 * RATE)
    rows = ["recording,start_s,end_s,label"]
    for start_s in (5, 14, 25, 40, 60, 80, 100):
        t = np.arange(3 * RATE) / RATE
        sound[start_s * RATE : (start_s + 3) * RATE] += 0.2 * sum(np.sin(2 * np.pi * 18 * k * t) for k in (1, 2, 3))
        rows.append(f"day.wav,{start_s},{start_s + 3},rumble")
    soundfile.write(folder / "day.wav", sound, RATE)
    (folder / "calls.csv").write_text("\n".join(rows) + "\n")
    (folder / "searched").mkdir()
    (folder / "searched" / "spans.csv").write_text("recording,start_s,end_s\nday.wav,0,55\nday.wav,58,110\n")
    return folder


def events(*rows):
    return events_frame(
        {"recording": "day.wav", "start_s": start, "end_s": end, "label": label} for start, end, label in rows
    )


def matched(site, rows, **options):
    return match_recordings(events(*rows), site, classes=CONFIG.classes, sample_rate=RATE, **options)


# ---------------------------------------------------------------- data


def test_time_that_was_not_searched_is_neither_call_nor_background(site):
    searched = events((0, 20, "x"), (15, 30, "x"), (100, 999, "x"))
    found = matched(site, [(5, 8, "rumble"), (50, 53, "rumble")], searched=searched)
    (one,) = found.recordings
    assert {(label, a / RATE, b / RATE) for label, a, b in one.ignored} == {
        (label, 30.0, 100.0) for label in CONFIG.classes
    }
    assert [(a / RATE, b / RATE) for _, a, b in free_spans([one], SIZE).tolist()] == [(8, 30), (100, 120)]
    targets = RecordingWindows(CONFIG, found, 10, 0).targets(0, 49 * RATE)
    inside = np.arange(CONFIG.steps) * CONFIG.step_samples / RATE + 49
    call = (inside > 50.1) & (inside < 52.8)
    assert (targets[0][call] == 1).all() and (targets[0][inside > 53.1] == IGNORED).all()
    assert (targets[1] == IGNORED).all()


def test_classes_that_the_tables_do_not_annotate_have_no_loss_in_windows_from_recordings(site):
    rows = [(5, 8, "rumble"), (40, 40.5, "gunshot")]
    found = matched(site, rows, annotated=("rumble",))
    assert found.unknown_classes == ("gunshot",) and found.counts() == {"rumble": 1, "gunshot": 0}
    assert found.problems == () and len(found.recordings[0].other_labels) == 1
    windows = RecordingWindows(CONFIG, found, 10, 0)
    targets = windows[0][1]
    for name, row in zip(CONFIG.rows, targets, strict=True):
        assert bool((row == IGNORED).all()) == ("gunshot" in name)
    ignored = FixedWindows(CONFIG, found, 4, 0).events_in_window(0, 0).ignored
    assert ignored == [("gunshot", 0, SIZE)]
    with pytest.raises(LoxoError, match="trumpet: this is no class of the model"):
        matched(site, rows, annotated=("trumpet",))


def test_a_split_by_time_holds_back_the_end_of_each_recording(site):
    rows = [(start, start + 3, "rumble") for start in (5, 14, 25, 40, 60)]
    training, held_back = split_annotations(matched(site, rows), 0.4, by="time")
    assert [event[1] / RATE for side in (training, held_back) for event in side.recordings[0].events] == [
        *(5, 14, 25),
        *(40, 60),
    ]
    cut = (28 + 40) / 2
    assert {(a / RATE, b / RATE) for _, a, b in training.recordings[0].ignored} == {(cut, 120)}
    assert {(a / RATE, b / RATE) for _, a, b in held_back.recordings[0].ignored} == {(0, cut)}
    free = [free_spans(side.recordings, SIZE)[:, 1:] / RATE for side in (training, held_back)]
    assert free[0].max() == cut and free[1].min() == cut


def test_the_two_folds_by_time_are_the_ends_and_the_beginnings(site):
    annotations = matched(site, [(start, start + 3, "rumble") for start in (5, 14, 25, 40, 60)])
    first, second = (split_annotations(annotations, 0.1, by="time", folds=2, fold=fold) for fold in (1, 2))
    assert first == second[::-1]
    assert [len(side.recordings[0].events) for side in first] == [2, 3]
    with pytest.raises(LoxoError, match="has 2 folds"):
        split_annotations(annotations, 0.1, by="time", folds=3, fold=1)


def test_calls_that_are_not_trained_on_are_neither_positive_nor_negative(site):
    starts = (5, 14, 25, 40, 60)
    annotations = matched(site, [(start, start + 3, "rumble") for start in starts])
    two, four = (limited_calls(annotations, calls).recordings[0] for calls in (2, 4))
    assert len(two.events) == 2 and set(two.events) < set(four.events)
    assert {span for span in two.ignored if span[0] == "rumble"} == set(annotations.recordings[0].events) - set(
        two.events
    )
    assert limited_calls(annotations, 9) == annotations


def test_an_event_that_lasts_over_the_cut_is_used_on_no_side(site):
    rows = [(5, 8, "rumble"), (10, 35, "rumble"), (30, 33, "rumble"), (34, 50, "rumble"), (60, 62, "rumble")]
    sides = split_annotations(matched(site, rows), 0.4, by="time")
    starts = [{event[1] / RATE for event in side.recordings[0].events} for side in sides]
    assert starts == [{5, 10, 30}, {60}]
    assert all(("rumble", 34 * RATE, 50 * RATE) in side.recordings[0].ignored for side in sides)


def test_own_backgrounds_are_the_searched_time_without_events(tmp_path):
    sound = np.concatenate([np.full(20 * RATE, level) for level in (0.1, 0.2, 0.3)])
    soundfile.write(tmp_path / "day.wav", sound, RATE, subtype="FLOAT")
    found = matched(tmp_path, [(20, 40, "rumble")], searched=events((0, 50, "x")))
    backgrounds = own_backgrounds(found, None, 0)
    assert backgrounds.seconds == 30 and backgrounds.sample_rate == RATE
    assert sorted(len(one.samples) / RATE for one in backgrounds.recordings) == [10, 20]
    assert own_backgrounds(matched(tmp_path, [(0, 59, "rumble")]), None, 0) is None


# ---------------------------------------------------------------- the decision


def found(window, start, score):
    window, start = np.array(window), np.array(start, float)
    return Detections(window, start, start + 2, np.array(score, float))


def test_the_paired_bootstrap_compares_two_detectors_on_the_same_windows():
    windows = np.arange(12)
    truth = Truth(windows, np.zeros(12), np.full(12, 2.0), np.ones(12, bool), np.zeros(12, bool))
    good = match(truth, found(windows, np.zeros(12), np.linspace(0.9, 0.5, 12)))
    mixed = match(truth, found(windows, [0, 9] * 6, [0.5, 0.8] * 6))
    same = paired_bootstrap([(mixed, mixed)], [windows])
    assert same["difference"] == [0, 0, 0] and same["events"] == 12
    assert same["first"][0] == pytest.approx(average_precision(matching_curve(mixed)))
    assert same["first"][1] < same["first"][0] < same["first"][2]
    better = paired_bootstrap([(mixed, good)], [windows])
    assert better["second"] == [1, 1, 1] and better["difference"][1] > 0
    one = paired_bootstrap([(mixed, good)], [windows[1:2]])
    assert one["events"] == 1 and one["first"][0] == 0 and one["second"][0] == 1
    assert paired_bootstrap([(mixed, good)], [windows[:0]])["difference"] is None
    strata = paired_bootstrap([(mixed, good)], [windows[1:2], windows])
    assert strata["first"][0] == pytest.approx(same["first"][0] / 2) and strata["events"] == 13


def test_frame_loss_measures_the_separation_and_not_the_level_of_scores():
    rng = np.random.default_rng(0)
    targets = (rng.random((40, 25)) < 0.2).astype(np.float32)
    logits = 3 * targets + rng.normal(0, 1, targets.shape)
    ignored = rng.random(targets.shape) < 0.1
    losses = frame_losses(logits, np.where(ignored, IGNORED, targets))
    assert losses == pytest.approx(frame_losses(0.2 * logits - 7, np.where(ignored, IGNORED, targets)), abs=1e-3)
    assert losses.sum() < frame_losses(logits - 2 * targets, np.where(ignored, IGNORED, targets)).sum()
    assert frame_losses(logits, np.full_like(targets, IGNORED)).sum() == 0
    share = targets.mean()
    entropy = -targets.size * (share * np.log(share) + (1 - share) * np.log(1 - share))
    for useless in (rng.normal(0, 5, targets.shape), -logits):
        assert frame_losses(useless, targets).sum() == pytest.approx(entropy, rel=0.01)


def figures(loss=(-1.0, -2.0, -0.1), annotations=(0.1, -0.1, 0.3), simulated=0.0, others=0.0, calls=4):
    def one(difference, count=50):
        return {"events": count, "first": [0.5, 0.4, 0.6], "second": [0.5 + difference[0], 0.5, 0.7]} | {
            "difference": list(difference)
        }

    return {
        "frame_loss": one(loss),
        "annotations": one(annotations, calls),
        "simulated": one((simulated, -0.1, 0.1)),
        "other_classes": one((others, -0.1, 0.1)),
    }


@pytest.mark.parametrize(
    ("changes", "adapted", "words"),
    [
        ({}, True, "The adapted model is used: frame loss of rumble"),
        ({"annotations": (0.0, -0.1, 0.1), "simulated": -0.02, "others": -0.02}, True, "is used"),
        ({"loss": (-1.0, -2.0, 0.1)}, False, "no gain is certain"),
        ({"loss": (-1e-9, -2e-9, -1e-10)}, False, "no gain is certain"),
        ({"annotations": (-0.01, -0.1, 0.1)}, False, "the held-back annotations lost event AP"),
        ({"simulated": -0.04}, False, "simulated calls lost event AP"),
        ({"others": -0.04}, False, "other classes lost event AP"),
        ({"calls": 1}, False, "2 more held-back call"),
    ],
)
def test_the_adapted_model_is_used_only_if_the_gain_is_clear(changes, adapted, words):
    result, sentence = decide(figures(**changes), ("rumble",))
    assert result is adapted and words in sentence


def held_back(site, table, start):
    """The held-back windows of an adaptation of this model by a table."""
    data = DataConfig(
        tables=(str(table),), recordings=(str(site),), simulated=0.5, own_backgrounds=True, validation_windows=16
    )
    preset = adaptation._preset(load_model(start).config)
    config, _ = adaptation._with_annotations(TrainingConfig(**preset, init_from=str(start), data=data), ["rumble"])
    return HeldBack(config)


def changed(start, path, change):
    """A model file with other weights."""
    model = load_model(start)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            change(name, parameter)
    save_model(model, path, {})
    return path


def test_training_that_changes_nothing_or_destroys_the_model_keeps_the_start(site, tmp_path):
    torch.manual_seed(0)
    windows = held_back(site, site / "calls.csv", "default")
    destroyed = changed("default", tmp_path / "noise.safetensors", lambda _, p: p.copy_(torch.randn_like(p) * p.std()))
    for path, words in (("default", "no gain is certain"), (destroyed, "The start model is kept")):
        figures = windows.compare([path, path])
        adapted, sentence = decide(figures, ("rumble",))
        assert not adapted and words in sentence
        assert figures["annotations"]["first"][0] > 0.9
    assert figures["frame_loss"]["difference"][1] > 0 and figures["annotations"]["second"][0] < 0.5


def test_wrong_annotations_keep_the_start_although_low_scores_agree_better_with_them(site, tmp_path):
    """The second model has learnt that calls are rare, and not more. Only its unmapped loss is lower."""

    def flatten(name, parameter):
        if name.startswith(("tscam_conv", "fine.answer")):
            parameter.fill_(-1.0 if name == "tscam_conv.bias" else 0.0)

    table = tmp_path / "wrong.csv"
    rows = "".join(f"day.wav,{start},{start + 2},rumble\n" for start in (10, 20, 33, 50, 70, 90, 110))
    table.write_text("recording,start_s,end_s,label\n" + rows)
    windows, low = held_back(site, table, "default"), changed("default", tmp_path / "low.safetensors", flatten)
    adapted, sentence = decide(windows.compare([low, low]), ("rumble",))
    assert not adapted and "no gain is certain" in sentence
    logits, targets = windows.start[windows.recorded, 0], windows.windows.targets[windows.recorded, 0]
    unmapped = [np.logaddexp(0, scores) - targets * scores for scores in (logits, np.full_like(logits, -1.0))]
    assert unmapped[1].mean() < unmapped[0].mean()


# ---------------------------------------------------------------- one command


def run_of(out):
    record = json.loads((out / "run.json").read_text())
    return record["config"], record["result"]


@pytest.fixture
def no_graph(monkeypatch):
    """Training without the export of graphs, which takes longer than a tiny training."""
    monkeypatch.setattr(training, "write_graph", lambda path: None)
    monkeypatch.setattr(adaptation, "write_graph", lambda path: None)


@pytest.fixture(scope="module")
def adapted(site, start):
    out = site.parent / "adapted"
    with pytest.MonkeyPatch.context() as patch:  # the graph of the result is enough
        patch.setattr(training, "write_graph", lambda path: None)
        return out, adapt(site / "calls.csv", site, out, model=start, searched=site / "searched", **QUICK)


def test_one_recording_and_one_class_are_enough(site, start, adapted, loxo, tmp_path):
    out, result = adapted
    config, record = run_of(out)
    assert config["data"]["annotated"] == ["rumble"] and config["data"]["split"] == "time"
    assert record["calls"] == {"fold 1": {"rumble": 4, "gunshot": 0}, "fold 2": {"rumble": 3, "gunshot": 0}}
    assert record["figures"]["annotations"]["events"] >= 7 and record["figures"]["other_classes"]["events"] > 0
    card = (out / "adapt.md").read_text()
    assert result.decision in card and "| frame loss, held-back annotations | " in card
    before = load_model(start)
    kept = load_model(out / "model.safetensors")
    same = all(torch.equal(a, b) for a, b in zip(before.parameters(), kept.parameters(), strict=True))
    assert same != result.adapted
    for fold in ("fold-1", "fold-2"):
        with (out / fold / "logs/validation.csv").open(newline="") as file:
            assert [int(row["iteration"]) for row in csv.DictReader(file)] == [0, 2]
    assert (out / "model.onnx").is_file()
    assert loxo("detect", site, "--model", out / "model.safetensors", "--out", tmp_path / "run", "--workers", 1)[0] == 0


def test_the_start_of_an_adaptation_gives_exactly_the_outputs_of_the_start_model(adapted, start):
    """Also for the class that the tables do not annotate."""
    out, _ = adapted
    config = adaptation.read_config(base=adaptation.read_run_config(out / "fold-1"))
    network = model_config(config)
    own = load_model(start).config
    ignored = {"decoding", "calibration", "curves"}
    assert {k: v for k, v in network.to_dict().items() if k not in ignored} == {
        k: v for k, v in own.to_dict().items() if k not in ignored
    }
    with (out / "fold-1/logs/validation.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    windows, model = build_sources(config, network, 1).validation, load_model(start)
    with torch.inference_mode():
        logits = score_windows(lambda waveform: model.logits_and_latent(waveform)[0], windows, 4)
    metrics = validation_metrics(1 / (1 + np.exp(-logits)), windows, own)
    assert {name: float(first[name]) for name in metrics} == pytest.approx(metrics, abs=1e-6)


def test_an_adapted_model_is_shipped_with_its_figures(site, start, tmp_path, monkeypatch, no_graph):
    monkeypatch.setattr(adaptation, "decide", lambda figures, classes: (True, "The adapted model is used."))
    result = adapt(site / "calls.csv", site, tmp_path / "run", model=start, **QUICK)
    shipped, trained = (load_model(tmp_path / "run" / name) for name in ("model.safetensors", adaptation.CANDIDATE))
    assert all(torch.equal(a, b) for a, b in zip(shipped.parameters(), trained.parameters(), strict=True))
    assert result.adapted and shipped.provenance["adaptation"]["calls"]["fold 1"]["rumble"] == 4
    ends = [load_model(tmp_path / "run" / fold / LAST) for fold in ("fold-1", "fold-2")]
    for mean, one, other, before in zip(*(m.parameters() for m in (shipped, *ends, load_model(start))), strict=True):
        torch.testing.assert_close(mean, 0.4 * (one + other) + 0.2 * before, atol=1e-6, rtol=1e-4)


def test_an_interrupted_adaptation_resumes_to_the_same_model(site, start, adapted, tmp_path, no_graph):
    def stop(iteration, iterations, figures):
        if iteration == 3:  # in the second training
            raise KeyboardInterrupt

    options = {"model": start, "searched": site / "searched", **QUICK}
    with pytest.raises(KeyboardInterrupt):
        adapt(site / "calls.csv", site, tmp_path / "run", on_progress=stop, **options)
    assert not (tmp_path / "run/model.safetensors").exists()
    with pytest.raises(LoxoError, match="this already exists"):
        adapt(site / "calls.csv", site, tmp_path / "run", **options)
    with pytest.raises(LoxoError, match=r"other settings.*seed"):
        adapt(site / "calls.csv", site, tmp_path / "run", resume=True, seed=9, **options)
    again = adapt(site / "calls.csv", site, tmp_path / "run", resume=True, **options)
    first, ours = adapted[0] / adaptation.CANDIDATE, load_model(tmp_path / "run" / adaptation.CANDIDATE)
    assert all(torch.equal(a, b) for a, b in zip(load_model(first).parameters(), ours.parameters(), strict=True))
    assert again.figures == adapted[1].figures


def test_the_learning_curve_compares_growing_parts_and_resumes(site, start, adapted, tmp_path, no_graph):
    def stop(iteration, iterations, figures):
        if (out / "calls-1/fold-2/run.json").is_file():
            raise KeyboardInterrupt

    out = tmp_path / "run"
    shutil.copytree(adapted[0], out)
    with pytest.raises(KeyboardInterrupt):
        adapt((), (), out, learning_curve=True, resume=True, on_progress=stop)
    adapt((), (), out, learning_curve=True, resume=True)
    with (out / "learning_curve.csv").open(newline="") as file:
        curve = list(csv.DictReader(file))
    assert [row["calls"] for row in curve] == ["0", "1", "2", "3"]
    figures = adapted[1].figures
    for row, side in ((curve[0], "first"), (curve[-1], "second")):
        assert float(row["event_ap"]) == pytest.approx(figures["annotations"][side][0], abs=1e-4)
        assert float(row["frame_loss_high"]) == pytest.approx(figures["frame_loss"][side][2], abs=1e-4)
    assert "From 2 to 3 calls, event AP" in (out / "adapt.md").read_text()
    assert adaptation.read_run_config(out / "calls-2/fold-1")["data"]["calls"] == 2


def test_too_few_calls_are_refused_with_the_number_that_is_missing(site, start, tmp_path):
    table = tmp_path / "few.csv"
    table.write_text("recording,start_s,end_s,label\n" + "".join(f"day.wav,{k},{k + 3},rumble\n" for k in (5, 40, 60)))
    with pytest.raises(LoxoError, match=r"3 rumble\(s\).*Annotate 2 more rumble\(s\)\.$"):
        adapt(table, site, tmp_path / "run", model=start, classes=["rumble"], **QUICK)
    assert not (tmp_path / "run").exists()


def test_the_time_sets_the_number_of_iterations(adapted):
    config = adaptation.read_config(base=run_of(adapted[0])[0])
    few, many = (adaptation._iterations_in(minutes, config) for minutes in (1e-4, 10))
    assert few == adaptation.MIN_ITERATIONS < many


# ---------------------------------------------------------------- the worked example of docs/training.md


def test_review_export_adapt_detect_and_evaluate(loxo, start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    simulate(Path("recordings"), 0.06, 4, file_hours=0.02, rumbles_per_hour=500, gunshots_per_hour=0)
    detect = ("detect", "recordings", "--workers", 1, "--model")
    assert loxo(*detect, start, "--threshold", 0, "--out", "runs/march")[0] == 0
    session = Session("runs/march", "Ana")
    rows = [k for k, label in enumerate(session.run.events["label"]) if label == "rumble"]
    session.act([{"row": row, "verdict": "yes"} for row in rows[:12]])
    session.act([{"row": row, "verdict": "no"} for row in rows[12:14]])
    session.close()
    written = export("runs/march")
    assert "training/searched.csv" in written.files
    options = ("--model", start, "--recordings", "recordings", "--iterations", 2, "--workers", 0)
    monkeypatch.setattr(training, "write_graph", lambda path: None)
    monkeypatch.setattr(adaptation, "adapt", partial(adapt, validation_windows=16))
    code, out, err = loxo("adapt", "runs/march/reviewed", *options, "--out", "runs/site")
    assert code == 0 and "held-back" in out and "The start model is kept" in " ".join(out.split()), err
    assert "the ends and the beginnings of the recordings" in err
    data = run_of(Path("runs/site"))[0]["data"]
    assert data["searched"] == ["runs/march/reviewed/training/searched.csv"] and len(data["hard_negatives"]) == 1
    assert loxo(*detect, "runs/site/model.safetensors", "--out", "runs/april")[0] == 0
    code, out, _ = loxo("evaluate", "--truth", "recordings", "--detections", "runs/april", "--recordings", "recordings")
    assert code == 0 and "rumble" in out
