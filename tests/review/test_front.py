"""The page while the run is still being read, and when it cannot be read."""

import threading
from concurrent.futures import Future

import pytest
from starlette.testclient import TestClient

from loxo.errors import LoxoError
from loxo.review.app import create_api
from loxo.review.front import Front, review_files
from loxo.review.session import Session


def test_the_page_is_served_before_the_run_is_read_and_requests_about_the_run_wait(run):
    api = Future()
    page = TestClient(Front(api, review_files(sample=30)))
    html = page.get("/").text
    assert 'name="sample" value="30"' in html and "Reading the run" in html
    assert page.get("/static/js/store.js").headers["content-type"].startswith("text/javascript")
    assert 'rel="modulepreload" href="static/js/store.js"' in html
    answers = []
    asking = threading.Thread(target=lambda: answers.append(page.get("/api/run")))
    asking.start()
    session = Session(run, "Ana")
    assert asking.is_alive() and not answers
    api.set_result(create_api(session))
    asking.join(20)
    assert answers[0].json()["events"] == 8
    assert page.get("/static/nothing.js").status_code == 404
    session.close()


def test_the_page_shows_why_a_run_cannot_be_opened():
    api = Future()
    api.set_exception(LoxoError("events.csv: this is no table of events."))
    answer = TestClient(Front(api, review_files())).get("/api/queue")
    assert answer.status_code == 400 and answer.json() == {"error": "events.csv: this is no table of events."}


def test_a_list_starts_at_the_event_shown_before_a_reload(run):
    session = Session(run, "Ana")
    api = Future()
    api.set_result(create_api(session))
    page = TestClient(Front(api, review_files()))
    rows = page.get("/api/queue").json()["rows"]
    wanted = session.names[rows[3]]
    answer = page.get("/api/queue", params={"at": wanted}).json()
    assert answer["row"] == rows[3] and rows[3] in [event["row"] for event in answer["events"]]
    assert page.get("/api/queue", params={"at": "never"}).json()["row"] == rows[0]
    assert page.get("/api/queue", params={"score_min": 0.99}).json() == {
        "rows": [],
        "verdicts": "",
        "row": None,
        "events": [],
        "decided": 0,
    }
    session.close()


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_the_files_of_the_page_accept_only_get_and_head(run, method):
    session = Session(run, "Ana")
    api = Future()
    api.set_result(create_api(session))
    assert getattr(TestClient(Front(api, review_files())), method)("/static/style.css").status_code in (404, 405)
    session.close()
