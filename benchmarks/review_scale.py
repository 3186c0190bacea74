"""Response times of the review page for a run of 100,000 events.

    python benchmarks/review_scale.py [--events 100000] [--decisions 200]

The measured times are those for which a reviewer waits:

    - from the command until it prints its address
    - until the first event in headless Chromium
    - from a key press through fsync until the next spectrogram is painted
    - for another order of the list
    - for a page of the grid

There is one key press per second, which is three times the rate of a thousand events per
hour. The benchmark needs Chromium and the extra `dev`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import Page, sync_playwright

RATE, SECONDS, RECORDINGS = 4000, 1800, 6


def make_run(folder: Path, events: int) -> Path:
    """Writes a run folder with recordings of noise and random events."""
    rng = np.random.default_rng(0)
    run = folder / "run"
    (run / "tables").mkdir(parents=True)
    lines, items = ["recording,start_s,end_s,label,score,low_hz,high_hz,site,start_time"], []
    for number in range(RECORDINGS):
        path = folder / f"nn{number:02d}_20180126_000000.wav"
        soundfile.write(path, 0.02 * rng.standard_normal(RATE * SECONDS), RATE, subtype="PCM_16")
        count = events // RECORDINGS + (number < events % RECORDINGS)
        starts = np.sort(rng.uniform(0, SECONDS - 10, count)).round(3)
        scores = rng.beta(0.7, 1.5, count).round(6)
        lines += [
            f"{path},{start:.3f},{start + 4:.3f},rumble,{score},10,150,,"
            for start, score in zip(starts, scores, strict=True)
        ]
        item = {"recording": str(path), "status": "done", "duration_s": SECONDS, "analysed_s": SECONDS}
        items.append(item | {"events": count, "reason": None, "notes": [], "table": None})
    (run / "events.csv").write_text("\n".join(lines) + "\n")
    run_json = {"status": "finished", "parameters": {"decoding": {"rumble": {}}}, "problems": [], "recordings": items}
    (run / "run.json").write_text(json.dumps(run_json))
    return run


def start_review(run: Path) -> tuple[subprocess.Popen[str], str, float]:
    """Starts `loxo review`. Returns the process, its address, and the seconds until it printed the address."""
    start = time.perf_counter()
    command = [
        sys.executable,
        "-c",
        "from loxo.cli import main; main()",
        "review",
        str(run),
        "--no-browser",
        "--port=0",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    for line in server.stdout:
        if match := re.search(r"http://\S+", line):
            return server, match[0], time.perf_counter() - start
    raise SystemExit("loxo review did not start")


def decisions(page: Page, count: int) -> np.ndarray:
    """For each decision the milliseconds from the key press to the picture of the next event."""
    times = []
    for number in range(1, count + 1):
        before = page.evaluate("document.body.dataset.shown")
        page.keyboard.press("n")
        page.wait_for_selector(f'body[data-actions="{number}"]:not([data-shown="{before}"])')
        times.append(float(page.evaluate("document.body.dataset.milliseconds")))
        page.wait_for_timeout(1000)
    return np.array(times)


def milliseconds(page: Page, act: str, until: str) -> float:
    """The milliseconds from an action until an element is visible."""
    start = time.perf_counter()
    page.evaluate(act)
    page.wait_for_selector(until)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--decisions", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        run = make_run(Path(folder), options.events)
        load = os.getloadavg()[0]
        server, address, opening_s = start_review(run)
        try:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1360, "height": 820})
            start = time.perf_counter()
            page.goto(address)
            page.wait_for_selector("body[data-shown]")
            first_ms = 1000 * (time.perf_counter() - start)
            page.wait_for_timeout(2000)
            waits_ms = decisions(page, options.decisions)
            page.evaluate("delete document.body.dataset.shown")
            order = "document.querySelector('[name=order]').value = 'uncertainty true';"
            change = "document.getElementById('filters').dispatchEvent(new Event('change'))"
            sorting_ms = milliseconds(page, order + change, "body[data-shown]")
            grid_ms = milliseconds(page, "document.getElementById('grid-button').click()", "#tiles .cell:nth-child(60)")
            browser.close()
        finally:
            server.terminate()
            server.wait()
        print(f"{options.events} events, load average {load:.1f} on {os.cpu_count()} cores")
        print(f"command to address        {opening_s:7.2f} s")
        print(f"address to first event    {first_ms:7.0f} ms")
        print(f"both                      {opening_s + first_ms / 1000:7.2f} s")
        print(f"key to next event, median {np.median(waits_ms):7.0f} ms ({len(waits_ms)} decisions)")
        print(f"                     95 % {np.quantile(waits_ms, 0.95):7.0f} ms")
        print(f"                  slowest {waits_ms.max():7.0f} ms")
        print(f"another order             {sorting_ms:7.0f} ms")
        print(f"a page of the grid        {grid_ms:7.0f} ms")


if __name__ == "__main__":
    main()
