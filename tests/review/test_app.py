"""The page's server: what it answers to the reviewer, and what it refuses to everybody else."""

import json
import os
import struct

import numpy as np
import pytest
from starlette.testclient import TestClient

from loxo.review.app import create_api, create_app
from loxo.review.guard import MAX_BODY
from loxo.review.session import Session

TOKEN = "a-token-of-the-test"
HOST = "http://127.0.0.1:8750"
BOX = {"source": 0, "label": "rumble", "start_s": 95.0, "end_s": 99.0, "low_hz": 10.0, "high_hz": 90.0}


@pytest.fixture
def session(run):
    session = Session(run, "Ana")
    yield session
    session.close()


@pytest.fixture
def stranger(session):
    """Somebody without the token."""
    with TestClient(create_app(session, TOKEN), base_url=HOST) as client:
        yield client


@pytest.fixture
def page(stranger):
    assert stranger.get("/", params={"token": TOKEN}).status_code == 200
    return stranger


def rows_around(page):
    events = page.get("/api/around/0", params={"start": 50, "end": 112}).json()["events"]
    return [event["row"] for event in events]


def rows(page, **filter):
    return page.get("/api/queue", params=filter).json()["rows"]


# -- what the page asks


def test_the_page_loads_only_its_own_files(page):
    html = page.get("/").text
    assert "Loxo" in html and "http://" not in html.replace("http://www.w3.org", "") and "https://" not in html
    for name, kind in (("style.css", "text/css"), ("js/main.js", "text/javascript"), ("icon.svg", "image/svg")):
        answer = page.get(f"/static/{name}")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
    about = page.get("/api/run").json()
    assert (about["reviewer"], about["events"], about["labels"]) == ("Ana", 8, ["rumble", "gunshot"])
    assert about["sites"] == ["nn01a", "nn02b"]


def test_lists_are_sorted_and_filtered(page):
    def scores(**filter):
        found = rows(page, **filter)
        details = page.get("/api/events", params={"rows": ",".join(map(str, found))}).json() if found else []
        return [event["score"] for event in details]

    assert scores() == [0.93, 0.88, 0.85, 0.71, 0.55, 0.42, 0.35, 0.31]
    assert scores(falling=False) == scores()[::-1]
    assert scores(label="gunshot") == [0.88, 0.35]
    assert scores(site="nn02b", score_min=0.5) == [0.85, 0.55]
    assert scores(score_max=0.4) == [0.35, 0.31]
    assert scores(sort="time", falling=False) == [0.93, 0.71, 0.88, 0.42, 0.85, 0.55, 0.35, 0.31]
    assert scores(sort="uncertainty")[:2] == [0.55, 0.42]
    assert scores(hour_from=17, hour_to=19) == [0.85, 0.55, 0.35, 0.31]
    assert scores(hour_from=22, hour_to=4) == [0.93, 0.88, 0.71, 0.42]  # over midnight
    assert page.get("/api/queue", params={"sort": "beauty"}).status_code == 400
    assert page.get("/api/queue", params={"hour_to": 77}).status_code == 400
    assert page.get("/api/queue", params={"score_min": "x"}).json() == {"error": "The request is not valid."}


def test_a_sample_is_spread_over_the_scores_and_equal_for_all_reviewers(page):
    one = rows(page, sample=2, status="all")
    assert len(one) == 4 and rows(page, sample=2, status="all") == one
    assert set(one) <= set(rows(page, sample=3, status="all"))


def test_decisions_leave_the_list_and_undo_restores_them(page, session):
    first, second = rows(page)[:2]
    done = page.post("/api/act", json={"changes": [{"row": first, "verdict": "yes"}]}).json()["events"]
    assert done[0]["verdict"] == "yes" and first not in rows(page) and rows(page, status="yes") == [first]
    assert b'"verdict":"yes"' in session.log.path.read_bytes()
    page.post("/api/act", json={"changes": [{"row": second, "verdict": "other", "label": " frog "}]})
    moved = page.post("/api/act", json={"changes": [{"row": first, "start_s": 11.5, "note": "faint"}]}).json()[
        "events"
    ][0]
    assert (moved["start_s"], moved["detected"]["start_s"], moved["note"]) == (11.5, 12.0, "faint")
    assert rows(page, status="noted") == [first] and rows(page, status="other") == [second]
    answer = page.get("/api/queue", params={"status": "all"}).json()
    assert answer["verdicts"] == "yo------"
    for left in ([first], [second], [first]):
        assert [event["row"] for event in page.post("/api/undo", json={}).json()["events"]] == left
    assert page.post("/api/undo", json={}).json()["events"] == [] and len(rows(page)) == 8
    assert page.post("/api/redo", json={}).json()["events"][0]["verdict"] == "yes"


