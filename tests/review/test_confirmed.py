"""Recordings with confirmed events: those that a rolling budget must not remove."""

import pytest
from fakerun import make_run

from loxo.review.confirmed import confirmed_recordings
from loxo.review.decision_log import DecisionLog, decision_log_path
from loxo.review.session import open_run


@pytest.mark.filterwarnings("ignore")
def test_confirmed(tmp_path):
    run = make_run(tmp_path)
    assert confirmed_recordings(run) == set()
    opened, names = open_run(run)
    recordings = list(opened.events["recording"])
    log = DecisionLog(decision_log_path(run, "Ana"), "Ana")
    first, last = 0, len(names) - 1
    log.add([{"event": names[first], "verdict": "yes"}, {"event": names[last], "verdict": "no"}])
    assert confirmed_recordings(run) == {recordings[first]} != {recordings[last]}
    log.undo()
    assert confirmed_recordings(run) == set()
    log.close()
