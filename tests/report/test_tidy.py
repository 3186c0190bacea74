"""Tables for papers: detection histories, the R script that reads them, standards, and the paragraph for methods."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from report_runs import event, recording, review_run, season, write_run

from loxo.audio.roots import remember
from loxo.errors import LoxoError
from loxo.report.report import report

R_SCRIPT = Path(__file__).parents[2] / "docs" / "occupancy.R"


@pytest.fixture
def folder(tmp_path):
    """Site a: 1 and 2 January; site b: 2 January. One event was rejected, one confirmed, one is undecided."""
    names = ["a_20200101_060000.wav", "a_20200102_000000.wav", "b_20200102_000000.wav"]
    events = [event(names[0], 100), event(names[1], 7200), event(names[2], 3600 * 13, score=0.7)]
    folder = write_run(tmp_path / "run", [recording(names[0], 12), *[recording(name) for name in names[1:]]], events)
    review_run(folder, ["no", "yes", ""])
    return folder


def history(folder, **options):
    report(folder, **options)
    return pd.read_csv(folder / "report.history.csv").set_index(["label", "site"])


def test_histories_have_confirmed_events_zeros_and_unknown_occasions(folder):
    rows = history(folder)
    assert rows.columns.tolist() == ["2020-01-01T00:00", "2020-01-02T00:00"]
    assert rows.loc[("rumble", "a")].tolist() == [0, 1]
    assert np.array_equal(rows.loc[("rumble", "b")], [np.nan, 0], equal_nan=True)
    text = (folder / "report.history.csv").read_text().splitlines()
    assert "rumble,b,NA,0" in text and "rumble,a,0,1" in text
    table = pd.read_csv(folder / "report.occasions.csv").set_index(["label", "site", "occasion"]).sort_index()
    first = table.loc[("rumble", "a", 1)]
    assert (first["analysed_h"], first["listed"], first["reviewed"], first["confirmed"]) == (12, 1, 1, 0)
    assert (first["day_of_year"], first["basis"]) == (1, "confirmed") and np.isnan(first["estimate"])
    assert set(table.loc["gunshot", "basis"]) == {"listed"}


def test_occasions_of_hours_and_of_weeks(folder):
    rows = history(folder, occasion_hours=12)
    assert rows.loc[("rumble", "a")].tolist() == [0, 0, 1, 0]
    assert rows.loc[("rumble", "b")].tolist()[2:] == [0, 0]
    assert history(folder, occasion_hours=168).shape[1] == 1
    for hours in (0, 5, 36):
        with pytest.raises(LoxoError, match="part of a day"):
            report(folder, occasion_hours=hours)


def test_detections_state_verdicts_and_known_probabilities_only(folder):
    report(folder)
    table = pd.read_csv(folder / "report.detections.csv")
    assert table["verdict"].fillna("").tolist() == ["no", "yes", ""]
    assert np.array_equal(table["probability"], [0, 1, np.nan], equal_nan=True)
    assert table["start_time"].iloc[1] == "2020-01-02T02:00:00"


def test_counts_by_occasion_have_intervals_after_a_review(tmp_path):
    run = season(tmp_path / "run", sites=2, days=8, rate=10)
    scores = pd.read_csv(run / "events.csv")["score"]
    rng = np.random.default_rng(0)
    review_run(run, [("yes" if rng.random() < s else "no") if rng.random() < 0.5 else "" for s in scores])
    report(run)
    table = pd.read_csv(run / "report.occasions.csv")
    rumbles = table[(table["label"] == "rumble") & (table["analysed_h"] > 0)]
    assert (rumbles["low"] <= rumbles["estimate"]).all() and (rumbles["estimate"] <= rumbles["high"]).all()
    assert (rumbles["confirmed"] <= rumbles["low"]).all() and (rumbles["high"] <= rumbles["listed"]).all()
    total = pd.read_csv(run / "report.rates.csv").set_index(["label", "site"]).loc[("rumble", "all sites"), "estimate"]
    assert rumbles["estimate"].sum() == pytest.approx(total, rel=0.02)
    assert table.loc[table["analysed_h"] == 0, "detected"].isna().all()


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="needs R (Debian: r-base-core)")
def test_the_r_script_fits_an_occupancy_model(tmp_path):
    """Ten sites, of which seven are used; an event on 60 % of the days at a used site."""
    rng = np.random.default_rng(3)
    names = [[f"s{site}_202001{day:02d}_000000.wav" for day in range(1, 13)] for site in range(10)]
    recordings = [
        recording(name) for site, days in enumerate(names) for day, name in enumerate(days) if site or day > 2
    ]
    known = {row["recording"] for row in recordings}
    events = [event(name, 60.0) for days in names[:7] for name in days if name in known and rng.random() < 0.6]
    run = write_run(tmp_path / "run", recordings, events)
    review_run(run, ["yes"] * len(events))
    report(run)
    result = subprocess.run(
        ["Rscript", R_SCRIPT, run / "report", "rumble"], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines()[:3])
    assert lines["sites"] == "10, occasions 12"
    assert 0.5 < float(lines["psi"].split()[0]) < 0.8 and 0.5 < float(lines["p"].split()[0]) < 0.7
    assert "events per hour" in result.stdout and "No event was reviewed" not in result.stderr
    empty = subprocess.run(["Rscript", R_SCRIPT, run / "report", "whale"], capture_output=True, text=True, timeout=120)
    assert empty.returncode != 0 and "no rows with the label whale" in empty.stderr


@pytest.fixture
def standards(tmp_path):
    """A reviewed run over one recording with sound: (run folder, path of the recording)."""
    path = tmp_path / "a_20200101_060000.wav"
    soundfile.write(path, np.zeros(60 * 4000), 4000)
    remember([path])
    name = str(path)
    rows = [event(name, 10.0, score=0.9), event(name, 30.0, "gunshot", 0.4, 0.5)]
    run = write_run(tmp_path / "run", [recording(name, 60 / 3600), recording("gone_20200101_060000.wav", 1)], rows)
    review_run(run, ["yes", ""])
    made = report(run, standards=True)
    assert any("1 recording was not found and left out of the AOEF file" in note for note in made.notes)
    return run, path


def test_audiovisual_core_names_its_terms(standards):
    table = pd.read_csv(standards[0] / "report.audiovisual-core.csv")
    first = table.iloc[0]
    assert (first["ac:isROIOf"], first["ac:startTime"], first["ac:endTime"]) == (str(standards[1]), 10.0, 14.0)
    assert (first["ac:freqLow"], first["ac:freqHigh"], first["ac:tag"]) == (10.0, 150.0, "rumble")
    assert table["dwc:identificationVerificationStatus"].tolist() == ["confirmed", "unverified"]
    assert first["dwc:eventDate"] == "2020-01-01T06:00:10" and first["dcterms:identifier"].startswith("urn:uuid:")


def test_aoef_has_the_objects_of_its_schema(standards):
    run, path = standards
    content = json.loads((run / "report.aoef.json").read_text())
    data = content["data"]
    assert (content["version"], data["collection_type"]) == ("1.1.0", "annotation_project")
    (audio,) = data["recordings"]
    assert (audio["path"], audio["duration"], audio["samplerate"], audio["channels"]) == (str(path), 60.0, 4000, 1)
    assert (audio["date"], audio["time"]) == ("2020-01-01", "06:00:00")
    first = data["sound_events"][0]
    assert first["geometry"] == {"type": "BoundingBox", "coordinates": [10.0, 10.0, 14.0, 150.0]}
    assert first["recording"] == audio["uuid"] == data["clips"][0]["recording"] and first["features"] == {"score": 0.9}
    tags = {tag["id"]: (tag["key"], tag["value"]) for tag in data["tags"]}
    named = [[tags[number] for number in one["tags"]] for one in data["sound_event_annotations"]]
    assert named == [[("event", "rumble"), ("verdict", "yes")], [("event", "gunshot")]]
    assert data["clip_annotations"][0]["sound_events"] == [one["uuid"] for one in data["sound_event_annotations"]]
    assert data["tasks"][0]["clip"] == data["clips"][0]["uuid"] == data["clip_annotations"][0]["clip"]
    again = report(run, run / "again.html", standards=True).page.with_suffix(".aoef.json")
    assert again.read_bytes() == (run / "report.aoef.json").read_bytes()


def test_aoef_is_read_and_written_again_by_soundevent(standards, tmp_path):
    """The round trip through the library of whombat."""
    io = pytest.importorskip("soundevent.io", reason="needs soundevent")
    project = io.load(standards[0] / "report.aoef.json")
    io.save(project, tmp_path / "again.json")
    (clip,) = io.load(tmp_path / "again.json").clip_annotations
    found = sorted(
        (tuple(one.sound_event.geometry.coordinates), [tag.value for tag in one.tags]) for one in clip.sound_events
    )
    assert found == [((10.0, 10.0, 14.0, 150.0), ["rumble", "yes"]), ((30.0, 80.0, 30.5, 2000.0), ["gunshot"])]


def test_the_methods_state_version_model_thresholds_and_review(folder):
    report(folder)
    text = (folder / "report.methods.txt").read_text()
    for words in (
        "Loxo 0.1.0",
        "0" * 64,
        "overlapped by 50 %",
        "0.6 for rumbles",
        "Chen et al. 2022",
        "arXiv:2202.00874",
    ):
        assert words in text, words
    assert "decided on 2 of 3 listed rumbles and confirmed 1" in text
    assert "How to describe Loxo in your methods" in (folder / "report.html").read_text()
