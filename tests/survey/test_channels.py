"""One channel, the mean of all channels, or each channel of the recordings of a run."""

import csv
import json

import numpy as np
import pytest
import soundfile
from fakes import CHUNK_S, RATE, FakeModel

import loxo
from loxo.detection.detect import RecordingWarning
from loxo.errors import LoxoError
from loxo.report.report import report
from loxo.review.media import Media
from loxo.review.output import export
from loxo.review.session import Session
from loxo.runs.read import read_run
from loxo.runs.scores import read_scores
from loxo.survey.redecode import redecode
from loxo.survey.survey import survey

SECONDS = 2.5 * CHUNK_S
FORMATS = "raven,kaleidoscope"


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    """Calls at 1 s and 10 s in the first channel. The second one has them with opposite polarity, or hum, or calls at
    5 s; the last recording has one channel."""
    folder = tmp_path_factory.mktemp("card")
    time_s = np.arange(round(SECONDS * RATE)) / RATE
    rng = np.random.default_rng(0)

    def calls(*starts):
        within = sum((time_s >= start) & (time_s < start + 1.5) for start in starts)
        return 0.4 * np.sin(2 * np.pi * 40 * time_s) * within + 0.01 * rng.standard_normal(len(time_s))

    good = calls(1, 10)
    hum = 0.9 * np.sin(2 * np.pi * 50 * time_s)
    channels = {"opposite": [good, -good], "hum": [good, hum], "other": [good, calls(5)], "one": [good]}
    for name, values in channels.items():
        soundfile.write(folder / f"{name}.wav", np.stack(values, 1), RATE, subtype="FLOAT")
    return folder


def run(card, out, channel, **options):
    return survey([card], "fake", out, load=FakeModel, channel=channel, keep_scores=True, formats=FORMATS, **options)


def test_each_channel_is_searched_and_its_events_have_its_number(card, tmp_path):
    summary = run(card, tmp_path / "run", "each")
    assert summary.problems == [] and [note for note in summary.notes if "Each folder is a site" not in note] == []
    events = loxo.read_raven(tmp_path / "run/events.selections.txt", extra={"channel": "Channel"})
    found = {
        name: [(round(row["start_s"]), int(row["channel"])) for row in rows.to_dict("records")]
        for name, rows in events.groupby(events["recording"].str.extract(r"(\w+)\.wav$")[0])
    }
    assert found["opposite"] == [(1, 1), (1, 2), (10, 1), (10, 2)]
    assert found["other"] == [(1, 1), (5, 2), (10, 1)]
    assert found["one"] == [(1, 1), (10, 1)]
    assert [place for place in found["hum"] if place[1] == 1] == [(1, 1), (10, 1)]
    table = (tmp_path / "run/tables/other.selections.txt").read_text().splitlines()
    assert [line.split("\t")[2] for line in table[1:]] == ["1", "2", "1"]
    lines = [line.split(",") for line in (tmp_path / "run/events.csv").read_text().splitlines()]
    assert lines[0][-1] == "channel" and {line[-1] for line in lines[1:]} == {"1", "2"}
    lines = [line.split(",") for line in (tmp_path / "run/kaleidoscope.csv").read_text().splitlines()]
    assert {line[3] for line in lines[1:]} == {"0", "1"}
    assert len(read_run(tmp_path / "run").events) == len(events)
    labels = read_scores(tmp_path / "run", card / "other.wav").labels
    assert labels == ("channel 1: rumble", "channel 1: gunshot", "channel 2: rumble", "channel 2: gunshot")


def test_the_mean_is_the_default_and_a_note_names_what_it_hides(card, tmp_path):
    summary = survey([card], "fake", tmp_path / "run", load=FakeModel)
    assert summary.problems == []
    notes = {
        row["recording"]: row["notes"] for row in json.loads((tmp_path / "run/run.json").read_text())["recordings"]
    }
    assert [len(notes[str(card / f"{name}.wav")]) for name in ("opposite", "hum", "other", "one")] == [1, 1, 0, 0]
    assert "opposite polarity" in notes[str(card / "opposite.wav")][0]
    assert "channel 2 is the loudest" in notes[str(card / "hum.wav")][0]
    assert "Each folder is a site: card" in summary.notes[0]
    assert sorted(summary.notes[1:]) == sorted(note for of_one in notes.values() for note in of_one)
    assert "channel" not in (tmp_path / "run/events.csv").read_text().splitlines()[0]


