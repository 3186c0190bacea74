"""The state of a live station for the page of its run."""

import json
import shutil

import pytest
from fakerun import make_run

from loxo.app.live import Live

STATE = {
    **{"site": "bai", "started": "2026-03-01T08:00:00+01:00", "heard": "2026-03-01T09:00:00+01:00", "samples": 1},
    **{"rate": 4000, "announced": 7, "gaps": 2, "gap_s": 41.5, "drift_s": -0.4, "corrections_s": [86400]},
    **{"source": "open", "waiting_alerts": 3, "recordings_mb": 28.8, "free_mb": 51000.0},
}

WATCH = {
    **{"kind": "watch", "started": "2026-03-01T08:00:00+01:00", "written": "2026-03-01T09:10:00+01:00"},
    **{"heard": "2026-03-01T08:00:00+00:00", "folder": "/srv/in", "complete": 12, "growing": 1, "waiting": 3},
    **{"events": 40, "problems": 0, "waiting_alerts": 0, "free_mb": 51000.0},
}


def test_station(tmp_path):
    run = make_run(tmp_path)
    live = Live(run)
    assert live.changes()["station"] is None and live.changes() is None
    (run / "live.json").write_text(json.dumps(STATE))
    live._due_at = 0.0
    station = live.changes()["station"]
    shown = {"announced": 7, "gaps": 2, "drift_s": -0.4, "corrections": 1, "free_mb": 51000.0, "waiting_alerts": 3}
    assert station.items() >= shown.items() and station["name"] == "bai" and station["heard"] == 1772352000.0
    assert not live.read()
    (run / "live.json").write_text(json.dumps(STATE | {"heard": None, "announced": 8}))
    assert live.read() and live.state()["station"]["heard"] is None


def test_watch_in_a_copy(tmp_path):
    """A watched folder: its own numbers, and when the state was written, which a copy of the folder keeps."""
    (tmp_path / "live.json").write_text(json.dumps(WATCH))
    copy = shutil.copytree(tmp_path, tmp_path / "synchronised")
    live = Live(copy)
    live.read()
    station = live.state()["station"]
    shown = {"kind": "watch", "name": "/srv/in", "complete": 12, "growing": 1, "waiting": 3, "events": 40}
    assert station.items() >= shown.items()
    assert station["written"] - station["heard"] == 600 and "gaps" not in station


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"site": "a", "heard": 5}',
        '{"site": "a", "free_mb": Infinity}',
        '{"kind": "other", "site": "a"}',
    ],
)
def test_a_damaged_state_is_none(tmp_path, text):
    (tmp_path / "live.json").write_text(text)
    live = Live(tmp_path)
    live.read()
    assert live.state()["station"] is None