def test_decisions_on_many_events_are_one_action(page):
    found = rows(page, label="rumble")
    page.post("/api/act", json={"changes": [{"row": row, "verdict": "no"} for row in found]})
    assert rows(page, label="rumble") == []
    assert len(page.post("/api/undo", json={}).json()["events"]) == len(found) == 6


def test_a_missed_event_is_drawn_shown_and_undone(page):
    drawn = page.post("/api/act", json={"changes": [BOX]}).json()["events"][0]
    assert drawn["row"] == 8 and drawn["verdict"] == "yes" and drawn["detected"] is None
    assert rows(page, status="drawn") == [8] and rows(page, status="all")[-1] == 8
    assert 8 in rows_around(page)
    assert page.post("/api/undo", json={}).json()["events"] == [{"row": 8, "gone": True}]
    assert rows(page, status="drawn") == [] and page.get("/api/thumb/8").status_code == 400
    assert 8 not in rows_around(page)
    assert page.post("/api/redo", json={}).json()["events"][0]["row"] == 8


WRONG = [
    {"row": 0, "note": "half a character: \ud83d"},
    {"row": 0, "note": "a\0b"},
    {"row": 0, "verdict": "other", "label": "\udc80"},
    {"row": 0, "start_s": 16.0, "end_s": None, "low_hz": 200.0},
    {"row": 0, "start_s": 1e300, "end_s": 1e301},
    {"source": 0, "label": "x"},
    {"source": 0, "label": "rumble"},
    {"source": 0, "label": "rumble", "start_s": 1.0},
    {"source": 0, "start_s": 1.0, "end_s": 2.0, "low_hz": 1.0, "high_hz": 2.0},
    *({**BOX, name: value} for name in ("start_s", "end_s", "low_hz", "high_hz") for value in (None, -1.0, 1e9)),
    *({**BOX, "label": label} for label in (None, "", "frog", "a\tb", "\ud800")),
    {**BOX, "end_s": BOX["start_s"]},
    {**BOX, "high_hz": BOX["low_hz"]},
    {**BOX, "row": 0, "source": None},
]


@pytest.mark.parametrize(
    "change",
    [
        {"row": 99, "verdict": "yes"},
        {"row": -1, "verdict": "yes"},
        {"verdict": "yes"},
        {"row": 0, "verdict": "perhaps"},
        {"row": 0, "verdict": "other"},
        {"row": 0, "verdict": "other", "label": "a\tb"},
        {"row": 0, "label": "x" * 61},
        {"row": 0, "note": "x" * 2001},
        {"row": 0, "start_s": 18.0},
        {"row": 0, "end_s": 1e6},
        {"row": 0, "start_s": -1.0},
        {"row": 0, "low_hz": 500.0},
        {"row": 0, "event": "drawn-x"},
        {"row": 0, "recording": "/etc/passwd"},
    ],
)
def test_an_action_with_one_wrong_change_is_refused_as_a_whole(page, session, change):
    before = session.log.path.read_bytes()
    answer = page.post("/api/act", json={"changes": [{"row": 1, "verdict": "yes"}, change]})
    assert answer.status_code == 400 and answer.json()["error"]
    assert session.log.path.read_bytes() == before


