"""What the page of the app asks, and what everybody else asks."""

import json
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from fakerun import make_run
from fastapi import FastAPI
from starlette.testclient import TestClient

from loxo.app import runs as runs_module
from loxo.app.idle import WhileUsed
from loxo.app.server import app_files, serve_app
from loxo.errors import LoxoError
from loxo.review.front import Front
from loxo.review.guard import Guard
from loxo.runs.sites import stored_sites

HOST, TOKEN = "http://127.0.0.1:8750", "a-token-of-the-test"


@pytest.fixture
def stranger(page):
    api = Future()
    api.set_result(page.app)
    guard = Guard(Front(api, app_files()), TOKEN, command="loxo app")
    with TestClient(guard, base_url=HOST) as client:
        yield client


def error(answer) -> str:
    assert answer.status_code == 400
    return answer.json()["error"]


# -- before the start


def test_the_folders_of_this_computer_are_listed_below_the_places(page, home, card):
    assert page.get("/api/app").json()["places"][0] == {"kind": "home", "path": str(home)}
    found = page.post("/api/folders", json={"path": str(card)}).json()
    assert [folder["name"] for folder in found["folders"]] == ["north", "south"]
    assert found["parent"] == str(home) and found["recordings"] == 0
    assert page.post("/api/folders", json={"path": str(card / "north")}).json()["recordings"] == 9
    assert page.post("/api/folders", json={"path": str(home)}).json()["parent"] is None
    assert "cannot be read" in error(page.post("/api/folders", json={"path": str(home / "none")}))


def test_a_folder_is_described_before_the_start(page, home, card):
    found = page.post("/api/inspect", json={"folder": str(card)}).json()
    assert found["recordings"] == 18 and round(found["hours"] * 3600) == 300  # of 15
    assert found["sites"] == [{"name": "north", "recordings": 9}, {"name": "south", "recordings": 9}]
    assert (found["first"], found["last"], found["days"]) == ("2024-03-01T00:00:00", "2024-03-01T08:00:00", 1)
    assert len(found["problems"]) == 3 and "empty" in found["problems"][0]
    assert found["out"] == str(home / "Loxo" / "card") and found["free_bytes"] > 0
    (home / "Loxo" / "card").mkdir(parents=True)
    assert page.post("/api/inspect", json={"folder": str(card)}).json()["out"] == str(home / "Loxo" / "card-2")


def test_a_form_has_every_option_of_the_command(page):
    form = {field["flag"]: field for field in page.get("/api/form/detect").json()}
    assert form["--window-overlap"] | {"help": ""} == {
        "name": "window_overlap",
        "flag": "--window-overlap",
        "help": "",
        "kind": "number",
        "min": 0,
        "max": 0.95,
        "step": "any",
        "default": 0.125,
        "panel": "Computation",
        "is_path": False,
        "repeats": False,
    }
    assert form["--workers"]["step"] == 1 and form["--keep-scores"]["kind"] == "flag"
    assert "does not run" in error(page.get("/api/form/simulate"))


def test_the_line_that_does_the_same(page, home):
    out = home / "a survey"
    values = {"paths": [str(home)], "out": str(out), "window_overlap": 0.125, "threshold": "0.05", "keep_scores": True}
    line = page.post("/api/line", json={"command": "detect", "values": values}).json()["line"]
    assert line == f"loxo detect {home} --out '{out}' --threshold 0.05 --keep-scores"


