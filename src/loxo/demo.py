"""`loxo demo`: detection in a simulated soundscape with known events, within seconds and without any data.

The output folder contains soundscape.flac, truth.selections.txt, detected.selections.txt and demo.png. Existing files
of these names are replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from loxo.audio.recording import read
from loxo.detection.detect import analyse
from loxo.engine.engine import load_engine
from loxo.events.raven import write_raven
from loxo.files import write_atomically
from loxo.report.plots import draw_detections
from loxo.simulation.background import synthetic_background
from loxo.simulation.recorder import Recorder
from loxo.simulation.soundscape import Gunfire, compose

if TYPE_CHECKING:
    import pandas as pd

SECONDS = 120
SAMPLE_RATE = 4000
MIN_COVER = 0.1  # min. fraction of a true event that a detection must cover to find it (Keen et al. 2017)


@dataclass(frozen=True)
class Demo:
    """Result of the demo: the picture, one line per event, and counts of events."""

    picture: Path
    lines: list[str]
    found: int
    missed: int
    false_positives: int


def run_demo(out: str | Path, *, model: str | Path = "default", seed: int = 0) -> Demo:
    """Simulates a soundscape of two minutes, detects events in it, and writes tables and a picture to `out`."""
    out = Path(out)
    network: Any = load_engine(model)
    rng = np.random.default_rng(seed)
    samples = SECONDS * SAMPLE_RATE
    scene = compose(
        rng,
        samples,
        SAMPLE_RATE,
        synthetic_background(rng, samples, SAMPLE_RATE),
        rumbles=6,
        shots=2,
        negatives=4,
        call_overlap=0.0,
        rumble_snr_db=(-3.0, 3.0, 15.0),
        gunfire=Gunfire(snr_db=(6.0, 12.0, 25.0)),
        recorder=Recorder(level_db=-35.0),
        training=False,
    )
    recording = out / "soundscape.flac"
    buffer = BytesIO()
    soundfile.write(buffer, scene.samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    write_atomically(recording, buffer.getvalue())
    truth = scene.table(str(recording))
    write_raven(truth, out / "truth.selections.txt", extra={"snr_db": "SNR (dB)"})
    analysis = analyse(recording, network)
    write_raven(analysis.events, out / "detected.selections.txt")
    picture = draw_detections(
        read(recording, SAMPLE_RATE),
        SAMPLE_RATE,
        analysis.events,
        analysis.scores,
        network.config.classes,
        analysis.hop_s,
        out / "demo.png",
        truth=truth,
        title=f"simulated soundscape, seed {seed}: dashed boxes are true events, solid boxes are detections",
    )
    return compare(truth, analysis.events, picture)


def compare(truth: pd.DataFrame, events: pd.DataFrame, picture: Path) -> Demo:
    """Compares each true event with the detection that covers most of it, and counts false positives."""
    lines, used, found = [], set(), 0
    for event in truth.to_dict("records"):
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
        else:
            lines.append(f"missed   {description}")
    false_positives = events.drop(index=list(used))
    for event in false_positives.to_dict("records"):
        span = f"{event['start_s']:6.1f}-{event['end_s']:6.1f} s"
        lines.append(f"false    {event['label']:8} {span}  score {event['score']:.2f}")
    missed = len(truth) - found
    lines.append(f"{found} of {len(truth)} events found, {missed} missed, {len(false_positives)} false positives")
    return Demo(picture, lines, found, missed, len(false_positives))
