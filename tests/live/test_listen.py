"""`loxo listen`: recordings, gaps, the clock, what is kept; the run folder is that of a survey of the recordings."""

import csv
import json
import os
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import RATE, FakeModel, write

from loxo.audio.filenames import Names
from loxo.audio.recording import RecordingError
from loxo.errors import LoxoError
from loxo.files import escape
from loxo.live import sources
from loxo.live.alerts import Alerts
from loxo.live.clips import MARGIN_S, clips_of, event_of, rename_clips
from loxo.live.listen import listen
from loxo.live.recorder import Recorder, StreamClock, check_site, recording_name
from loxo.live.rules import AlertConfig, Rule
from loxo.live.sources import Gap, Pipe, SourceError, open_source
from loxo.review.confirmed import confirmed_events
from loxo.review.decision_log import DecisionLog, decision_log_path
from loxo.review.session import open_run
from loxo.runs.journal import read_run_journal
from loxo.survey.survey import survey

SECONDS = 100


@dataclass
class Takes:
    """A source that is opened several times: each take is samples, or an error. `between` is called before each."""

    takes: list
    rate: int = RATE
    between: object = None
    opened: list = field(default_factory=list)

    @property
    def again(self):
        return len(self.opened) < len(self.takes)

    def blocks(self):
        self.opened.append(time.monotonic())
        take = self.takes[len(self.opened) - 1]
        if isinstance(take, Exception):
            raise take
        for k in range(0, len(take), 250):
            if self.between is not None:
                self.between(len(self.opened), k)
            yield take[k : k + 250]


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("sound") / "a.wav", SECONDS, seed=3, subtype="PCM_16")
    return soundfile.read(path, dtype="int16")[0]


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(sources, "FIRST_WAIT_S", 0.01)


def run(source, out, **options):
    options = {"site": "a", "segment_minutes": 0.5, **options}
    return listen(source, FakeModel(), out, **options)


def recordings(out):
    return sorted((out / "recordings").glob("*.wav"))


def clips(out):
    return sorted((out / "clips").glob("*.wav"))


def keeping(made, folder):
    """Alerts for all rumbles, to a receiver that never takes them."""
    made.append(Alerts(folder, AlertConfig((Rule("all", labels=("rumble",)),), None, ()), print))
    made[0]._sinks = lambda names: ["kept"]
    made[0].close = lambda: None
    return made[0]


def queued(alerts):
    found = []
    while (message := alerts.outbox.next("kept")) is not None:
        found.append(message[1])
        alerts.outbox.acknowledge("kept", message[0])
    alerts.outbox.close()
    return found


def test_pipe_is_recorded_and_searched(tmp_path, samples):
    raw, out = tmp_path / "raw", tmp_path / "run"
    raw.write_bytes(np.stack([samples * 0, samples], axis=1).astype("<i2").tobytes())
    status = run(Pipe(str(raw), RATE, channels=2, channel=2), out)
    assert len(recordings(out)) == 4 and status.gaps == 0 and status.searched == 4
    assert (np.concatenate([soundfile.read(path, dtype="int16")[0] for path in recordings(out)]) == samples).all()
    survey([out / "recordings"], "fake", tmp_path / "whole", load=FakeModel)
    for name in ("events.csv", *(path.relative_to(out) for path in out.glob("tables/*"))):
        ours, theirs = (Path(folder, name).read_bytes() for folder in (out, tmp_path / "whole"))
        assert ours == theirs
    state = json.loads((out / "live.json").read_text())
    assert state["samples"] == len(samples) and state["announced"] > 10 and state["site"] == "a"