def test_wrong_bounds_labels_and_notes_are_refused_with_a_sentence(page, session):
    before = session.log.path.read_bytes()
    for change in WRONG:
        body = json.dumps({"changes": [{"row": 1, "verdict": "yes"}, change]})  # halves of characters are escaped
        answer = page.post("/api/act", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400 and answer.json()["error"].endswith("."), change
    assert session.log.path.read_bytes() == before


def test_pictures_and_sounds_of_an_event_are_served(page):
    assert len(page.get("/api/picture/0?start=0&end=60&band=full").content) > 50000
    assert len(page.get("/api/thumb/3").content) > 5000
    wav = page.get("/api/sound/0?start=10&end=20&speed=8")
    assert wav.headers["content-type"] == "audio/wav" and wav.content[:4] == b"RIFF"
    pictures = (
        "picture/0?start=0&end=9&band=9",
        "picture/99?start=0&end=9",
        "picture/0",
        "picture/0?start=900&end=999",
    )
    for bad in (*pictures, "sound/0?start=1&end=nan", "sound/0?start=5&end=1", "thumb/x", "overview/7", "around/-1"):
        assert page.get(f"/api/{bad}").status_code == 400, bad
    assert page.get("/api/sound/0?start=0&end=9&speed=3").status_code == 400
    assert page.get("/api/events?rows=" + ",".join(["1"] * 501)).status_code == 400


def test_a_second_reviewer_sees_other_decisions_only_after_deciding(run, page, session):
    page.post("/api/act", json={"changes": [{"row": row, "verdict": "yes"} for row in (0, 1, 2)]})
    ben = Session(run, "Ben")
    with TestClient(create_app(ben, "other"), base_url=HOST) as second:
        second.get("/?token=other")
        waiting = rows(second, status="second", sort="time", falling=False)
        assert waiting == [0, 1, 2]
        assert second.get("/api/events?rows=0").json()[0]["others"] == []  # not before the own decision
        second.post("/api/act", json={"changes": [{"row": 0, "verdict": "no"}, {"row": 1, "verdict": "yes"}]})
        assert second.get("/api/events?rows=0").json()[0]["others"] == ["Ana: yes"]
        assert rows(second, status="disputed") == [0]
        found = second.get("/api/results").json()
    ben.close()
    assert found["reviewers"] == {"Ana": 3, "Ben": 2} and found["disputed"] == 1
    assert (found["agreement"][0]["events"], found["agreement"][0]["agreed"]) == (2, 1)


def test_a_drawn_event_keeps_its_bounds_and_a_label(page):
    row = page.post("/api/act", json={"changes": [BOX]}).json()["events"][0]["row"]
    for change in ({"start_s": None}, {"label": None}, {"label": "frog"}, {"high_hz": 5.0}):
        assert page.post("/api/act", json={"changes": [{"row": row, **change}]}).status_code == 400, change
    for allowed in ({"verdict": None}, {"verdict": "other", "label": "frog"}, {"end_s": 100.0}, {"note": "far"}):
        assert page.post("/api/act", json={"changes": [{"row": row, **allowed}]}).status_code == 200, allowed
    assert page.post("/api/export", json={}).json()["warnings"] == []


def test_drawn_events_of_older_versions_that_are_incomplete_are_not_shown(run):
    session = Session(run, "Ana")
    recording = session.recording_of(0)
    old = {"event": "drawn-1", "verdict": "yes", "label": "rumble", "recording": recording}
    session.log.add([old, {**old, **BOX, "event": "drawn-2", "recording": "gone.wav"}])
    session.log.add([{**old, **BOX, "event": "drawn-3"}])
    session.close()
    session = Session(run, "Ana")
    with TestClient(create_app(session, TOKEN), base_url=HOST) as page:
        page.get("/", params={"token": TOKEN})
        assert rows(page, status="drawn") == [8] and session.unmatched == 2
        assert rows_around(page) == [1, 2, 3, 8]
        written = page.post("/api/export", json={}).json()
        assert written["events"] == 1 and len(written["warnings"]) == 2
        while page.post("/api/undo", json={}).json()["events"]:
            pass
        assert rows(page, status="drawn") == []
    session.close()


def test_moved_edges_go_back_to_those_of_detection(page):
    moved = page.post("/api/act", json={"changes": [{"row": 0, "start_s": 13.0, "end_s": 16.0}]}).json()["events"][0]
    assert (moved["start_s"], moved["end_s"]) == (13.0, 16.0)
    back = page.post("/api/act", json={"changes": [{"row": 0, "start_s": None, "end_s": 18.0}]}).json()["events"][0]
    assert (back["start_s"], back["end_s"]) == (12.0, 18.0)


BEN = (
    '{"journal":1,"reviewer":"Ben"}\n{"action":1,"at":"2026","changes":[{"event":"0","verdict":"yes","start_s":"abc"}]}'
)


@pytest.mark.parametrize("content", [BEN + "\n", "[" * 100_000 + "\n", None], ids=["types", "deep", "folder"])
def test_a_log_of_another_reviewer_that_cannot_be_read_is_named_until_it_is_gone(page, session, content):
    page.post("/api/act", json={"changes": [{"row": 0, "verdict": "yes"}]})
    bad = session.log.path.with_name("ben.jsonl")
    bad.mkdir() if content is None else bad.write_text(content)
    for method, path in (("get", "run"), ("get", "results"), ("post", "export")):
        answer = page.request(method, f"/api/{path}", **({"json": {}} if method == "post" else {}))
        (warning,) = answer.json()["warnings"]
        assert answer.status_code == 200 and str(bad) in warning and "do not count" in warning
    assert rows(page, status="second") == [] and page.post("/api/export", json={}).json()["events"] == 1
    assert json.loads((session.run.folder / "reviewed" / "results.json").read_text())["warnings"] == [warning]
    bad.rmdir() if content is None else bad.unlink()
    assert page.post("/api/export", json={}).json()["warnings"] == page.get("/api/run").json()["warnings"] == []


def test_a_log_of_another_reviewer_is_forgotten_when_it_is_taken_away(run, page, session):
    ben = Session(run, "Ben")
    ben.act([{"row": row, "verdict": "no"} for row in (0, 1)])
    ben.close()
    assert rows(page, status="second", sort="time", falling=False) == [0, 1]
    ben.log.path.unlink()
    assert rows(page, status="second") == [] and page.get("/api/results").json()["reviewers"] == {"Ana": 0}


def test_impossible_events_of_other_reviewers_are_left_out_with_a_warning(run, page, session):
    page.post("/api/act", json={"changes": [{"row": 0, "verdict": "yes", "start_s": 16.0}]})  # of 12 to 17 s
    changes = [
        {"event": session.names[0], "verdict": "yes", "end_s": 14.0},
        {"event": "drawn-1", "verdict": "yes", "label": "rumble", "recording": session.recording_of(0)},
        {"event": "drawn-2", "verdict": "yes", "label": "rumble", "recording": "elsewhere.wav", "start_s": 9.0},
    ]
    bounds = {"start_s": 1.0, "end_s": 200.0, "low_hz": 1.0, "high_hz": 2.0}
    changes.append({"event": "drawn-3", "verdict": "yes", **bounds, "recording": session.recording_of(0), "label": "x"})
    line = json.dumps({"action": 1, "at": "2999-01-01", "changes": changes})
    session.log.path.with_name("ben.jsonl").write_text('{"journal":1,"reviewer":"Ben"}\n' + line + "\n")
    written = page.post("/api/export", json={}).json()
    assert written["events"] == 1 and len(written["warnings"]) == 4
    assert "nn01a_20180126_030000.wav" in written["warnings"][0] and "Ana: yes; Ben: yes" in written["warnings"][0]
    assert ",12.0,17.0," in (run / "reviewed" / "events.csv").read_text().replace(",12,17,", ",12.0,17.0,")


def test_the_page_shows_decisions_of_a_log_that_was_replaced(page, session):
    page.post("/api/act", json={"changes": [{"row": 0, "verdict": "yes"}]})
    path = session.log.path
    there = {"action": 1, "at": "2999-01-01", "changes": [{"event": session.names[5], "verdict": "no"}]}
    copy = path.with_name("copy")
    copy.write_text('{"journal":1,"reviewer":"Ana"}\n' + json.dumps(there) + "\n")
    copy.replace(path)
    done = page.post("/api/act", json={"changes": [{"row": 1, "verdict": "unsure"}]}).json()["events"]
    assert [(event["row"], event["verdict"]) for event in done] == [(1, "unsure"), (5, "no")]
    assert page.get("/api/queue", params={"status": "decided", "sort": "time"}).json()["verdicts"] == "nuy"
    path.unlink()
    assert page.get("/api/results").json()["reviewers"] == {"Ana": 3} and len(path.read_text().splitlines()) == 4


def test_a_decision_that_cannot_be_stored_is_refused_with_a_sentence(page, session, monkeypatch):
    def full(handle, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        answer = page.post("/api/act", json={"changes": [{"row": 0, "verdict": "yes"}]})
        assert answer.status_code == 400 and "No space left on device" in answer.json()["error"]
        assert rows(page, status="yes") == []
    assert page.post("/api/act", json={"changes": [{"row": 0, "verdict": "yes"}]}).status_code == 200


def test_frame_scores_and_recordings_that_cannot_be_read_are_a_sentence(run, page, session):
    scores = run / "scores" / "nn01a_20180126_030000.npz"
    scores.write_bytes(scores.read_bytes()[:200])
    answer = page.get("/api/picture/0?start=0&end=60")
    header = json.loads(answer.content[4 : 4 + struct.unpack("<I", answer.content[:4])[0]])
    assert answer.status_code == 200 and str(scores) in header["problem"] and "scores" not in header
    session.places.find = lambda name: run / "events.csv"
    answer = page.get("/api/picture/1?start=0&end=60")
    assert answer.status_code == 400 and "events.csv" in answer.json()["error"]


def test_a_name_that_is_not_utf_8_is_answered(page, session):
    session.recording = np.array(["caf\udce9.wav"] * 8, object)
    for found in (session.durations, session.source_of, session.sites, session.begins):
        found["caf\udce9.wav"] = next(iter(found.values()))
    assert page.get("/api/events?rows=0").json()[0]["recording"].startswith("caf")
    assert page.post("/api/act", json={"changes": [{"row": 0, "verdict": "yes"}, BOX]}).status_code == 200
    assert page.get("/api/around/0?start=0&end=60").status_code == page.get("/api/results").status_code == 200


def test_moved_recordings_are_searched_below_a_folder_of_this_computer_only(session, tmp_path):
    with TestClient(create_api(session, local=False)) as page:
        answer = page.post("/api/places", json={"folder": str(tmp_path)})
        assert answer.status_code == 400 and "--recordings" in answer.json()["error"]
    with TestClient(create_api(session)) as page:
        for wrong in (str(tmp_path / "gone"), "https://example.org/"):
            before = session.places
            assert page.post("/api/places", json={"folder": wrong}).status_code == 400
            assert session.places is before


# -- what everybody else asks

PATHS = [
    *("/", "/api/run", "/api/queue", "/api/picture/0?start=0&end=5", "/api/sound/0?start=0&end=5", "/api/recordings"),
    *("/api/around/0?start=0&end=5", "/api/overview/0", "/api/random?labels=rumble", "/static/style.css", "/nowhere"),
]


@pytest.mark.parametrize("path", PATHS)
def test_requests_without_the_token_are_refused(stranger, path):
    assert stranger.get(path).status_code == 401
    for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ä" * 10):
        assert stranger.get("/", params={"token": wrong}, follow_redirects=False).status_code == 401
    name = stranger.app.cookie
    assert stranger.get(path, headers={"cookie": f"{name}=wrong"}).status_code == 401
    assert stranger.get(path, headers={"cookie": f'{name}="\\777; a=b'}).status_code == 401
    assert not stranger.cookies


def test_the_token_is_accepted_only_as_a_cookie_and_leaves_the_address_bar(stranger):
    answer = stranger.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    stranger.cookies.clear()
    assert stranger.get("/api/run", params={"token": TOKEN}).status_code == 401


def test_an_address_works_once_and_a_page_says_how_to_go_on(session):
    used, renewed = [], []
    guard = create_app(session, TOKEN)
    guard.used, guard.renewed = lambda: used.append(1), renewed.append
    first, second = (TestClient(guard, base_url=HOST) for _ in range(2))
    assert first.get("/", params={"token": TOKEN}).status_code == 200 and used == [1]
    for _ in range(2):  # other tabs and reloads of the first browser
        assert first.get("/").status_code == first.get("/api/run").status_code == 200
        assert first.get("/", params={"token": TOKEN}).status_code == 200
    for _ in range(3):
        refused = second.get("/", params={"token": TOKEN})
        assert refused.status_code == 401 and refused.headers["content-type"].startswith("text/html")
        assert "works once" in refused.text and f"{HOST}/ instead" in refused.text and not second.cookies
    assert second.get("/").status_code == 401 and "Open the whole address" in second.get("/").text
    assert len(renewed) == 1  # one new address, not one for each attempt
    assert second.get("/", params={"token": renewed[0]}).status_code == 200
    assert second.get("/api/run").status_code == first.get("/api/run").status_code == 200
    third = TestClient(guard, base_url=HOST)
    assert third.get("/", params={"token": renewed[0]}).status_code == 401 and len(renewed) == 2
    assert third.get("/", params={"token": "wrong"}).status_code == 401 and len(renewed) == 2


def test_an_address_opened_by_a_local_file_is_forwarded_by_a_page(stranger):
    """A browser sends the cookie only to an address that a page of this server opens."""
    answer = stranger.get("/", params={"token": TOKEN}, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 200 and 'http-equiv="refresh" content="0;url=/"' in answer.text
    assert stranger.get("/api/run").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8750", "10.0.0.1", "localhost@evil.example", "[", ""]
)
def test_foreign_host_names_are_refused(page, host):
    assert page.get("/api/run", headers={"host": host}).status_code == 403
    assert page.get(f"/?token={TOKEN}", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:9999", "127.0.0.1", "[::1]:8750"])
def test_loopback_names_are_accepted_with_any_port(page, host):
    cookie = {"cookie": f"{page.app.cookie}={page.cookies[page.app.cookie]}"}
    assert page.get("/api/run", headers={"host": host} | cookie).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_requests_of_other_web_pages_are_refused(page, session, headers):
    change = {"changes": [{"row": 0, "verdict": "no"}]}
    assert page.post("/api/act", json=change, headers=headers).status_code == 403
    assert page.get("/api/run", headers=headers).status_code == 403
    assert session.decisions == {}
    assert page.post("/api/act", json=change, headers={"origin": HOST}).status_code == 200


def test_forms_and_huge_bodies_are_refused(page, session):
    as_form = page.post("/api/act", content='{"changes": []}', headers={"content-type": "text/plain"})
    assert as_form.status_code == 415
    huge = b'{"changes": [' + b" " * MAX_BODY + b"]}"
    as_json = {"content-type": "application/json"}
    assert page.post("/api/act", content=huge, headers=as_json).status_code == 413
    assert page.post("/api/act", content=iter([huge[:1000]] * 400), headers=as_json).status_code == 413  # undeclared
    assert page.post("/api/act", content=b"{}", headers=as_json | {"content-length": "-5"}).status_code == 413
    assert page.post("/api/act", content=b"\xff\x00{", headers=as_json).status_code == 400
    many = {"changes": [{"row": 0, "verdict": "no"}] * 2001}
    assert page.post("/api/act", json=many).status_code == 400
    assert session.decisions == {}


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/%2e%2e/session.py",
        "/static//etc/passwd",
        "/static/js/../../app.py",
        "/static/..\\app.py",
        "/static/js",
        "/api/picture/..%2f..%2fetc%2fpasswd",
        "/api/sound/%2fetc%2fpasswd?start=0&end=1",
        "/../../etc/passwd",
        "/docs",
        "/openapi.json",
    ],
)
def test_other_paths_are_not_found(page, path):
    answer = page.get(path)
    assert answer.status_code in (400, 404) and "root:" not in answer.text and "import" not in answer.text


def test_answers_forbid_framing_sniffing_and_the_network(page):
    for path in ("/", "/api/run", "/static/js/main.js", "/nowhere"):
        headers = page.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


def test_an_open_host_accepts_ip_addresses_but_no_foreign_names(session):
    with TestClient(create_app(session, TOKEN, "0.0.0.0"), base_url="http://192.168.1.5:8750") as client:
        assert client.get("/", params={"token": TOKEN}).status_code == 200
        assert client.get("/api/run").status_code == 200
        assert client.get("/api/run", headers={"host": "evil.example"}).status_code == 403


def test_numbers_that_are_not_finite_are_refused(page):
    body = b'{"changes": [{"row": 0, "start_s": NaN}]}'
    assert page.post("/api/act", content=body, headers={"content-type": "application/json"}).status_code == 400
    assert np.isfinite(page.get("/api/events?rows=0").json()[0]["start_s"])


# -- what is answered is on the disk


def test_a_decision_is_on_the_disk_before_the_answer_begins(session, monkeypatch):
    order, fsync = [], os.fsync
    app = create_app(session, TOKEN)

    def counted(handle):
        order.append(("fsync", os.fstat(handle).st_size))
        fsync(handle)

    async def watched(scope, receive, send):
        async def sent(message):
            order.append(message["type"])
            await send(message)

        await app(scope, receive, sent)

    with TestClient(watched, base_url=HOST) as client:
        client.get("/", params={"token": TOKEN})
        monkeypatch.setattr(os, "fsync", counted)
        for address, body in (
            ("/api/act", {"changes": [{"row": 0, "verdict": "yes"}]}),
            ("/api/undo", {}),
            ("/api/redo", {}),
        ):
            order.clear()
            assert client.post(address, json=body).status_code == 200
            size = session.log.path.stat().st_size
            assert order[:2] == [("fsync", size), "http.response.start"], address
