"""Run folders made by hand, as `loxo detect` writes them: what is in them is known to the last digit."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from loxo.events.table import COLUMNS

PARAMETERS = {
    "version": "0.1.0",
    "model": "nowhere.safetensors",
    "model_sha256": "0" * 64,
    "decoding": {"rumble": {"threshold": 0.6}, "gunshot": {"threshold": 0.7}},
    "threshold": None,
    "window_overlap": 0.5,
}


def recording(name: str, hours: float = 24.0, *, analysed: float | None = None, reason: str | None = None) -> dict:
    """A row of run.json. Without a reason all is analysed; `analysed` 0 is a failed recording."""
    analysed = hours if analysed is None else analysed
    status = "done" if reason is None else "failed" if analysed == 0 else "truncated"
    return {
        "recording": name,
        "status": status,
        "duration_s": 0.0 if status == "failed" else hours * 3600,
        "analysed_s": analysed * 3600,
        "events": 0,
        "reason": reason,
        "notes": [],
        "table": None if status == "failed" else f"tables/{Path(name).stem}.selections.txt",
    }


def event(name: str, start_s: float, label: str = "rumble", score: float = 0.9, length_s: float = 4.0) -> list:
    low, high = (10.0, 150.0) if label == "rumble" else (80.0, 2000.0)
    return [name, start_s, start_s + length_s, label, score, low, high, "", ""]


def write_run(folder: Path, recordings: list[dict], events: list[list], *, problems=(), **record) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"status": "finished", "parameters": PARAMETERS, "problems": list(problems), "recordings": recordings}
    (folder / "run.json").write_text(json.dumps({**content, **record}))
    rows = [",".join(COLUMNS), *[",".join(map(str, row)) for row in events]]
    (folder / "events.csv").write_text("\n".join(rows) + "\n")
    return folder


def season(
    folder: Path, sites: int = 6, days: int = 60, rate: float = 20.0, seed: int = 0, hours: float = 24.0
) -> Path:
    """A survey as they are: a season, calls at night in bouts, gaps, failed and cut off recordings."""
    rng = np.random.default_rng(seed)
    recordings, events = [], []
    for k in range(sites):
        site, start = f"nn{k + 1:02d}a", datetime(2018, 1, 10) + timedelta(days=int(rng.integers(0, 9)))
        shut = rng.integers(days // 3, days // 2)
        for day in range(days):
            if shut <= day < shut + (k % 4) * 2:
                continue
            for part in range(round(24 / hours)):
                begin = start + timedelta(days=day, hours=part * hours)
                name = f"cards/{site}_{begin:%Y%m%d_%H%M%S}.wav"
                luck = rng.random()
                if luck < 0.01:
                    recordings.append(recording(name, analysed=0, reason=f"{name}: the file is empty (0 bytes)."))
                    continue
                cut = hours * rng.random() if luck < 0.02 else None
                reason = None if cut is None else f"{name}: the file is cut off."
                recordings.append(recording(name, hours, analysed=cut, reason=reason))
                length = hours if cut is None else cut
                for label, each in (("rumble", rate * (1 + k) / sites), ("gunshot", 0.3)):
                    for _ in range(rng.poisson(each * hours / 24 * rng.gamma(1.5, 1 / 1.5))):
                        clock = (rng.normal(1.0, 4.0) if label == "rumble" else rng.normal(15, 4)) % 24
                        second = (clock * 3600 - part * hours * 3600) % (24 * 3600)
                        if second < length * 3600 - 10:
                            score = float(np.round(rng.beta(3, 1.5), 6))
                            events.append(event(name, round(second, 2), label, score))
    events.sort(key=lambda row: (row[0], row[1]))
    return write_run(folder, recordings, events)


def review_run(folder: Path, verdicts: list) -> None:
    """Writes decisions.csv and results.json as `loxo review` exports them, with one drawn rumble. `verdicts`: one for
    each event of events.csv, "" if undecided, or ("other", label)."""
    header, *rows = (folder / "events.csv").read_text().splitlines()
    said = [verdict if isinstance(verdict, tuple) else (verdict, "") for verdict in verdicts]
    lines = [f"{row},{verdict},{label}," for row, (verdict, label) in zip(rows, said, strict=True)]
    lines.append(f"{rows[0].split(',')[0]},50,54,rumble,,,,,,drawn,,")
    (folder / "reviewed").mkdir(exist_ok=True)
    (folder / "reviewed" / "decisions.csv").write_text("\n".join([f"{header},verdict,new_label,note", *lines]) + "\n")
    (folder / "reviewed" / "results.json").write_text(json.dumps({"classes": [{"label": "rumble"}]}))
