"""`loxo evaluate`: metrics of tables and runs, the page, notes and error messages."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from pages import assert_self_contained
from typer.testing import CliRunner

from loxo.cli import app
from loxo.errors import LoxoError
from loxo.evaluation.evaluate import evaluate
from loxo.evaluation.inputs import read_truth
from loxo.evaluation.names import Index
from loxo.events.raven import write_raven
from loxo.events.table import COLUMNS, events_frame
from loxo.runs.scores import write_scores

A, B = "nn01_20200101_000000.wav", "nn02_20200101_000000.wav"


def row(recording, start, end, label="rumble", **more):
    return {"recording": recording, "start_s": start, "end_s": end, "label": label, "low_hz": 10, "high_hz": 40, **more}


def raven(path, rows):
    """Writes a Raven table of rows, with a column SNR (dB) if they have snr_db."""
    events = events_frame(rows)
    extra = {name: header for name, header in {"snr_db": "SNR (dB)", "notes": "notes"}.items() if name in events}
    write_raven(events, path, extra=extra, durations=dict.fromkeys(sorted(set(events["recording"])), 3600.0))
    return path


def listed(path, rows):
    """Writes an events.csv in the format of Loxo."""
    events_frame(rows)[list(COLUMNS)].to_csv(path, index=False)
    return path


def run_folder(path, rows, recordings, scores=()):
    """Writes a run folder in the format of `loxo detect`; recordings: (name, status, seconds)."""
    (path / "tables").mkdir(parents=True)
    listed(path / "events.csv", rows)
    entries = [
        {
            "recording": name,
            "status": status,
            "duration_s": seconds,
            "analysed_s": seconds if status != "failed" else 0.0,
        }
        | {"events": 0, "reason": "broken" if status == "failed" else None, "notes": []}
        | {"table": None if status == "failed" else f"tables/{name}.selections.txt"}
        for name, status, seconds in recordings
    ]
    record = {"status": "finished", "parameters": {"decoding": {}}, "problems": [], "recordings": entries}
    (path / "run.json").write_text(json.dumps(record))
    for name, values in scores:
        write_scores(path / "scores" / f"{name}.npz", ("rumble",), np.array([values]), 1.0)
    return path


@pytest.fixture
def tables(tmp_path):
    """Truth: three rumbles in A, none in B. Detections: two correct ones and a fragment in A, two false ones in B."""
    true = [row(f"L:\\elp\\{A}", at, at + 10, snr_db=snr) for at, snr in ((10, 3.0), (100, 12.0), (200, 4.0))]
    truth = raven(tmp_path / "truth.txt", [*true, row(f"L:\\elp\\{B}", 0, 10, "DUMMY_NoEles", snr_db=0.0)])
    rows = [row(f"/sd/{A}", *span, score=score) for *span, score in ((10, 19, 0.9), (203, 211, 0.7), (100, 101, 0.6))]
    rows += [row(f"/sd/{B}", 50, 60, score=0.8), row(f"/sd/{B}", 90, 95, score=0.2)]
    return truth, listed(tmp_path / "found.csv", rows)


def test_metrics_of_an_example(tables):
    report = evaluate([tables[0]], [tables[1]], hours=2.0).report
    assert report["truth"]["recordings"] == 2 and report["truth"]["classes"]["rumble"]["events"] == 3
    part = report["detectors"][0]["classes"]["rumble"]
    figures = part["criteria"]["iou30"]
    # IoU of 10-19 and 10-20: 9/10; 203-211 and 200-210: 7/11; 100-101 and 100-110: 1/10. The last one is a hit only for
    # hit10, because it covers 10 % of the event.
    assert (figures["hits"], figures["false"], figures["loose"], figures["events"]) == (2, 3, 1, 3)
    assert figures["precision"] == 0.4 and figures["recall"] == pytest.approx(2 / 3) and figures["f1"] == 0.5
    # By score: .9 correct, .8 false, .7 correct (2/3), .6 false, .2 false.
    assert figures["ap"] == pytest.approx((1 + 2 / 3) / 3)
    assert part["criteria"]["hit10"]["ap"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    # 2 h: .1/h allows no false positive, 1/h two (.8 and .6), 5.7/h eleven.
    assert [at["recall"] for at in figures["at"]] == pytest.approx([1 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert [at["list_ends_before"] for at in figures["at"]] == [False, False, True, True]
    assert figures["false_per_hour"] == 1.5
    # 0-5 dB: two events, both found; 10-15 dB: one event, missed.
    assert [(s["from_db"], s["found"], s["events"]) for s in part["snr"]] == [(0.0, 2, 2), (10.0, 0, 1)]
    assert part["worst_misses"][0]["start_s"] == 100.0 and part["worst_misses"][0]["snr_db"] == 12.0
    assert [f["score"] for f in part["worst_false"]] == [0.8, 0.6, 0.2]
    by = {r["recording"]: r for r in part["by_recording"]}
    assert {name[-24:]: (r["events"], r["hits"], r["false"]) for name, r in by.items()} == {A: (3, 2, 1), B: (0, 0, 2)}
    assert [site["site"] for site in part["by_site"]] == ["nn01", "nn02"]
    # The hour of A contains a rumble and a detection. The hour of B contains only detections.
    assert (part["hourly"]["hits"], part["hourly"]["false"], part["hourly"]["events"]) == (1, 1, 1)
    # Onset errors: 0 and +3 s; offset errors: -1 and +1 s.
    assert part["borders"]["onset_s"]["median"] == 1.5 and part["borders"]["offset_s"]["median"] == 0.0
    json.dumps(report, allow_nan=False)


def test_one_path_needs_no_list(tables):
    assert evaluate(tables[0], tables[1], hours=2.0).report == evaluate([tables[0]], [tables[1]], hours=2.0).report


def test_the_truth_may_have_its_own_labels_label_column_and_file_names(tmp_path):
    """The options of training's data settings; the tables stay as they are."""
    (tmp_path / "truth.csv").write_text(
        "file,start,end,species,Typ\nD:\\x\\dzan_a.wav,0,4,Elephant,RUM\ndzan_a.wav,10,11,Elephant,gun\nkept_b.wav,5,9,E,RUM\n"
    )
    (tmp_path / "found.csv").write_text(
        "file,start,end,label,score\ndz_a.wav,0,4,rumble,0.9\ndz_a.wav,10,11,gunshot,0.8\nkept_b.wav,5,9,rumble,0.7\n"
    )
    options = {
        "label_column": "Typ",
        "labels": {"RUM": "rumble", "GUN": "gunshot"},
        "rename": {"DZAN": "dz", "kept": "x"},
    }
    report = evaluate(tmp_path / "truth.csv", tmp_path / "found.csv", hours=1.0, **options).report
    classes = report["detectors"][0]["classes"]
    assert report["truth"]["recordings"] == 2 and set(classes) == {"rumble", "gunshot"}
    assert all(one["criteria"]["iou30"]["ap"] == 1 for one in classes.values())