def test_device_that_comes_back(tmp_path, samples):
    """A gap ends the recording, is listed, and is no effort."""
    out, notes = tmp_path / "run", []
    source = Takes([samples[:20_000], SourceError("unplugged"), samples[20_000:40_000]])
    status = run(source, out, on_note=notes.append)
    assert [soundfile.info(path).frames for path in recordings(out)] == [20_000, 20_000]
    assert status.gaps == 1 and "the source has ended" in (out / "gaps.csv").read_text()
    assert sum(entry.analysed_s for entry, _ in read_run_journal(out)) == 40.0
    assert any("Sound is missing" in note for note in notes)
    with pytest.raises(SourceError, match="gone"):
        run(Takes([SourceError("gone")]), out)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes on this system")
def test_named_pipe_that_ends_and_is_opened_again(tmp_path, samples):
    """A real pipe: its writer ends in the middle of a sample, and another one begins."""

    @dataclass
    class Twice(Pipe):
        opened: int = 0

        @property
        def again(self):
            assert super().again
            return self.opened < 2

        def blocks(self):
            self.opened += 1
            return super().blocks()

    fifo, out, notes = tmp_path / "fifo", tmp_path / "run", []
    os.mkfifo(fifo)

    def write_sound():
        for part, rest in ((samples[:20_000], b"\1"), (samples[20_000:45_000], b"")):
            with fifo.open("wb") as file:
                file.write(part.astype("<i2").tobytes() + rest)
            time.sleep(0.3)

    writer = threading.Thread(target=write_sound)
    writer.start()
    status = run(Twice(str(fifo), RATE), out, on_note=notes.append)
    writer.join()
    sounds = [soundfile.read(path, dtype="int16")[0] for path in recordings(out)]
    assert (np.concatenate(sounds) == samples[:45_000]).all() and len(sounds[0]) == 20_000
    assert status.gaps == 1 and "the source has ended" in (out / "gaps.csv").read_text() and len(notes) == 1


def test_clock_that_is_set(tmp_path, samples):
    """Recordings from before the clock was set get the right time, in their names and tables. The decisions of a
    review follow them."""
    out, wrong, decided = tmp_path / "run", [-86400.0], []

    def between(take, k):
        if k == 50_000:
            # The source is ahead; a recording is searched when no sound waits.
            while len(recordings(out)) < 2 or not list(read_run_journal(out)):
                time.sleep(0.01)
            time.sleep(0.5)
            opened, names = open_run(out)
            decided.append(opened.events.iloc[0])
            log = DecisionLog(decision_log_path(out, "Ana"), "Ana")
            drawn = {"event": "drawn-1", "recording": decided[0].recording, "start_s": 1.0, "end_s": 2.0}
            log.add([{"event": names[0], "verdict": "yes"}, {**drawn, "verdict": "yes", "label": "rumble"}])
            log.close()
            wrong[0] = 0.0

    def wall():
        return time.time() + wrong[0]

    made: list[Alerts] = []
    options = {"clock": partial(StreamClock, wall=wall), "alerts": partial(keeping, made)}
    status = run(Takes([samples], between=between), out, **options)
    assert status.corrections_s == [pytest.approx(86400, abs=1)]
    names = [path.name for path in recordings(out)]
    start = datetime.now().astimezone()
    days = {name.split("_")[1] for name in names}
    assert days <= {f"{start:%Y%m%d}", f"{datetime.fromtimestamp(time.time() + 200):%Y%m%d}"}
    entries = {entry.recording: rows for entry, rows in read_run_journal(out)}
    assert sorted(entries) == [str(path) for path in recordings(out)]
    survey([out / "recordings"], "fake", tmp_path / "whole", load=FakeModel)
    assert (out / "events.csv").read_bytes() == (tmp_path / "whole" / "events.csv").read_bytes()
    assert sorted(path.name for path in out.glob("tables/*")) == sorted(
        path.name for path in (tmp_path / "whole").glob("tables/*")
    )
    with (out / "events.csv").open() as file:
        rumbles = sum(row["label"] == "rumble" for row in csv.DictReader(file))
    assert rumbles <= len(queued(made[0])) <= rumbles + 4  # none twice under its new name
    confirmed = confirmed_events(out)
    opened, names = open_run(out)
    places = dict(zip(names, opened.events.itertuples(), strict=True))
    name = next(name for name in confirmed if name != "drawn-1")
    assert len(confirmed) == 2 and set(confirmed.values()) == {places[name].recording}
    assert places[name].recording != decided[0].recording and places[name].start_s == decided[0].start_s
    (line,) = (out / "clock.jsonl").read_text().splitlines()
    assert json.loads(line)["correction_s"] == status.corrections_s[0] and json.loads(line)["recordings"]


