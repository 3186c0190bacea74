"""Events of a stream: those of the file, each announced once, at most a little after its delay."""

import numpy as np
import pytest
from fakes import RATE, FakeModel, write

from loxo.audio.recording import read
from loxo.detection.detect import analyse
from loxo.live.detector import GRACE_S, StreamDetector
from loxo.live.matching import unmatched

SECONDS = 150.0


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Samples, and the events of the file."""
    path = write(tmp_path_factory.mktemp("sound") / "a.wav", SECONDS, seed=3, subtype="FLOAT")
    return read(path, RATE), analyse(path, FakeModel()).event_rows


def run(samples, delay_s, block=100):
    detector = StreamDetector(FakeModel(), delay_s=delay_s)
    found = []
    for k in range(0, len(samples), block):
        found += [(event, detector.samples / RATE) for event in detector.push(samples[k : k + block])]
    return found, detector.end()


def times(events):
    return [
        (event["label"], event["start_s"], event["end_s"], pytest.approx(event["score"], abs=1e-6)) for event in events
    ]


def test_events_of_the_file(sound):
    samples, events = sound
    found, left = run(samples, 20.0)
    assert len(events) > 20
    assert sorted(times([event for event, _ in found] + left)) == sorted(times(events))
    late = np.array([at - event["end_s"] for event, at in found])
    assert late.min() >= 20.0 and late.max() <= 20.0 + GRACE_S


@pytest.mark.parametrize("delay_s", [0.0, 0.5])
def test_short_delay(sound, delay_s):
    """Windows that end now: the same hums, at most a little later than the delay."""
    samples, events = sound
    found, left = run(samples, delay_s)
    announced = [event for event, _ in found] + left
    hums = [event for event in events if event["label"] == "rumble"]
    assert not unmatched(hums, [(event["label"], event["start_s"], event["end_s"]) for event in announced])
    late = [at - event["end_s"] for event, at in found]
    assert delay_s <= min(late) and max(late) <= delay_s + GRACE_S


def test_blocks_do_not_matter(sound):
    samples, _ = sound
    one, other = (run(samples[: 50 * RATE], 20.0, block) for block in (370, 50 * RATE))
    assert [event for event, _ in one[0]] + one[1] == [event for event, _ in other[0]] + other[1]


def test_short_streams():
    assert StreamDetector(FakeModel()).end() == []
    detector = StreamDetector(FakeModel())
    assert detector.push(np.zeros(7, np.float32)) == [] and detector.end() == []


def test_two_calls_at_once():
    known = [("rumble", 10.0, 20.0)]
    rows = [
        {"label": "rumble", "start_s": start, "end_s": end} for start, end in ((10.0, 17.0), (13.0, 20.5), (30, 31))
    ]
    assert [row["start_s"] for row in unmatched(rows, known)] == [13.0, 30]
    assert unmatched([rows[2]], [("gunshot", 30.0, 31.0)]) == [rows[2]]
