"""`loxo demo`: detection in a simulated scene with known calls, within seconds and without any data.

The scene is a script: calls that become fainter, one under the noise of an engine, one below the background, and
thunder, which is no event. For each call that was missed the demo says why.

The output folder contains the recording, truth.selections.txt, demo.png, and the folder `run` with a run and its
report, as `loxo detect` and `loxo report` write them. Existing files of these names are replaced, but not a run that
somebody has reviewed: it stays if its parameters agree, else the demo is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from loxo.audio.recording import read
from loxo.detection.detect import Analysis, analyse
from loxo.engine.config import Decoding, ModelConfig
from loxo.engine.engine import load_engine
from loxo.events.raven import write_raven
from loxo.files import write_atomically
from loxo.report.plots import draw_detections
from loxo.report.report import report
from loxo.review.decision_log import FOLDER as REVIEW
from loxo.runs.record import is_run
from loxo.simulation.background import synthetic_background
from loxo.simulation.gunshot import draw_gunshot, synthesise_gunshot
from loxo.simulation.machines import vehicle
from loxo.simulation.mixing import Event, add_call, add_negative, events_table
from loxo.simulation.recorder import Recorder
from loxo.simulation.rumble import draw_rumble, synthesise_rumble
from loxo.simulation.sounds import Samples
from loxo.simulation.weather import thunder
from loxo.survey.survey import survey

SECONDS = 120
SAMPLE_RATE = 4000
RECORDING = "soundscape_20260301_180000.flac"
MIN_COVER = 0.1  # min. fraction of a true event that a detection must cover to find it (Keen et al. 2017)
# (start in s, sound, signal-to-noise ratio in dB)
CALLS = (
    (7.0, "rumble", 14.0),
    (21.0, "gunshot", 26.0),
    (33.0, "rumble", 7.0),
    (62.0, "rumble", 1.0),
    (75.0, "gunshot", 13.0),
    (92.0, "rumble", 0.0),
    (111.0, "gunshot", -8.0),
)
# (start in s, sound, level in dB relative to the background in the band of the sound)
OTHER_SOUNDS = ((44.0, "thunder", 15.0), (86.0, "vehicle", 20.0))
MAX_OTHER_S = 14.0
STEPS = ("simulating a soundscape", "detecting", "drawing", "writing the report")


@dataclass(frozen=True)
class Demo:
    """Result of the demo: the picture, the page, one line per event, and counts of events."""

    picture: Path
    page: Path
    lines: list[str]
    found: int
    missed: int
    false_positives: int


def run_demo(
    out: str | Path,
    *,
    model: str | Path = "default",
    seed: int = 0,
    on_progress: Callable[[int, str], None] | None = None,
) -> Demo:
    """Simulates a scene of two minutes, detects events in it, and writes tables, a picture and a report to `out`.

    `on_progress` receives the number of finished STEPS and the name of the next one.
    """
    out = Path(out)
    say = on_progress or (lambda done, name: None)
    say(0, STEPS[0])
    samples, calls, others = scene(np.random.default_rng(seed))
    recording = out / RECORDING
    buffer = BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    write_atomically(recording, buffer.getvalue())
    truth = events_table(calls, SAMPLE_RATE, str(recording))
    write_raven(truth, out / "truth.selections.txt", extra={"snr_db": "SNR (dB)"})
    say(1, STEPS[1])
    engine: Any = load_engine(model)
    analysis = analyse(recording, engine)
    folder = out / "run"
    if is_run(folder) and not (folder / REVIEW).exists():
        shutil.rmtree(folder)  # of an earlier demo, perhaps with another model or runtime
    run = survey([recording], model, folder, keep_scores=True).folder
    say(2, STEPS[2])
    events = analysis.events
    reasons = [missed_because(event, analysis, engine.config, others) for event in truth.to_dict("records")]
    lines, reasons, counts = compare(truth, events, reasons)
    picture = out / "demo.png"
    notes = ["" if not reason else f"missed: {reason.partition(':')[0]}" for reason in reasons]
    sounds = pd.concat([truth.assign(note=notes), others.assign(note=others["label"] + ": no event")])
    draw_detections(
        read(recording, SAMPLE_RATE),
        SAMPLE_RATE,
        analysis.events,
        analysis.scores,
        engine.config.classes,
        analysis.hop_s,
        picture,
        truth=sounds,
        title="Simulated soundscape. Dashed boxes: simulated sounds. Solid boxes: events that Loxo detected.",
    )
    say(3, STEPS[3])
    report(run)
    say(4, "finished")
    return Demo(picture, Path(run) / "report.html", lines, *counts)


def scene(rng: np.random.Generator) -> tuple[Samples, list[Event], pd.DataFrame]:
    """The samples as a recorder stores them, the calls, and the other sounds as rows for the picture."""
    count = SECONDS * SAMPLE_RATE
    background = synthetic_background(rng, count, SAMPLE_RATE)
    mix, recorder, calls = background.copy(), Recorder(level_db=-35.0), []
    for start_s, label, snr_db in CALLS:
        if label == "rumble":
            call = synthesise_rumble(draw_rumble(rng), SAMPLE_RATE, rng)
        else:
            call = synthesise_gunshot(draw_gunshot(rng), SAMPLE_RATE, rng)
        event = add_call(mix, background, call, round(start_s * SAMPLE_RATE), snr_db, SAMPLE_RATE, recorder)
        if event is not None:
            calls.append(event)
    others = []
    for start_s, name, level_db in OTHER_SOUNDS:
        sound = (thunder if name == "thunder" else vehicle)(rng, SAMPLE_RATE, MAX_OTHER_S)
        add_negative(mix, sound, round(start_s * SAMPLE_RATE), level_db, SAMPLE_RATE)
        times = {"start_s": start_s, "end_s": start_s + len(sound.samples) / SAMPLE_RATE}
        others.append({**times, "label": name, "low_hz": sound.low_hz, "high_hz": min(sound.high_hz, 200.0)})
    return recorder.store(mix.astype(np.float32), SAMPLE_RATE), calls, pd.DataFrame(others)


def missed_because(event: dict[Any, Any], analysis: Analysis, config: ModelConfig, others: pd.DataFrame) -> str:
    """Why the detector did not list an event: what hides it, and its best score beside the threshold."""
    if event["label"] not in config.classes:
        return "the model has no such class"
    row = config.classes.index(event["label"])
    first, last = (round(event[name] / analysis.hop_s) for name in ("start_s", "end_s"))
    best = float(np.asarray(analysis.scores)[row, first : max(last, first + 1)].max())
    threshold = config.decoding.get(event["label"], Decoding()).threshold
    covering = others[(others["start_s"] < event["end_s"]) & (others["end_s"] > event["start_s"])]
    if len(covering):
        hidden = f"a {covering['label'].iloc[0]} hides it"
    elif event["snr_db"] < 0:
        hidden = "fainter than the background"
    else:
        hidden = "doubtful"
    return f"{hidden}: score {best:.2f}, threshold {threshold:.2f}"


def compare(
    truth: pd.DataFrame, events: pd.DataFrame, reasons: list[str]
) -> tuple[list[str], list[str], tuple[int, int, int]]:
    """Compares each true event with the detection that covers most of it, and counts false positives.

    Returns printed lines, the reason for each true event ("" if it was found), and the numbers of events found, missed
    and false.
    """
    lines, used, found = [], set(), 0
    for k, event in enumerate(truth.to_dict("records")):
        overlap_s = np.minimum(events["end_s"], event["end_s"]) - np.maximum(events["start_s"], event["start_s"])
        overlap_s = overlap_s.where(events["label"] == event["label"], 0.0)
        description = (
            f"{event['label']:8} {event['start_s']:6.1f}-{event['end_s']:6.1f} s  SNR {event['snr_db']:5.1f} dB"
        )
        hits = overlap_s[overlap_s > 0]
        used |= set(hits.index)
        if len(hits) and hits.max() >= MIN_COVER * (event["end_s"] - event["start_s"]):
            best = events.loc[hits.idxmax()]
            lines.append(
                f"found    {description}  at {best['start_s']:6.1f}-{best['end_s']:6.1f} s, score {best['score']:.2f}"
            )
            found += 1
            reasons[k] = ""
        else:
            lines.append(f"missed   {description}  {reasons[k]}")
    false_positives = events.drop(index=list(used))
    for event in false_positives.to_dict("records"):
        span = f"{event['start_s']:6.1f}-{event['end_s']:6.1f} s"
        lines.append(f"false    {event['label']:8} {span}  score {event['score']:.2f}")
    missed = len(truth) - found
    lines.append(f"{found} of {len(truth)} events found, {missed} missed, {len(false_positives)} false positives")
    return lines, reasons, (found, missed, len(false_positives))