def test_a_threshold_changes_ratios_and_errors_but_not_curves(tables):
    all_, above = (evaluate([tables[0]], [tables[1]], hours=2.0, threshold=t).report for t in (None, 0.75))
    one, other = (r["detectors"][0]["classes"]["rumble"] for r in (all_, above))
    assert one["criteria"]["iou30"]["ap"] == other["criteria"]["iou30"]["ap"]
    assert one["segments"]["10"]["ap"] == other["segments"]["10"]["ap"]
    assert [other["criteria"]["iou30"][key] for key in ("hits", "false", "recall")] == [1, 1, pytest.approx(1 / 3)]
    assert other["borders"]["onset_s"]["n"] == 1 and other["detections"] == 2


def test_ratios_with_a_decimal_comma_are_read_beside_words(tmp_path):
    truth = tmp_path / "truth.txt"
    truth.write_text(
        "Begin Time (s)\tEnd Time (s)\tSpecies\tSNR (dB)\tBegin File\n"
        f"1,5\t9\trumble\t−12,5\t{A}\n20\t29\trumble\tunknown\t{A}\n",
        encoding="utf-8",
    )
    assert list(read_truth([truth])["snr_db"].fillna(0)) == [-12.5, 0]


def test_the_order_of_rows_and_recordings_has_no_effect(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"/x/s{k % 3}_2020010{k + 1}_000000.wav" for k in range(6)]
    true = [row(names[rng.integers(6)], s := float(rng.integers(0, 3000)), s + 5, snr_db=float(s)) for _ in range(60)]
    calls = [row(r["recording"], r["start_s"] + 1, r["end_s"] + 1, score=float(rng.integers(1, 9)) / 10) for r in true]
    calls += [row(names[rng.integers(6)], s := float(rng.integers(0, 3000)), s + 4, score=0.35) for _ in range(30)]
    reports = []
    for turn in range(2):
        order = [rng.permutation(len(rows)) if turn else range(len(rows)) for rows in (true, calls)]
        by_table = [[true[k] for k in order[0]], [calls[k] for k in order[1]]]
        parts = []
        for k in range(3):  # several tables of the truth, in reverse order the second time
            rows = [r for r in by_table[0] if names.index(r["recording"]) % 3 == (2 - k if turn else k)]
            parts.append(raven(tmp_path / f"truth{turn}{k}.txt", rows))
        found = tmp_path / f"{turn}" / "found.csv"
        found.parent.mkdir()
        found.write_text(
            ",".join(COLUMNS)
            + "\n"
            + "".join(
                f"{r['recording']},{r['start_s']},{r['end_s']},rumble,{r['score']},10,40,,\n" for r in by_table[1]
            )
        )
        report = evaluate(parts, [found], hours=6.0).report
        report["truth"].pop("tables")
        reports.append(report)
    assert reports[0] == reports[1]