def test_stream_clock():
    """Lost samples are a gap, a slow clock is drift, bursts are neither."""
    now = [100.0]
    clock = StreamClock(1000, monotonic=lambda: now[0], wall=lambda: now[0] + 1e9)

    def hear(seconds, late, position):
        for k in range(int(seconds)):
            now[0] += 1.0
            clock.add(now[0] + (late if k % 5 else 0.0), position + 1000 * (k + 1), 1000)
        return position + 1000 * int(seconds)

    position = hear(20, 4.0, 0)  # late, but caught up every five seconds
    assert clock.missing_s() == 0 and clock.start == 1e9 + 100
    now[0] += 0.5
    position = hear(20, 0.0, position)
    clock.correct_drift()
    assert clock.drift_s == pytest.approx(0.5) and clock.time_of(position) == pytest.approx(1e9 + now[0])
    now[0] += 3.0
    hear(20, 0.0, position)
    assert clock.missing_s() == pytest.approx(3.0) and clock.jump() == 0


def test_sound_that_waited():
    """Eight seconds of sound waited in a pipe. A stream that is faster than real time is none that waited."""
    now = [100.0]
    clock = StreamClock(1000, monotonic=lambda: now[0], wall=lambda: now[0])
    for k in range(30):
        now[0] += 0.1 if k < 10 else 1.0
        clock.add(now[0], 1000 * (k + 1), 1000)
        if k == 15:
            assert clock.waited_s() == 0
    assert clock.waited_s() == pytest.approx(8.1)
    clock.begin_earlier(8.1)
    assert clock.time_of(30_000) == pytest.approx(now[0]) and clock.waited_s() == 0
    fast = StreamClock(1000, monotonic=lambda: now[0], wall=lambda: now[0])
    for k in range(600):
        now[0] += 1 / 60
        fast.add(now[0], 1000 * (k + 1), 1000)
    assert fast.waited_s() == 0


def test_recording_is_renamed_while_it_is_written(tmp_path):
    recorder = Recorder(tmp_path, "a", RATE, 100)
    recorder.write(np.ones(500, np.int16), 0, lambda sample: 1e9)
    before = recorder.rename(1e9 - 5)
    recorder.write(np.ones(500, np.int16), 500, lambda sample: 1e9)
    (segment,) = recorder.close()
    assert segment.path != before and not before.exists() and segment.start == 1e9 - 5
    assert soundfile.info(segment.path).frames == 1000 and recorder.rename(0) is None


