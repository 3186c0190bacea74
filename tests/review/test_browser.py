"""The page in headless Chromium, as a reviewer uses it: by keys and mouse, through a killed server, to the tables."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakerun import NAMES
from pages import assert_self_contained

from loxo import read_raven
from loxo.runs.read import read_run

# What Chromium says of a request to a server that was killed, before and while it answers.
GONE = (
    *("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_SOCKET_NOT_CONNECTED", "ERR_EMPTY_RESPONSE"),
    "ERR_CONTENT_LENGTH_MISMATCH",
)


class Server:
    """`loxo review` as its own process."""

    def __init__(self, run: Path, *options: str) -> None:
        self.run, self.options = run, options
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", "from loxo.cli import main; main()", "review", str(self.run), "--no-browser"]
        environment = os.environ | {"COLUMNS": "200"}
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--reviewer", "Ana", *self.options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if match := re.search(r"http://\S+", line):
                self.address = match[0]
            if "reviewed by Ana" in line:  # the run has been read
                return
        pytest.fail("".join(lines))

    def stop(self, how: signal.Signals = signal.SIGINT) -> str:
        if self.process.poll() is None:
            self.process.send_signal(how)
        rest = self.process.stdout.read()
        self.process.wait(30)
        self.process.stdout.close()
        return rest


@pytest.fixture
def server(run):
    server = Server(run)
    yield server
    assert server.stop(signal.SIGINT) == "" and server.process.returncode == 0  # Ctrl-C: quietly


@pytest.fixture
def page(browser, server):
    """The opened page. Any error on its console fails the test, but for requests to a server that was killed."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    faults: list[str] = []
    page.faults = faults
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    foreign: list[str] = []
    page.on("request", lambda request: foreign.append(request.url) if "127.0.0.1" not in request.url else None)
    page.goto(server.address)
    shown(page, 0)
    yield page
    context.close()
    assert [fault for fault in faults if not any(error in fault for error in GONE)] == []
    assert [url for url in foreign if not url.startswith(("data:", "blob:"))] == []


def shown(page, row) -> None:
    page.wait_for_selector(f'body[data-shown="{row}"]')


def saved(page, actions: int) -> None:
    page.wait_for_selector(f'body[data-actions="{actions}"]')


def listed(page, text: str) -> None:
    page.locator("#list-size").filter(has_text=text).wait_for()


def log_lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "review" / "ana.jsonl").read_text().splitlines()][1:]


def changes(run: Path) -> list[dict]:
    return [change for line in log_lines(run) if "changes" in line for change in line["changes"]]


def edge(page, share_of_window: float) -> tuple[float, float]:
    """A point of the spectrogram: within the event's height, a share of the 30 s shown."""
    box = page.locator("#view").bounding_box()
    return box["x"] + 62 + share_of_window * (box["width"] - 120), box["y"] + 0.6 * box["height"]