def test_marginal_events_ignored_regions_and_clip_level_labels_are_counted_separately(tmp_path):
    true = [row(A, 10, 20, notes="marginal"), row(A, 100, 110, notes=""), row(A, 300, 400, "ignore", notes="")]
    truth = raven(tmp_path / "truth.txt", [*true, row(B, 0, 60, notes="")])
    calls = [row(A, 10, 20, score=0.9), row(A, 310, 320, score=0.8), row(A, 100, 110, score=0.7)]
    calls += [row(B, 5, 6, score=0.6), row(B, 30, 31, score=0.5)]
    run = run_folder(tmp_path / "run", calls, [(A, "done", 3600.0), (B, "done", 60.0)])
    report = evaluate([truth], [run]).report
    assert report["truth"]["classes"]["rumble"] == {"events": 2, "marginal": 1, "clip_level": 1, "ignored_regions": 1}
    figures = report["detectors"][0]["classes"]["rumble"]["criteria"]["iou30"]
    # 10-20 is in the marginal event, 310-320 in the ignored region. 5-6 is the hit of the clip-level label, so 30-31 is
    # ignored.
    assert (figures["hits"], figures["false"], figures["ignored"]) == (2, 0, 3)
    assert "marginal" in report["rule"]["ignored"] and report["truth"]["hours"] == pytest.approx(3660 / 3600)


