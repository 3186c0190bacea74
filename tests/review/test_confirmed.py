"""Confirmed events: those that a rolling budget must not remove."""

import pytest
from fakerun import make_run

from loxo.review.confirmed import confirmed_events
from loxo.review.decision_log import DecisionLog, decision_log_path
from loxo.review.session import open_run
from loxo.runs.renamed import event_name


@pytest.mark.filterwarnings("ignore")
def test_confirmed(tmp_path):
    run = make_run(tmp_path)
    assert confirmed_events(run) == {}
    opened, names = open_run(run)
    recordings = list(opened.events["recording"])
    event = opened.events.iloc[0]
    assert names[0] == event_name(opened.recordings["table"][0], event["label"], event["start_s"], event["end_s"])
    log = DecisionLog(decision_log_path(run, "Ana"), "Ana")
    first, last = 0, len(names) - 1
    log.add([{"event": names[first], "verdict": "yes"}, {"event": names[last], "verdict": "no"}])
    assert confirmed_events(run) == {names[first]: recordings[first]}
    log.undo()
    assert confirmed_events(run) == {}
    log.close()