def test_a_reviewer_listens_decides_moves_edges_undoes_reloads_resumes_and_exports(page, server, run):
    assert page.title().endswith("Review – Loxo") and "token" not in page.url
    assert page.locator("#what").inner_text() == "rumble 0.93"
    pixels = page.evaluate(
        "() => { const c = document.getElementById('view'); const d = c.getContext('2d')"
        ".getImageData(60, 12, c.width - 80, 300).data; return new Set(new Uint32Array(d.buffer)).size }"
    )
    assert pixels > 100  # a spectrogram is there, no empty box

    page.keyboard.press("2")  # listen, at 4x
    page.wait_for_selector('body[data-playing="4"]')
    page.keyboard.press(" ")
    page.wait_for_selector('body[data-playing=""]', state="attached")
    page.keyboard.press("5")  # pitch-shifted
    page.wait_for_selector('body[data-playing="pitched"]')
    page.keyboard.press("Escape")

    x, y = edge(page, 17.0 / 30)  # the end edge; the picture begins with the recording
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y, steps=4)
    page.mouse.up()
    saved(page, 1)
    (moved,) = changes(run)
    assert moved["end_s"] > 17.5 and set(moved) == {"event", "end_s"}

    page.keyboard.press("y")  # decide by keys
    saved(page, 2)
    shown(page, 2)
    page.keyboard.press("n")
    shown(page, 4)
    page.keyboard.press("u")
    shown(page, 1)
    assert [change.get("verdict") for change in changes(run)] == [None, "yes", "no", "unsure"]

    page.keyboard.press("z")  # undo goes back to the event
    shown(page, 4)
    assert page.locator('#decide [aria-pressed="true"]').count() == 0
    page.keyboard.press("Shift+Z")
    shown(page, 4)
    page.wait_for_selector('#decide [data-verdict="unsure"][aria-pressed="true"]')
    page.keyboard.press("ArrowRight")
    shown(page, 1)

    page.keyboard.press("o")  # another label
    page.locator("#naming input").fill("engine")
    page.keyboard.press("Enter")
    shown(page, 5)
    page.keyboard.press("t")
    page.keyboard.type("far away")
    page.keyboard.press("Enter")
    saved(page, 8)
    assert changes(run)[-1]["note"] == "far away"

    page.reload()  # the place is kept
    shown(page, 5)
    assert page.locator("#note").input_value() == "far away"

    server.stop(signal.SIGKILL)  # in the middle
    page.keyboard.press("y")
    page.wait_for_selector("#offline:visible")
    assert page.locator('#decide [aria-pressed="true"]').count() == 0  # not shown as decided
    server.start()
    page.goto(server.address)
    page.wait_for_selector("body[data-shown]")
    listed(page, "4 events in this list, 4 not decided")
    assert page.locator("#note").input_value() == "far away"

    page.keyboard.press("e")
    page.locator("#write-button").click()
    page.wait_for_selector("#exported code")
    table = read_raven(run / "reviewed" / "tables" / f"{NAMES[0]}.selections.txt")
    assert table["label"].tolist() == ["rumble", "engine"] and table["end_s"].iloc[0] == pytest.approx(moved["end_s"])


def test_many_events_are_rejected_in_the_grid_and_undone_at_once(page, run):
    page.keyboard.press("g")
    page.locator("#tiles .tile").nth(7).wait_for()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.locator("#tiles .tile").nth(5).click(modifiers=["Shift"])
    assert page.locator('#tiles [aria-pressed="true"]').count() == 5
    page.keyboard.press("n")
    saved(page, 1)
    assert len(changes(run)) == 5 and {change["verdict"] for change in changes(run)} == {"no"}
    assert page.locator("#tiles .verdict-n").count() == 5
    page.keyboard.press("z")
    saved(page, 2)
    assert page.locator("#tiles .verdict-n").count() == 0 and log_lines(run)[-1]["undo"] == 1
    page.keyboard.press("Enter")
    page.wait_for_selector("#single:visible")


def test_a_missed_event_is_drawn_and_its_edges_are_moved_with_keys(page, run):
    page.keyboard.press("d")
    x, y = edge(page, 0.7)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 90, y + 40, steps=4)
    page.mouse.up()
    page.wait_for_selector("#naming[open]")
    page.keyboard.press("Enter")
    saved(page, 1)
    (drawn,) = changes(run)
    assert drawn["event"].startswith("drawn-") and drawn["label"] == "rumble" and drawn["recording"].endswith(".wav")
    assert 20 < drawn["start_s"] < drawn["end_s"] < 25 and 0 < drawn["low_hz"] < drawn["high_hz"] < 250
    shown(page, 8)  # the drawn event is selected: the keys move its edges
    page.keyboard.press("a")
    page.keyboard.press("l")
    page.keyboard.press("l")
    saved(page, 4)
    moves = [round(change.get("start_s", drawn["start_s"]) - drawn["start_s"], 3) for change in changes(run)[1:]]
    ends = [round(change.get("end_s", drawn["end_s"]) - drawn["end_s"], 3) for change in changes(run)[1:]]
    assert moves == [-0.1, 0, 0] and ends == [0, 0.1, 0.2]
    page.keyboard.press("d")  # without a mouse
    page.keyboard.press("Enter")
    page.wait_for_selector("#naming[open]")
    page.keyboard.press("2")
    saved(page, 5)
    assert changes(run)[-1]["label"] == "gunshot"


def test_filters_and_bands_work_and_a_missing_recording_is_reported(page, server, run):
    page.locator("[name=label]").select_option("gunshot")
    listed(page, "2 events")
    shown(page, 2)
    assert page.locator('#bands [aria-pressed="true"]').inner_text() == "0–2 kHz"
    page.evaluate("document.activeElement.blur()")
    for key in ("b", "+", "-", "m", ".", ","):
        page.keyboard.press(key)
    page.locator("[name=order]").select_option("uncertainty true")
    page.locator("[name=label]").select_option("")
    listed(page, "8 events")
    shown(page, 5)
    page.locator("[name=site]").select_option("nn02b")
    page.locator("[name=score_min]").fill("0.9")
    page.locator("[name=score_min]").press("Enter")
    page.wait_for_selector("#empty:visible")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")


