import matplotlib.image
import numpy as np
import pytest

from loxo.events.table import empty_events, events_frame
from loxo.report.plots import draw_detections

RATE = 4000


@pytest.mark.parametrize("events", ["some", "none"])
def test_a_picture_is_written_whole(tmp_path, events):
    rng = np.random.default_rng(0)
    samples = (0.01 * rng.standard_normal(8 * RATE)).astype(np.float32)
    row = {"recording": "a.wav", "start_s": 1.0, "end_s": 4.0, "label": "rumble", "score": 0.9}
    row |= {"low_hz": 10.0, "high_hz": 150.0}
    table = events_frame([row]) if events == "some" else empty_events()
    scores = np.zeros((2, 25), np.float32)
    path = draw_detections(
        samples, RATE, table, scores, ("rumble", "gunshot"), 0.32, tmp_path / "picture.png", truth=table, title="a"
    )
    picture = matplotlib.image.imread(path)
    assert picture.shape[0] > 500 and picture.shape[1] > 1000 and picture.std() > 0.05
    assert [item.name for item in tmp_path.iterdir()] == ["picture.png"]


def test_a_recording_shorter_than_a_window_is_drawn(tmp_path):
    samples = np.sin(np.arange(RATE // 2)).astype(np.float32)
    draw_detections(samples, RATE, empty_events(), np.zeros((2, 2)), ("rumble", "gunshot"), 0.32, tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 10_000