@pytest.mark.parametrize(
    ("command", "values", "sentence"),
    [
        ("detect", {"window_overlap": 2}, "not in the range"),
        ("detect", {"workers": "many"}, "not a valid int"),
        ("detect", {"nonsense": 1}, "no option nonsense"),
        ("detect", {"port": 1}, "no option port"),
        ("detect", {"paths": ["/etc"]}, "does not use this folder"),
        ("detect", {"paths": ["{home}/../../etc"]}, "does not use this folder"),
        ("detect", {"paths": ["{home}/link"]}, "does not use this folder"),
        ("detect", {"paths": ["recordings"]}, "does not use this folder"),
        ("detect", {"out": "/tmp"}, "does not use this folder"),
        ("detect", {"model": "/etc/model.safetensors"}, "does not use this folder"),
        ("detect", {"paths": ["--help"]}, "does not use this folder"),
        ("review", {"run": "{home}"}, "does not run loxo review"),
        ("simulate", {}, "does not run loxo simulate"),
        ("__class__", {}, "does not run"),
    ],
)
def test_wrong_requests_start_nothing(page, home, command, values, sentence):
    (home / "link").symlink_to("/etc")
    text = json.dumps({"paths": ["{home}"], "out": "{home}/out"} | values if command == "detect" else values)
    request = {"command": command, "values": json.loads(text.replace("{home}", str(home)))}
    assert sentence in error(page.post("/api/start", json=request))
    assert page.get("/api/home").json() == {"runs": []}


# -- runs


@pytest.fixture
def run(home) -> Path:
    return make_run(home / "made")


def test_a_run_folder_is_opened_and_shown(page, run):
    id = page.post("/api/open", json={"folder": str(run)}).json()["id"]
    [listed] = page.get("/api/home").json()["runs"]
    assert listed["id"] == id and listed["state"] == "finished" and listed["recordings"] == 2
    assert listed["events"] == {"rumble": 6, "gunshot": 2} and listed["hours"] == pytest.approx(300 / 3600)
    shown = page.get(f"/api/runs/{id}").json()
    assert shown["outputs"]["recordings"] == str(run.parent / "recordings")
    assert shown["outputs"]["scores"] and not shown["outputs"]["review"] and shown["jobs"] == []
    assert "not a run folder" in error(page.post("/api/open", json={"folder": str(run.parent)}))
    page.post(f"/api/runs/{id}/forget")
    assert page.get("/api/home").json()["runs"] == [] and (run / "run.json").exists()
    assert "no run" in error(page.get(f"/api/runs/{id}"))


def test_a_list_of_unchanged_runs_opens_none_of_them(page, opened, run, monkeypatch):
    page.post("/api/open", json={"folder": str(run)})
    before = page.get("/api/home").json()["runs"]
    monkeypatch.setattr(runs_module, "read_record", None)
    assert opened().get("/api/home").json()["runs"] == before
    monkeypatch.undo()
    (run / "events.csv").write_text("recording,start_s,end_s,label\na,0,1,rumble\n")
    assert page.get("/api/home").json()["runs"][0]["events"] == {"rumble": 1}


def test_the_review_of_a_run_opens_below_it(page, run, monkeypatch):
    id = page.post("/api/open", json={"folder": str(run)}).json()["id"]
    html = page.get(f"/runs/{id}/review/").text
    assert f'href="../../../#/runs/{id}"' in html and 'src="static/js/main.js"' in html
    assert page.get(f"/runs/{id}/review/static/js/main.js").status_code == 200
    assert page.get(f"/runs/{id}/review/api/run").json()["events"] == 8
    change = {"changes": [{"row": 0, "verdict": "yes"}]}
    assert page.post(f"/runs/{id}/review/api/act", json=change).json()["decided"] == 1
    assert page.get(f"/api/runs/{id}").json()["outputs"]["review"]
    assert "no run" in error(page.get("/runs/0123456789ab/review/"))


def test_a_page_of_a_run_is_shown_without_scripts(page, run):
    id = page.post("/api/open", json={"folder": str(run)}).json()["id"]
    assert "no such page" in error(page.get(f"/runs/{id}/files/report.html"))
    (run / "report.html").write_text("<script>alert(1)</script>")
    policy = page.get(f"/runs/{id}/files/report.html").headers["content-security-policy"]
    assert policy.startswith("sandbox") and "allow-scripts" not in policy and "default-src 'none'" in policy
    assert "media-src data:" in policy  # a report contains the sound of examples
    for name in ("run.json", "..%2frun%2frun.json", "%2fetc%2fpasswd", "../../../etc/passwd"):
        assert page.get(f"/runs/{id}/files/{name}").status_code in (400, 404)
    (run / "report.html").unlink()
    (run / "report.html").symlink_to("/etc/passwd")
    assert "symbolic link" in error(page.get(f"/runs/{id}/files/report.html"))