def test_a_run_gives_the_hours_and_the_analysed_parts(tmp_path):
    truth = raven(tmp_path / "truth.txt", [row(A, 1, 3), row(A, 70, 80), row(B, 10, 20)])
    calls = [row(f"/card/{A}", 1, 3, score=0.9)]
    # 60 of 90 s of A were analysed, and nothing of B.
    scores = [(f"/card/{A}".lstrip("/"), [0.1, 0.9, 0.8, 0.2] + [0.1] * 56)]
    run = run_folder(tmp_path / "run", calls, [(f"/card/{A}", "truncated", 60.0), (f"/card/{B}", "failed", 90.0)], ())
    (run / "scores" / "card").mkdir(parents=True)
    write_scores(run / "scores" / "card" / f"{A}.npz", ("rumble",), np.array([scores[0][1]]), 1.0)
    record = json.loads((run / "run.json").read_text())
    record["recordings"][0]["table"] = f"tables/card/{A}.selections.txt"
    (run / "run.json").write_text(json.dumps(record))
    report = evaluate([truth], [run]).report
    assert report["truth"]["hours"] == pytest.approx(60 / 3600) and report["truth"]["recordings"] == 1
    assert report["truth"]["classes"]["rumble"]["events"] == 1
    notes = " ".join(report["notes"])
    assert (
        "1 recordings of the truth were not analysed" in notes
        and "1 true events begin after the analysed part" in notes
    )
    assert report["detectors"][0]["classes"]["rumble"]["frames"] == {
        "ap": 1.0,
        "frames": 60,
        "positive": 2,
        "recordings_without_scores": 0,
    }


def test_several_detectors_are_evaluated_on_the_same_recordings(tmp_path):
    truth = raven(tmp_path / "truth.txt", [row(A, 10, 20), row(B, 10, 20)])
    run = run_folder(tmp_path / "run", [row(A, 10, 20, score=0.9)], [(A, "done", 600.0)])
    found = listed(tmp_path / "found.csv", [row(A, 10, 20, score=0.9), row(B, 10, 20, score=0.9)])
    report = evaluate([truth], [run, found]).report
    assert [d["classes"]["rumble"]["criteria"]["iou30"]["events"] for d in report["detectors"]] == [1, 1]
    assert [d["name"] for d in report["detectors"]] == ["run", "found.csv"]
    assert any("found.csv: 1 detections are in recordings that are not evaluated" in note for note in report["notes"])


def test_false_positives_are_counted_without_true_events(tmp_path):
    truth = raven(tmp_path / "truth.txt", [row(A, 0, 10, "DUMMY_NoEles")])
    found = listed(tmp_path / "found.csv", [row(A, 10, 20, score=0.9), row(A, 30, 40, "gunshot", score=0.9)])
    report = evaluate([truth], [found], hours=0.5).report
    assert set(report["truth"]["classes"]) == {"rumble", "gunshot"}
    figures = report["detectors"][0]["classes"]["rumble"]["criteria"]["iou30"]
    assert figures["ap"] is None and figures["recall"] is None and figures["false_per_hour"] == 2.0
    # With events of one class only, the other class is not evaluated.
    truth = raven(tmp_path / "truth.txt", [row(A, 10, 20)])
    report = evaluate([truth], [found], hours=0.5).report
    assert list(report["truth"]["classes"]) == ["rumble"] and any("gunshot" in note for note in report["notes"])
    both = evaluate([truth], [found], hours=0.5, classes=["rumble", "gunshot"]).report
    assert both["detectors"][0]["classes"]["gunshot"]["criteria"]["iou30"]["false"] == 1


def test_exhaustive_includes_recordings_that_the_truth_does_not_name(tmp_path):
    truth = raven(tmp_path / "truth.txt", [row(A, 10, 20)])
    run = run_folder(tmp_path / "run", [row(B, 10, 20, score=0.9)], [(A, "done", 600.0), (B, "done", 600.0)])
    part, whole = (evaluate([truth], [run], exhaustive=e).report for e in (False, True))
    assert (part["truth"]["recordings"], whole["truth"]["recordings"]) == (1, 2)
    counts = [r["detectors"][0]["classes"]["rumble"]["criteria"]["iou30"]["false"] for r in (part, whole)]
    assert counts == [0, 1] and whole["truth"]["hours"] == pytest.approx(1 / 3)


