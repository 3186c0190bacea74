"""The page and what lies beside it, as a user gets them."""

import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
from pages import assert_self_contained
from report_runs import event, recording, season, write_run

from loxo import cli
from loxo.audio.roots import remember
from loxo.errors import LoxoError
from loxo.report.report import report
from loxo.runs.read import Places, read_run


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Two sites with sound, of which one recording is gone: (run folder, figures folder, report)."""
    folder = tmp_path_factory.mktemp("sound")
    names = ["a_20200101_000000.wav", "b_20200101_060000.wav", "b_20200102_060000.wav"]
    rng = np.random.default_rng(0)
    for name in names[:2]:
        soundfile.write(folder / name, 0.01 * rng.standard_normal(120 * 4000), 4000)
    paths = [str(folder / name) for name in names]
    rows = [recording(path, 120 / 3600) for path in paths]
    rows[0]["notes"] = ["a.wav: recovered: its header does not state the duration; all 120.0 s in the file were read."]
    events = [event(path, start, score=start / 100) for path in paths for start in (30.0, 60.0, 90.0)]
    events += [event(paths[0], 20.5, "gunshot", 0.8, 0.6)]
    run = write_run(folder / "run", rows, events)
    return report(run, folder / "out" / "page.html", figures=folder / "figures")


def test_the_page_loads_nothing(sound):
    page = assert_self_contained(sound.page)
    words = " ".join(page.words)
    assert ("Survey report: run" in words and "1–2 Jan 2020" in words.replace("1 – 2", "1–2")) or "Jan 2020" in words
    assert "svg" in page.tags and "table" in page.tags


def test_tables_and_figures_are_written_next_to_the_page(sound):
    names = {path.name for path in sound.page.parent.iterdir()}
    tables = ("effort", "gaps", "problems", "rates", "months", "hours", "detections", "occasions", "history")
    assert names == {"page.html", "page.methods.txt", *(f"page.{name}.csv" for name in tables)}
    rates = pd.read_csv(sound.page.with_suffix(".rates.csv")).set_index(["label", "site"])
    assert rates.loc[("rumble", "b"), "events"] == 6 and rates.loc[("rumble", "all sites"), "events"] == 9
    assert rates.loc[("rumble", "b"), "listed_per_day"] == 24 * 6 / (240 / 3600)
    hours = pd.read_csv(sound.page.with_suffix(".hours.csv"))
    assert hours[["site", "date", "hour", "rumble"]].to_numpy().tolist() == [
        ["a", "2020-01-01", 0, 3],
        ["b", "2020-01-01", 6, 3],
        ["b", "2020-01-02", 6, 3],
    ]
    stems = {path.stem for path in sound.figures}
    # Nothing was reviewed, and two days with two hours of the clock have no map and no bars.
    assert stems == {"examples-rumble", "examples-gunshot"}
    for path in sound.figures:
        assert path.read_bytes().startswith(b"<?xml" if path.suffix == ".svg" else b"\x89PNG")


def test_recovered_recordings_are_counted_and_listed(sound):
    words = " ".join(assert_self_contained(sound.page).words)
    assert "1 recovered, 0 noted" in words and "its header does not state the duration" in words


def test_missing_recordings_are_listed_and_other_events_are_shown(sound):
    text = sound.page.read_text()
    assert "b_20200102_060000.wav: the recording was not found" in text
    assert "strongest" in text and "30 s into a_20200101_000000.wav" in text
    assert text.count("<audio ") == text.count("data:audio/flac;base64,") == 7  # events of recordings that exist
    assert "<b>0.30</b>" not in text and "<b>0.30 · 1 Jan 2020, 00:00:30</b>" in text
    assert any("1 recording " in note and "--recordings" in note for note in sound.notes)


def test_recordings_on_a_web_server_are_read_by_range_and_an_unreachable_server_gets_one_request(serve, tmp_path):
    name = "a_20200101_000000.wav"
    soundfile.write(tmp_path / name, 0.01 * np.random.default_rng(0).standard_normal(1200 * 4000), 4000)
    data = (tmp_path / name).read_bytes()
    server = serve({f"/{name}": data})
    gone = [f"http://127.0.0.1:1/{hour}_20200102_0{hour}0000.wav" for hour in range(3)]
    urls = [f"{server.url}/{name}", *gone]
    events = [event(url, 600.0 + start, score=start / 100) for url in urls for start in (20.0, 60.0)]
    run = write_run(tmp_path / "run", [recording(url, 1200 / 3600) for url in urls], events)
    assert "no request was sent to it" in report(run, tmp_path / "page.html").page.read_text() and not server.requests
    remember(urls)
    made = report(run, tmp_path / "page.html")
    text = made.page.read_text()
    assert f"into {name}" in text and server.bytes_sent < len(data) / 2
    assert text.count("127.0.0.1:1 did not answer for another recording") == 2
    assert_self_contained(made.page)

    copies = tmp_path / "copies"  # a copy at hand is taken, and nobody asked
    copies.mkdir()
    (copies / "2_20200102_020000.wav").write_bytes(data)
    found = Places(read_run(run), copies)
    assert found.find(gone[2]) == copies / "2_20200102_020000.wav" and found.find(gone[1]) is None


def test_the_same_run_gives_the_same_page(tmp_path):
    run = season(tmp_path / "run", sites=1, days=9)
    pages = [report(run, tmp_path / name / "page.html").page.read_bytes() for name in ("one", "other")]
    assert pages[0] == pages[1]


def test_a_report_of_a_season_shows_months_sunrise_and_sunset(tmp_path):
    run = season(tmp_path / "run", sites=2, days=60, hours=8, rate=5)
    options = {"coordinates": "2.2,16.5", "time_zone": "Africa/Brazzaville"}
    made = report(run, **options, figures=tmp_path / "figures")
    assert made.page == run / "report.html"
    stems = {path.stem for path in made.figures}
    assert {"effort", "months", "activity-rumble", "activity-rumble-by-site", "activity-gunshot"} <= stems
    assert_self_contained(made.page)
    sun = pd.read_csv(run / "report.sun.csv")
    assert sun["sunrise"].str.startswith(("05:", "06:")).all() and sun["sunset"].str.startswith(("17:", "18:")).all()
    effort = pd.read_csv(run / "report.effort.csv")
    record = pd.read_json(run / "run.json", typ="series")
    analysed = sum(row["analysed_s"] for row in record["recordings"]) / 3600
    assert effort["analysed_h"].sum() == pytest.approx(analysed, rel=1e-4)
    hours = pd.read_csv(run / "report.hours.csv")
    assert hours["analysed_h"].sum() == pytest.approx(analysed, rel=1e-4)
    assert hours["rumble"].sum() == (pd.read_csv(run / "events.csv")["label"] == "rumble").sum()
    months = pd.read_csv(run / "report.months.csv")
    every = months[(months["site"] == "all sites") & (months["label"] == "rumble")]
    assert every["month"].tolist() == ["2018-01", "2018-02", "2018-03"]
    assert every["events"].sum() == hours["rumble"].sum()
    assert every["analysed_h"].sum() == pytest.approx(analysed, rel=1e-4)
    light = pd.read_csv(run / "report.daylight.csv")
    rumbles = light[light["label"] == "rumble"]
    assert rumbles["analysed_h"].sum() == pytest.approx(analysed, rel=1e-3)
    assert rumbles["events"].sum() == hours["rumble"].sum()
    by_part = rumbles.groupby("part")[["events", "analysed_h"]].sum()
    assert by_part["events"]["night"] > 2 * by_part["events"]["day"]  # calls are at night


def test_names_with_markup_are_escaped(tmp_path):
    name = "<script>alert(1)</script>$x^2$&\"'_20200101_000000.wav"
    rows = [recording(name, 1), recording("<img src=http://x>.wav", analysed=0, reason="<b onload=x>: empty.")]
    made = report(write_run(tmp_path / "<run>", rows, [event(name, 1.0, "<i>rumble")]), tmp_path / "p.html")
    page = assert_self_contained(made.page)
    assert not page.tags & {"b", "i"} and "<script>alert(1)</script>" in " ".join(page.words)


def test_reports_are_written_without_start_times_events_or_analysed_sound(tmp_path):
    made = report(write_run(tmp_path / "a", [recording("clip.wav", 1)], [event("clip.wav", 3)]))
    assert any("without a start time in their names: 1 of 1" in note for note in made.notes)
    assert "so nothing is shown by date or hour" in made.page.read_text()
    assert pd.read_csv(tmp_path / "a" / "report.rates.csv")["listed_per_day"].iloc[0] == 24
    silent = [recording(f"a_2020010{day}_000000.wav") for day in range(1, 6)]
    text = report(write_run(tmp_path / "b", silent, [])).page.read_text()
    words = "Loxo lists no event in 5 recordings (120 h of sound) of 1 site on 5 days, 1 Jan – 5 Jan 2020."
    assert words in text and "<svg" not in text and "When" not in text
    failed = [recording("a_20200101_000000.wav", analysed=0, reason="empty.")]
    assert "empty." in report(write_run(tmp_path / "c", failed, [])).page.read_text()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"coordinates": "1,2"}, "--time-zone"),
        ({"clock_zone": "UTC"}, "--time-zone"),
        ({"time_zone": "Mars"}, "no time zone"),
        ({"out": "page.pdf"}, "Give a name that ends with .html"),
        ({"recordings": "nowhere"}, "no such folder"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, sentence):
    run = write_run(tmp_path / "run", [recording("a_20200101_000000.wav", 1)], [])
    with pytest.raises(LoxoError, match=sentence):
        report(run, **options)
    assert not list(run.glob("report*"))


def test_the_command_writes_a_report_or_one_sentence_about_a_fault(tmp_path, monkeypatch, capsys):
    run = write_run(tmp_path / "run", [recording("clip.wav", 1)], [])
    for arguments, code, words in (
        ([run], 0, "the report was written to"),
        ([run, run], 0, "comparison.html"),
        ([tmp_path], 2, "not a run folder of `loxo detect`"),
        ([run, run, run], 2, "or two to compare them"),
    ):
        monkeypatch.setattr(sys, "argv", ["loxo", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
            raise SystemExit(0)
        captured = capsys.readouterr()
        assert (stopped.value.code or 0) == code and words in captured.out + captured.err


def test_labels_of_a_stranger_start_no_formula_in_the_tables(tmp_path):
    name, label = "=x_20200101_000000.wav", "=1+1"
    run = write_run(tmp_path / "run", [recording(name)], [event(name, 1.0, label)])
    assert "'=1+1" not in read_run(run).labels
    report(run)
    tables = list(run.glob("report.*.csv"))
    assert len(tables) > 3
    for path in tables:
        assert not any(cell.startswith("=") for line in path.read_text().splitlines() for cell in line.split(",")), path