def test_one_channel(card, tmp_path):
    assert [round(start) for start in loxo.detect(card / "hum.wav", FakeModel(), channel=1)["start_s"]] == [1, 10]
    summary = run(card, tmp_path / "run", "2")
    ((path, sentence),) = summary.problems
    assert path == card / "one.wav"
    assert sentence == f"{path}: there is no channel 2: the recording has one channel. Use --channel mix or each."
    assert set(loxo.read_raven(tmp_path / "run/events.selections.txt", extra={"c": "Channel"})["c"]) == {2}


@pytest.mark.parametrize("channel", ["mix", "each", 2])
def test_the_results_do_not_depend_on_shards_and_workers(card, tmp_path, channel):
    run(card, tmp_path / "a", channel)
    run(card, tmp_path / "b", channel, shard_minutes=CHUNK_S / 60, workers=2)
    for name in ("events.csv", "events.selections.txt", "kaleidoscope.csv", "run.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("channel", ["mix", "each", 2])
def test_kept_scores_of_channels_give_the_same_events(card, tmp_path, channel):
    run(card, tmp_path / "a", channel)
    redecode(tmp_path / "a", tmp_path / "b", formats=FORMATS)
    for name in ("events.csv", "events.selections.txt", "kaleidoscope.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_review_and_report_use_the_channel_of_an_event(card, tmp_path):
    run(card, tmp_path / "run", "each")
    session = Session(tmp_path / "run", "ann")
    media = Media(session)
    details = [session.detail(row) for row in range(len(session.names))]
    events = {(one["recording"], round(one["start_s"]), one["channel"]): one for one in details}
    first, second = events["other.wav", 1, 1], events["other.wav", 5, 2]
    for one in (first, second):
        shown = (one["source"], "250", one["start_s"], one["end_s"], one["channel"])
        assert media.picture(*shown) == media.picture(*shown)
        session.act([{"row": one["row"], "verdict": "yes"}])
    with pytest.warns(RecordingWarning, match="opposite polarity"):
        assert loxo.detect(card / "opposite.wav", FakeModel()).empty  # the mean of the two channels is silent
    sound = np.frombuffer(media.sound(events["opposite.wav", 1, 2]["source"], 1.0, 2.0, 1, False, 2)[44:], np.int16)
    assert np.abs(sound).max() > 1000
    head = media.picture(*shown)
    assert b'"labels": ["rumble", "gunshot"]' in head[: 4 + int.from_bytes(head[:4], "little")]
    drawn = {"label": "rumble", "start_s": 12.0, "end_s": 13.0, "low_hz": 20, "high_hz": 60}
    session.act([{"source": first["source"], "channel": 1, **drawn}])
    session.close()
    export(tmp_path / "run")
    reviewed = loxo.read_raven(tmp_path / "run/reviewed/tables/other.selections.txt", extra={"c": "Channel"})
    assert list(reviewed["c"]) == [1, 2, 1]
    for name in ("events.csv", "decisions.csv"):
        lines = list(csv.DictReader((tmp_path / "run/reviewed" / name).read_text().splitlines()))
        assert {line["channel"] for line in lines} == {"1", "2"} and all(None not in line for line in lines)
    report(tmp_path / "run", tmp_path / "report.html")
    assert (tmp_path / "report.html").is_file()


def test_a_run_is_not_resumed_with_another_channel(card, tmp_path):
    run(card, tmp_path / "run", "each")
    assert run(card, tmp_path / "run", "each").resumed == 4
    with pytest.raises(LoxoError, match="channel 'each' is now 2"):
        run(card, tmp_path / "run", 2)
    with pytest.raises(LoxoError, match="must be mix, each, or a number from 1"):
        run(card, tmp_path / "other", "left")