def test_searched_spans_limit_the_hours_and_the_events(tmp_path):
    truth = listed(tmp_path / "truth.csv", [row(A, 10, 20), row(A, 500, 510)])
    run = run_folder(tmp_path / "run", [row(A, at, at + 10, score=0.9) for at in (10, 50, 700)], [(A, "done", 3600.0)])
    spans = tmp_path / "spans.csv"
    spans.write_text(f"recording,start_s,end_s\n{A},0,30\n{A},20,90\n")
    report = evaluate(truth, run, searched=spans).report
    figures = report["detectors"][0]["classes"]["rumble"]["criteria"]["iou30"]
    assert (figures["hits"], figures["false"], figures["ignored"], figures["events"]) == (1, 1, 1, 1)
    assert report["truth"]["hours"] == pytest.approx(90 / 3600)
    assert any("1 true events lie outside the searched spans" in note for note in report["notes"])


def test_labels_that_are_no_class_are_named_with_the_nearest_class(tmp_path):
    run = run_folder(tmp_path / "run", [row(A, 10, 20, score=0.9)], [(A, "done", 600.0)])
    truth = listed(tmp_path / "truth.csv", [row(A, 10, 20, "rumbel")])
    with pytest.raises(LoxoError, match=r"'rumbel' \(1; the nearest is 'rumble'\).*--labels rumbel=rumble.*--classes"):
        evaluate(truth, run)
    report = evaluate(truth, run, labels={"rumbel": "rumble"}).report
    assert report["detectors"][0]["classes"]["rumble"]["criteria"]["iou30"]["hits"] == 1
    assert evaluate(truth, run, classes=["rumbel"]).report["truth"]["classes"]["rumbel"]["events"] == 1
    both = listed(tmp_path / "both.csv", [row(A, 10, 20), row(A, 30, 40, "rumbel")])
    assert any("--labels rumbel=rumble" in note for note in evaluate(both, run).report["notes"])


def test_a_table_of_a_review_with_undecided_events_is_no_truth(tmp_path, tables):
    table = tmp_path / "reviewed.selections.txt"
    events = events_frame([row(A, 10, 20)]).assign(undecided=3)
    write_raven(events, table, extra={"undecided": "Undecided"})
    with pytest.raises(LoxoError, match=r"reviewed.selections.txt: .* not decided.*calibrate --review"):
        evaluate(table, tables[1], hours=1.0)
    write_raven(events[:0], table, extra={"undecided": "Undecided"})
    with pytest.raises(LoxoError, match="not decided"):
        evaluate(table, tables[1], hours=1.0)
    write_raven(events.assign(undecided=0), table, extra={"undecided": "Undecided"})
    assert evaluate(table, tables[1], hours=1.0).report["truth"]["classes"]["rumble"]["events"] == 1


def test_recordings_are_found_by_other_names():
    index = Index(["L:\\elp\\a\\x.wav", "x.wav", "b/y.WAV", "c/y.wav"])
    assert index.names == ["L:\\elp\\a\\x.wav", "b/y.WAV", "c/y.wav"]
    assert index.find(["/home/a/x.flac", "/d/c/y.wav", "z.wav"]) == {"/home/a/x.flac": 0, "/d/c/y.wav": 2, "z.wav": -1}
    # Of two files with the same name, the one in the folder of the truth is chosen.
    assert index.find(["/home/a/x.wav", "/home/q/x.wav"]) == {"/home/a/x.wav": 0, "/home/q/x.wav": -1}
    with pytest.raises(LoxoError, match="could be"):
        index.find(["/d/y.wav"])
    with pytest.raises(LoxoError, match="Both"):
        index.find(["/home/p/x.wav", "/home/q/x.wav"])
    with pytest.raises(LoxoError, match="could be"):
        Index(["a/x.wav", "b/x.wav", "x.wav"])