def test_clips_of_events(tmp_path, samples):
    """With `keep` "events", a clip of each event stays, with its sound; with "none", nothing."""
    sound = np.concatenate([np.zeros(30_000, np.int16), samples[:30_000]])
    for keep in ("none", "events"):
        out = tmp_path / keep
        run(Takes([sound]), out, keep=keep)
        assert not recordings(out)
        entries = [entry for entry, _ in read_run_journal(out)]
        assert sum(entry.analysed_s for entry in entries) == 60 and sum(entry.events for entry in entries) > 3
    opened, names = open_run(out)
    assert {event_of(path) for path in clips(out)} == set(names) and not (tmp_path / "none" / "clips").exists()
    event = dict(zip(names, opened.events.itertuples(), strict=True))[event_of(clips(out)[0])]
    start = Names().parse(clips(out)[0].name).start.timestamp()
    offset = start - Names().parse(event.recording).start.timestamp()
    assert offset == pytest.approx(max(event.start_s - MARGIN_S, 0), abs=0.002)
    assert (pytest.approx(offset), clips(out)[0]) in clips_of(event.recording, names, out)
    part = soundfile.read(clips(out)[0], dtype="int16")[0]
    first = round(offset * RATE)  # in the second recording
    assert len(part) > RATE and (part == samples[first : first + len(part)]).all()
    rename_clips(out / "clips", "a", {event_of(clips(out)[0]): "f" * 16}, 3600)
    (renamed,) = (out / "clips").glob(f"*_{event.label}_{'f' * 16}.wav")
    assert Names().parse(renamed.name).start.timestamp() == pytest.approx(start + 3600, abs=0.002)
    assert len(part) / RATE <= event.end_s - event.start_s + 2 * MARGIN_S


def test_recording_whose_clips_cannot_be_cut(tmp_path, samples, monkeypatch):
    """The whole recording stays."""

    def fail(*_):
        raise RecordingError("decoding stopped.")

    monkeypatch.setattr("loxo.live.station.write_clips", fail)
    notes: list[str] = []
    run(Takes([samples[:20_000]]), tmp_path / "run", keep="events", on_note=notes.append)
    assert len(recordings(tmp_path / "run")) == 1 and notes == ["decoding stopped. The whole recording is kept."]


def test_budget(tmp_path, samples):
    """The oldest recordings go first; those with confirmed events stay."""
    out = tmp_path / "run"
    confirmed: list[str] = []

    def first(folder):
        found = sorted(escape(entry.recording) for entry, _ in read_run_journal(folder))
        confirmed[:] = found[:1]
        return {"an event": found[0]}

    run(Takes([np.tile(samples, 2)]), out, budget_gb=130e3 / 1e9, confirmed=first)
    left = [str(path) for path in recordings(out)]
    assert len(left) == 2 and left[0] == confirmed[0]
    assert sum(path.stat().st_size for path in recordings(out)) <= 130e3
    assert len(list(read_run_journal(out))) == 7


def test_budget_of_clips(tmp_path, samples):
    """The oldest clips go first; that of a confirmed event stays."""
    out, kept = tmp_path / "run", []

    def first(folder):
        kept[:] = kept or [event_of(clips(folder)[0])]
        return {kept[0]: "a recording that is not kept"}

    run(Takes([samples]), out, keep="events", budget_gb=150e3 / 1e9, confirmed=first)
    _, names = open_run(out)
    left = [event_of(path) for path in clips(out)]
    assert left[0] == kept[0] and 1 < len(left) < len(names)
    assert sum(path.stat().st_size for path in clips(out)) <= 150e3
    starts = [Names().parse(path.name).start for path in clips(out)[1:]]
    assert max(starts) - min(starts) < timedelta(seconds=60)


def test_alerts_once(tmp_path, samples):
    """Events are announced from the stream; the search of the recording adds none twice."""
    out, made = tmp_path / "run", []
    status = run(Takes([samples]), out, alerts=partial(keeping, made))
    found = queued(made[0])
    with (out / "events.csv").open() as file:
        rumbles = [row for row in csv.DictReader(file) if row["label"] == "rumble"]
    assert len({message.id for message in found}) == len(found) and status.announced >= len(rumbles) > 10
    assert len(rumbles) <= len(found) <= len(rumbles) + 4  # at the ends of recordings, a call may be two
    assert all(message.clip for message in found)


