"""The state of a live station for the page of its run."""

import json

import pytest
from fakerun import make_run

from loxo.app.live import Live

STATE = {
    **{"site": "bai", "started": "2026-03-01T08:00:00+01:00", "heard": "2026-03-01T09:00:00+01:00", "samples": 1},
    **{"rate": 4000, "announced": 7, "gaps": 2, "gap_s": 41.5, "drift_s": -0.4, "corrections_s": [86400]},
    **{"source": "open", "waiting_alerts": 3, "recordings_mb": 28.8, "free_mb": 51000.0},
}


def test_station(tmp_path):
    run = make_run(tmp_path)
    live = Live(run)
    assert live.changes()["station"] is None and live.changes() is None
    (run / "live.json").write_text(json.dumps(STATE))
    live._due_at = 0.0
    station = live.changes()["station"]
    shown = {"announced": 7, "gaps": 2, "drift_s": -0.4, "corrections": 1, "free_mb": 51000.0, "waiting_alerts": 3}
    assert station.items() >= shown.items() and station["site"] == "bai" and station["heard"] == 1772352000.0
    assert not live.read()
    (run / "live.json").write_text(json.dumps(STATE | {"heard": None, "announced": 8}))
    assert live.read() and live.state()["station"]["heard"] is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"site": "a", "heard": 5}', '{"site": "a", "free_mb": Infinity}'])
def test_a_damaged_state_is_none(tmp_path, text):
    (tmp_path / "live.json").write_text(text)
    live = Live(tmp_path)
    live.read()
    assert live.state()["station"] is None