def test_invalid_inputs_give_an_error_in_one_sentence(tmp_path, tables):
    truth, found = tables
    other = listed(tmp_path / "other.csv", [row("zz.wav", 1, 2, score=0.5)])
    nameless = tmp_path / "nameless.txt"
    nameless.write_text("Begin Time (s)\tEnd Time (s)\tBegin File\n1\t2\ta.wav\n")
    for arguments, fault in (
        (([truth], []), "nothing to evaluate"),
        (([tmp_path / "none.txt"], [found]), "no such table"),
        (([truth], [other]), "no recording of the truth"),
        (([nameless], [found]), "--label"),
    ):
        with pytest.raises(LoxoError, match=fault):
            evaluate(*arguments)
    for options, fault in (
        ({"hours": 0.0}, "more than 0"),
        ({"iou": [1.5]}, "intersection"),
        ({"iou": []}, "at least one"),
    ):
        with pytest.raises(LoxoError, match=fault):
            evaluate([truth], [found], **options)


# -- the command


def test_the_command_writes_page_and_json_in_both_forms(tmp_path, tables):
    truth, found = tables
    folder = tmp_path / "card"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, seconds in ((A, 240), (B, 120)):
        soundfile.write(folder / name, rng.normal(0, 0.01, seconds * 1000), 1000)
    page, figures = tmp_path / "page.html", tmp_path / "figures.json"
    options = ["--recordings", str(folder), "--json", str(figures), "--html", str(page)]
    result = CliRunner().invoke(app, ["evaluate", "--truth", str(truth), "--detections", str(found), *options])
    assert result.exit_code == 0, result.output
    assert "rumble, 3 events" in result.output and "one-to-one" in result.output and "0.56" in result.output
    report = json.loads(figures.read_text())
    assert report["truth"]["hours"] == pytest.approx(0.1) and report["detectors"][0]["mean_ap"] == pytest.approx(5 / 9)
    text = page.read_text()
    assert_self_contained(page)
    assert text.count("<svg") == 3 + 4 and text.count("<audio ") == 4  # one miss, three false positives
    assert "found.csv finds 2 of 3 rumbles, with 3 false positives" in text and "recordings (6 min)." in text
    assert "1 recordings" not in text and "1 events" not in text and f"1 min 40 s into {A}" in text
    # Positional paths are detections; with --detections they are tables of the truth.
    several = CliRunner().invoke(app, ["evaluate", "--truth", str(truth), str(found), str(found), "--hours", "1"])
    assert several.exit_code == 0 and "(2)" in several.output
    more = CliRunner().invoke(app, ["evaluate", "--truth", str(truth), str(truth), "--detections", str(found)])
    assert more.exit_code == 0 and "counted once" in more.output and "--recordings or --hours" in more.output


def test_a_page_without_recordings_and_without_detections(tmp_path, tables):
    found = listed(tmp_path / "none.csv", [])
    page = tmp_path / "page.html"
    result = CliRunner().invoke(
        app, ["evaluate", "--truth", str(tables[0]), str(found), str(tables[1]), "--html", str(page)]
    )
    assert result.exit_code == 0, result.output
    assert "No spectrograms of" in page.read_text() and "unknown hours" in page.read_text()


def test_a_call_that_each_channel_contains_is_counted_once(tmp_path):
    truth = raven(tmp_path / "truth.txt", [row(A, 10, 20), row(A, 100, 110)])
    spans = ((10, 20, 0.6, 1), (10.5, 20, 0.9, 2), (100, 110, 0.8, 1), (106, 116, 0.7, 2), (300, 310, 0.5, 1))
    run = run_folder(tmp_path / "run", [row(A, *span, score=s) for *span, s, _ in spans], [(A, "done", 3600.0)])
    events = pd.read_csv(run / "events.csv")
    events.assign(channel=[channel for *_, channel in spans]).to_csv(run / "events.csv", index=False)
    report = evaluate([truth], [run], exhaustive=True).report
    criterion = report["detectors"][0]["classes"]["rumble"]["criteria"]["iou30"]
    assert any("1 event(s) that another channel contains" in note for note in report["notes"])
    # (106, 116) shares less than half with (100, 110): another call, and false here
    assert (criterion["hits"], criterion["false"]) == (2, 2)