def test_resumes(tmp_path, samples):
    """Recordings that a killed process has not searched, one of them without a right header."""
    out = tmp_path / "run"
    folder = out / "recordings"
    run(Takes([samples[:20_000]]), out)
    soundfile.write(folder / recording_name("a", time.time() - 100), samples[:30_000], RATE, subtype="PCM_16")
    cut = folder / recording_name("a", time.time() - 50)
    soundfile.write(cut, samples[:30_000], RATE, subtype="PCM_16")
    data = bytearray(cut.read_bytes())
    data[40:44] = bytes(4)
    cut.write_bytes(data)
    run(Takes([samples[:1000]]), out)
    assert sorted(entry.analysed_s for entry, _ in read_run_journal(out)) == [1.0, 20.0, 30.0, 30.0]


def test_samples_of_all_formats(tmp_path):
    values = np.array([0, 100, -32768, 32767], np.int16)
    for name, data in (
        ("S16_BE", values.astype(">i2")),
        ("S32_LE", values.astype("<i4") << 16),
        ("FLOAT_LE", (values / 32768).astype("<f4")),
    ):
        path = tmp_path / name
        path.write_bytes(data.tobytes() + b"\1")  # an incomplete sample at the end
        assert np.concatenate(list(Pipe(str(path), RATE, name).blocks())).tolist() == values.tolist()
    (tmp_path / "U8").write_bytes(bytes((128, 0, 255)))
    assert np.concatenate(list(Pipe(str(tmp_path / "U8"), RATE, "U8").blocks())).tolist() == [0, -32768, 32512]


def test_network_stream(tmp_path, samples):
    pytest.importorskip("av")
    from servers import Server

    path = tmp_path / "a.flac"
    soundfile.write(path, samples[:8000], RATE)
    server = Server({"/a.flac": path.read_bytes()})
    source = open_source(f"{server.url}/a.flac", 0, "S16_LE", 1, 1)
    assert np.concatenate(list(source.blocks())).tolist() == samples[:8000].tolist() and source.rate == RATE
    with pytest.raises(SourceError, match="cannot be read"):
        list(open_source(f"{server.url}/none.flac", 0, "S16_LE", 1, 1).blocks())
    server.stop()


def test_microphone(monkeypatch):
    """A sounddevice of the test's own: there is no sound card here."""
    import sys
    from types import SimpleNamespace

    class Stream:
        def __init__(self, callback, finished_callback, **_):
            self.callback, self.finished = callback, finished_callback

        def __enter__(self):
            status = SimpleNamespace(input_overflow=False)
            for _ in range(3):
                self.callback(np.arange(4, dtype=np.int16).tobytes(), 4, None, None)
            self.finished()
            return status

        def __exit__(self, *_):
            pass

    fake = SimpleNamespace(RawInputStream=Stream, PortAudioError=OSError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    source = open_source("mic:2", 4000, "S16_LE", 1, 1)
    plugged = [False, True, False, True]

    def opened(**options):
        if not plugged.pop(0):
            raise OSError("unplugged")
        return Stream(**options)

    fake.RawInputStream = opened
    reader = sources.Reader(source)
    kinds = [type(reader.received.get(timeout=60)[1]) for _ in range(10)]
    assert kinds == [Gap, *[np.ndarray] * 3, Gap, Gap, *[np.ndarray] * 3, Gap]
    fake.RawInputStream = Stream
    assert source.again and np.concatenate(list(source.blocks())).tolist() == [0, 1, 2, 3] * 3
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(LoxoError, match="libportaudio2"):
        list(source.blocks())


def test_refuses(tmp_path):
    for options, sentence in (({"keep": "some"}, "There is no 'some'"), ({"delay_s": -1}, "at least 0")):
        with pytest.raises(LoxoError, match=sentence):
            run(Takes([]), tmp_path / "run", **options)
    for site in ("a b", "../x", ".a"):
        with pytest.raises(LoxoError, match="part of file names"):
            check_site(site)
    with pytest.raises(LoxoError, match="no such pipe"):
        open_source(str(tmp_path / "none"), 4000, "S16_LE", 1, 1)
    with pytest.raises(LoxoError, match="no sample format"):
        Pipe("-", 4000, "S24_3LE")
