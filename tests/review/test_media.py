"""What is shown and played: frequencies and times where they belong."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loxo.audio.playback import OUTPUT_RATE, PITCH, sound
from loxo.audio.recording import probe
from loxo.errors import LoxoError
from loxo.live.clips import event_of, write_clips
from loxo.review.media import Media
from loxo.review.session import Session
from loxo.review.spectrogram import BANDS, overview, picture, thumbnail

RATE = 4000


@pytest.fixture
def tone(tmp_path):
    """Faint noise with a tone of 20 Hz and its second harmonic from 20 to 25 s, and a click at 30 s."""
    t = np.arange(40 * RATE) / RATE
    samples = 0.001 * np.random.default_rng(0).standard_normal(len(t))
    inside = (t >= 20) & (t < 25)
    samples[inside] += 0.1 * np.sin(2 * np.pi * 20 * t[inside]) + 0.05 * np.sin(2 * np.pi * 40 * t[inside])
    samples[30 * RATE : 30 * RATE + 40] = 0.5
    path = tmp_path / "tone.wav"
    soundfile.write(path, samples, RATE)
    return probe(path)


@pytest.mark.parametrize("start", [0.0, 3.7, 18.0])
def test_a_call_is_at_the_right_time_and_frequency_in_the_picture(tone, start):
    shown = picture(tone, BANDS["250"], start, start + 22, 0.04)
    assert shown.start_s == start
    row = round(20 / shown.row_hz - 0.5)
    seconds = shown.start_s + np.arange(shown.levels.shape[1]) * shown.hop_s
    loud = (shown.levels[row - 2 : row + 3].max(axis=0) > 200) & (seconds < 28)
    assert seconds[loud].min() == pytest.approx(max(20, start), abs=0.5)
    assert seconds[loud].max() == pytest.approx(min(25, seconds[-1]), abs=0.55)
    column = int((22 - start) / shown.hop_s)
    assert (shown.levels[:, column].argmax() + 0.5) * shown.row_hz == pytest.approx(20, abs=1.5)


@pytest.mark.parametrize("band", BANDS)
def test_pictures_have_the_band_and_the_size_of_the_request(tone, band):
    shown = picture(tone, BANDS[band], -5.0, 55.0, 0.04)
    rows, columns = shown.levels.shape
    assert shown.start_s == 0.0 and rows <= BANDS[band].rows
    assert rows * shown.row_hz == pytest.approx(min(BANDS[band].high_hz, RATE / 2))
    assert columns * shown.hop_s == pytest.approx(40, abs=1)
    click = shown.levels[:, round(30 / shown.hop_s)]
    assert click.mean() > shown.levels.mean() + 30
    small = thumbnail(shown, 200, 90)
    assert small.shape == (90, 200) and small.max() == shown.levels.max()


def heard(wav: bytes) -> tuple[np.ndarray, float]:
    """The samples, and the strongest frequency between 5 Hz and 1 kHz."""
    samples, rate = soundfile.read(io.BytesIO(wav))
    assert rate == OUTPUT_RATE
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / rate)
    power[(hertz < 5) | (hertz > 1000)] = 0
    return samples, hertz[power.argmax()]


@pytest.mark.parametrize("speed", [1, 4, 8, 16])
def test_faster_sound_is_higher_and_shorter(tone, speed):
    samples, strongest = heard(sound(tone, 20.0, 25.0, speed=speed))
    assert len(samples) == 5 * OUTPUT_RATE // speed
    assert strongest == pytest.approx(20 * speed, rel=0.02)
    assert 0.5 < np.abs(samples).max() <= 1


def test_pitch_shifted_sound_is_higher_at_the_original_duration_and_keeps_harmonics(tone):
    samples, strongest = heard(sound(tone, 20.0, 25.0, pitched=True))
    assert len(samples) == 5 * OUTPUT_RATE
    assert strongest == pytest.approx(20 * PITCH, rel=0.02)
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / OUTPUT_RATE)
    tonal = sum(power[np.abs(hertz - k * 20 * PITCH) < 12].sum() for k in (1, 2))
    assert tonal > 0.9 * power.sum()
    # Where the call begins, it begins in the sound too.
    longer, _ = heard(sound(tone, 15.0, 25.0, pitched=True))
    level = np.abs(longer).reshape(100, -1).max(axis=1)
    assert np.flatnonzero(level > 0.3)[0] / 10 == pytest.approx(5.0, abs=0.3)


def unpacked(message: bytes):
    length = struct.unpack("<I", message[:4])[0]
    head = json.loads(message[4 : 4 + length])
    rows, columns = head["shape"]
    levels = np.frombuffer(message, np.uint8, rows * columns, 4 + length).reshape(rows, columns)
    scores = np.frombuffer(message, np.uint8, -1, 4 + length + rows * columns).reshape(head["score_shape"])
    return head, levels, scores


def test_a_picture_contains_the_frame_scores_of_its_span(run):
    session = Session(run, "Ana")
    media = Media(session)
    around = (0, "250", 21.75, 81.75, None)  # the rumble of 50 to 53.5 s is in the middle
    head, levels, scores = unpacked(media.picture(*around))
    assert levels.shape == tuple(head["shape"]) and head["scores"]["labels"] == ["rumble", "gunshot"]
    steps = head["scores"]["start"] + (np.arange(scores.shape[1]) + 0.5) * head["scores"]["hop"]
    assert steps[0] == pytest.approx(51.75 - 30, abs=0.4) and steps[-1] == pytest.approx(51.75 + 30, abs=0.4)
    assert 50 < steps[np.where(np.abs(steps - 52) < 5, scores[0], 0).argmax()] < 53.5
    assert scores[0].max() == round(0.71 * 255)
    assert media.picture(*around) is media.picture(*around)
    for path in (run / "scores").glob("*.npz"):
        path.unlink()
    head, _, scores = unpacked(Media(session).picture(*around))
    assert "scores" not in head and scores.size == 0
    session.close()


def test_a_long_picture_is_an_overview_and_a_short_one_is_fine(tmp_path):
    quiet, rate = 0.001, 1000
    samples = quiet * np.random.default_rng(0).standard_normal(3600 * rate)
    call = slice(1800 * rate, 1806 * rate)
    samples[call] += 0.1 * np.sin(2 * np.pi * 30 * np.arange(6 * rate) / rate)
    path = tmp_path / "hour.wav"
    soundfile.write(path, samples, rate)
    shown = overview(probe(path), BANDS["250"], 0.0, 3600.0, 750)
    assert shown.levels.shape[1] == 750 and shown.hop_s == pytest.approx(4.8)
    loud = np.flatnonzero(shown.levels[round(30 / shown.row_hz - 0.5)] > 200)
    assert len(loud) and np.abs(shown.start_s + loud * shown.hop_s - 1803).max() < 6


def test_the_overview_of_a_recording_has_its_events_and_scores(run):
    session = Session(run, "Ana")
    session.act([{"row": 0, "verdict": "yes"}, {"row": 1, "verdict": "no"}])
    found = Media(session).overview(0, None)
    width = 150 / found["columns"]
    marks = {round(part * width): letter for part, letter in found["marks"].items()}
    assert marks == {12: "y", 50: "n", 80: "-", 110: "-"}
    place = round(52 / 150 * len(found["scores"]))
    assert found["scores"][place] == round(0.71 * 255) and len(found["scores"]) <= found["columns"]
    session.close()


def test_moved_recordings_are_found_and_missing_recordings_are_reported(run, made, tmp_path):
    moved = tmp_path / "card" / "deep"
    moved.mkdir(parents=True)
    events = (run / "events.csv").read_text()
    (run / "events.csv").write_text(events.replace(str(made.parent), "/gone"))
    (run / "run.json").write_text((run / "run.json").read_text().replace(str(made.parent), "/gone"))
    for table in (run / "tables").iterdir():
        table.write_text(table.read_text().replace(str(made.parent), "/gone"))
    session = Session(run, "Ana")
    with pytest.raises(LoxoError, match="--recordings"):
        Media(session).picture(0, "250", 0.0, 60.0, None)
    session.close()
    session = Session(run, "Ana", tmp_path / "card")
    with pytest.raises(LoxoError, match="there is no recording of this name in"):
        Media(session).picture(0, "250", 0.0, 60.0, None)
    session.close()
    for recording in (made.parent / "recordings").iterdir():
        (moved / recording.name).symlink_to(recording)
    session = Session(run, "Ana", tmp_path / "card")
    assert len(Media(session).picture(0, "250", 0.0, 60.0, None)) > 10000
    session.close()


def test_a_damaged_recording_is_shown_up_to_the_fault(run, made, tmp_path):
    name = "nn01a_20180126_030000.wav"
    root = tmp_path / "card"
    root.mkdir()
    content = (made.parent / "recordings" / name).read_bytes()
    session = Session(run, "Ana", root)
    session.places.find = lambda recording: root / name
    (root / name).write_bytes(content[: 60 * RATE * 2])  # 60 s
    assert unpacked(Media(session).picture(0, "250", 20.0, 80.0, None))[0]["shape"][1] > 100
    with pytest.raises(LoxoError, match="no sound between these times"):
        Media(session).picture(0, "250", 80.0, 140.0, None)
    (root / name).write_bytes(b"no sound at all")
    with pytest.raises(LoxoError, match="text file, not audio"):
        Media(session).sound(0, 0, 10, 8, False, None)
    session.close()


def clip_of(row, session, folder):
    """Cuts the clip of an event, as a station does, with 5 s around it."""
    event = session.detail(row)
    write_clips(Path(session.recording_of(row)), "nn", [event], [event["name"]], folder)
    return next(path for path in folder.iterdir() if event_of(path) == event["name"])


def test_clips_where_the_recording_is_gone(run, tmp_path):
    """The picture, the thumbnail and the sound of an event come from its clip, at the times of the recording."""
    whole = Session(run, "Ana")
    for row in (0, 2):  # a rumble of 12 to 17 s, a shot of 80 s
        clip_of(row, whole, run / "clips")
    around = (0, "250", 0.0, 60.0, None)
    before = unpacked(Media(whole).picture(*around))
    heard_before = soundfile.read(io.BytesIO(Media(whole).sound(0, 2, 26, 8, False, None)))[0]
    whole.close()
    session = Session(run, "Ana")
    session.places.find = lambda recording: None
    media = Media(session)
    head, levels, _ = unpacked(media.picture(*around))
    assert head["clips"] == [pytest.approx([7.0, 22.0], abs=0.01), pytest.approx([75.0, 85.6], abs=0.01)]
    assert (head["start"], head["hop"], head["shape"]) == tuple(before[0][name] for name in ("start", "hop", "shape"))
    seconds = np.arange(levels.shape[1]) * head["hop"]
    assert levels[:, (seconds < 6) | (seconds > 23)].max() == 0 and before[1][:, seconds > 23].max() > 0
    inside = (seconds > 8) & (seconds < 21)
    difference = levels[:, inside].astype(int) - before[1][:, inside]
    assert (
        np.abs(difference).mean() < 20
        and np.corrcoef(levels[:, inside].ravel(), before[1][:, inside].ravel())[0, 1] > 0.95
    )
    thumb, levels, _ = unpacked(media.thumb(2, "2000"))
    loud = levels[10:].mean(axis=0).argmax() * thumb["hop"] + thumb["start"]
    assert loud == pytest.approx(80, abs=0.3)
    samples = soundfile.read(io.BytesIO(media.sound(0, 2, 26, 8, False, None)))[0]
    assert len(samples) == len(heard_before)
    call = slice(12 * OUTPUT_RATE // 8 - 2 * OUTPUT_RATE // 8, 15 * OUTPUT_RATE // 8)
    assert np.corrcoef(samples[call], heard_before[call])[0, 1] > 0.99
    with pytest.raises(LoxoError, match="no clip of an event is between these times"):
        media.sound(0, 100, 110, 8, False, None)
    with pytest.raises(LoxoError, match="not found"):  # no clip of the other recording
        media.picture(1, "250", 0.0, 60.0, None)
    session.close()


def test_a_clip_that_leads_out_of_the_run_is_not_opened(run, tmp_path):
    session = Session(run, "Ana")
    clip = clip_of(0, session, run / "clips")
    clip.rename(tmp_path / "elsewhere.wav")
    clip.symlink_to(tmp_path / "elsewhere.wav")
    session.places.find = lambda recording: None
    with pytest.raises(LoxoError, match="a symbolic link leads out of"):
        Media(session).picture(0, "250", 0.0, 60.0, None)
    session.close()