def test_the_page_opens_through_the_private_file_and_its_address_works_once(browser, run, tmp_path):
    script, uri = tmp_path / "browser.sh", tmp_path / "uri"
    script.write_text(f'#!/bin/sh\necho "$1" > {uri}.new; mv {uri}.new {uri}\n')
    script.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BROWSER", f"{script} %s")
        server = Server(run, "--browser")
    for _ in range(300):
        if uri.exists():
            break
        time.sleep(0.1)
    first, second = browser.new_context(), browser.new_context()
    page = first.new_page()
    page.goto(uri.read_text().strip())  # a page on the disk: browsers call the request a foreign one
    shown(page, 0)
    home = server.address.partition("?")[0]
    assert page.url.partition("#")[0] == home
    page.reload()
    shown(page, 0)
    tab = first.new_page()
    tab.goto(server.address)  # another tab of the same browser
    shown(tab, 0)
    page = second.new_page()
    page.goto(server.address)
    assert f"In the browser that used it, open {home} instead" in page.locator("p").inner_text()
    again = re.search(r"http://\S+", server.process.stdout.readline())[0]
    page.goto(again)
    shown(page, 0)
    first.close()
    second.close()
    server.stop()


@pytest.fixture
def damaged(run):
    bad = run / "review" / "ben.jsonl"
    bad.parent.mkdir()
    bad.write_text("no line of a decision log\n")
    (run / "scores" / f"{NAMES[0]}.npz").write_bytes(b"PK damaged")
    return bad


def test_a_log_that_cannot_be_read_and_damaged_scores_are_shown(damaged, page):
    page.locator("#warnings").filter(has_text="ben.jsonl, line 1: the decision log is damaged").wait_for()
    page.locator("#message.fault").filter(has_text=f"{NAMES[0]}.npz").wait_for()
    page.keyboard.press("r")
    page.locator("#results p.fault").filter(has_text="ben.jsonl").wait_for()
    damaged.unlink()
    page.locator("#results .close").click()
    page.locator("#export-button").click()
    page.locator("#write-button").click()
    page.wait_for_selector("#exported code")
    assert page.locator("#exported .fault").count() == 0


def test_a_real_run_is_detected_reviewed_by_keys_exported_calibrated_and_reported(browser, tmp_path, loxo):
    recordings, run = tmp_path / "recordings", tmp_path / "run"
    calls = ("--hours", 0.2, "--rumbles-per-hour", 150, "--gunshots-per-hour", 20, "--seed", 3)
    assert loxo("simulate", *calls, "--out", recordings)[0] == 0
    code, _, err = loxo("detect", recordings, "--out", run, "--threshold", 0.02)
    assert code == 0, err
    truth, events = read_raven(recordings / "truth.txt"), read_run(run).events
    assert len(events) >= 30
    right = [
        bool(((truth["label"] == e.label) & (truth["start_s"] < e.end_s) & (truth["end_s"] > e.start_s)).any())
        for e in events.itertuples()
    ]
    server = Server(run)
    context = browser.new_context(viewport={"width": 900, "height": 800})
    page = context.new_page()
    page.goto(server.address)
    for decided in range(len(events)):
        row = int(page.wait_for_selector("body[data-shown]").get_attribute("data-shown"))
        page.keyboard.press("y" if right[row] else "n")
        saved(page, decided + 1)
        if decided + 1 < len(events):
            page.wait_for_selector(f'body[data-shown]:not([data-shown="{row}"])')
    page.keyboard.press("e")
    page.locator("#write-button").click()
    page.wait_for_selector("#exported code")
    context.close()
    assert server.stop() == ""

    code, out, err = loxo("calibrate", "--review", run)
    rumbles = [yes for yes, label in zip(right, events["label"], strict=True) if label == "rumble"]
    assert code == 0 and f"rumble: {len(rumbles)} decisions, {sum(rumbles)} of them right." in out, err
    code, out, err = loxo("report", run)
    assert code == 0, err
    text = assert_self_contained(run / "report.html")
    assert f"reviewers decided on {len(events)} of them" in " ".join(text.words)
    assert f"{sum(rumbles)} true rumbles of {len(rumbles)} listed. All of them were reviewed." in out