def test_sites_of_the_form_are_a_table(page, home, monkeypatch):
    sites = [{"recorder": "nn01a", "site": "Camp", "latitude": "0.5", "longitude": "9.4"}, {"site": ""}]
    (home / "card").mkdir()
    request = {"command": "detect", "values": {"paths": [str(home / "card")], "out": str(home / "out")}}
    line = page.post("/api/line", json=request | {"sites": sites}).json()["line"]
    assert "--sites" in line and not (home / "loxo" / "sites").exists()
    started = page.post("/api/start", json=request | {"sites": sites}).json()
    command = page.get(f"/api/runs/{started['run']}").json()["jobs"][0]["line"].split()
    table = Path(command[command.index("--sites") + 1])
    assert table.read_text() == "site,recorder,latitude,longitude\nCamp,nn01a,0.5,9.4\n"
    table.rename(home / "sites.csv")
    assert stored_sites(home).sites["Camp"].coordinates == (0.5, 9.4)
    sites[0]["latitude"] = "north"
    assert "latitude" in error(page.post("/api/start", json=request | {"sites": sites}))


def test_a_map_of_the_sites_before_the_start(page, home):
    sites = [
        {"site": "Camp <1>", "recorder": "a", "latitude": "0.5", "longitude": "9.4"},
        {"site": "Ridge", "recorder": "b", "latitude": "0.52", "longitude": "9.41"},
        {"site": "Unknown", "recorder": "c", "latitude": "", "longitude": ""},
    ]
    svg = page.post("/api/map", json={"sites": sites}).json()["svg"]
    assert "Camp &lt;1&gt;" in svg and "Ridge" in svg and "Unknown" not in svg and "500 m<" in svg
    assert (
        page.post("/api/map", json={"sites": sites[2:]}).json() == {"svg": ""} == page.post("/api/map", json={}).json()
    )
    (home / "sites.csv").write_text("site;folder;latitude;longitude\nHill;h;1,5;10,2\n")
    assert "Hill" in page.post("/api/map", json={"table": str(home / "sites.csv")}).json()["svg"]
    assert "does not use this folder" in error(page.post("/api/map", json={"table": "/etc/passwd"}))
    sites[0]["latitude"] = "north"
    assert "latitude" in error(page.post("/api/map", json={"sites": sites}))


# -- what everybody else asks


@pytest.mark.parametrize("path", ["/", "/api/app", "/api/home", "/static/app.css", "/runs/0123456789ab/review/"])
def test_requests_without_the_token_are_refused(stranger, path):
    answer = stranger.get(path)
    assert answer.status_code == 401 and "loxo app" in answer.text


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}]
)
def test_requests_of_other_hosts_and_pages_start_nothing(stranger, home, headers):
    assert stranger.get("/", params={"token": TOKEN}).status_code == 200
    request = {"command": "detect", "values": {"paths": [str(home)], "out": str(home / "out")}}
    for path in ("/api/start", "/api/quit", "/api/folders"):
        assert stranger.post(path, json=request, headers=headers).status_code == 403
    assert stranger.get("/api/home").json() == {"runs": []}


def test_other_computers_need_a_password_and_tls():
    with pytest.raises(LoxoError, match="need a password and an encrypted connection"):
        serve_app(lambda: None, host="0.0.0.0")


def test_a_server_without_a_page_ends():
    stopped = threading.Event()
    TestClient(WhileUsed(FastAPI(), 0.2, stopped.set, check_s=0.05)).get("/")
    assert not stopped.is_set() and stopped.wait(20)


def test_the_page_loads_only_its_own_files():
    for kind, content in app_files().values():
        if not kind.startswith(("image", "application")):
            text = content.decode().replace("http://www.w3.org", "")
            assert "http://" not in text and "https://" not in text.replace("'https://'", "")
