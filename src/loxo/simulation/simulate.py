"""Recordings of any length with known rumbles and gunshots, written to a folder.

    sim01a_20180126_000000.flac            the recordings, named as the Elephant Listening Project names its own
    sim01a_20180126_000000.selections.txt  the truth about each, a Raven selection table with the column `SNR (dB)`
    truth.txt                              the truth about all of them in one Raven table
    negatives.jsonl                        what else is in them, a line for each: recording, start_s, end_s, kind
    simulation.json                        every parameter, the seed and the version; written last

A file is made minute by minute in constant memory: calls come from a schedule for the whole file, each with a seed of
its own, and may run across the borders of minutes. The same seed gives the same samples. Every file is written under
a temporary name first; a folder that is not empty is refused; a folder without simulation.json is an unfinished run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

import loxo
from loxo.errors import LoxoError
from loxo.events.raven import write_raven
from loxo.files import atomic_path, write_atomically
from loxo.simulation.background import Backgrounds, synthetic_background
from loxo.simulation.gunshot import draw_pattern, synthesise_gunshot
from loxo.simulation.mixing import (
    BY_LINE,
    GUNSHOT_SNR_DB,
    LINE_SNR_DB,
    RUMBLE_SNR_DB,
    SHORTEST_S,
    Event,
    add_call,
    add_negative,
    draw_snr,
    events_table,
)
from loxo.simulation.negatives import draw_negative
from loxo.simulation.recorder import Recorder, quantised
from loxo.simulation.rumble import draw_rumble, synthesise_rumble
from loxo.simulation.sounds import Samples, fast_length

if TYPE_CHECKING:
    import pandas as pd

SITE, SITE_NAME = "sim01a", re.compile("[A-Za-z][A-Za-z0-9]*")
START = datetime(2018, 1, 26)
# A forest site: median 15-18 rumbles in 24 h, 1-67 at most sites (official tables of the Elephant Listening Project).
RUMBLES_PER_HOUR = 0.7
GUNSHOTS_PER_HOUR = 0.04
NEGATIVES_PER_HOUR = 20.0
BOUT = 4.0  # mean rumbles in a bout
GAP_S = 28.0  # median from one onset to the next within a bout
OVERLAP = 0.1  # share of rumbles during which the next begins

BLOCK_S = 60
FADE_S = 6  # cross-fade between the backgrounds of two blocks
SAME_PLACE = 10  # blocks in a row that take their background from one recording
FORMATS = {"flac": "FLAC", "wav": "WAV"}
EXTRA = {"snr_db": "SNR (dB)", "line_snr_db": "Line SNR (dB)", "kind": "Kind"}


@dataclass(frozen=True)
class Scheduled:
    """Something that begins at a sample of a file, made from its own seed when its turn comes."""

    at: int
    what: str  # "rumble", "gunshot", "negative"
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Negative:
    """A sound that is neither rumble nor shot, for those who want to know what a detector took for one."""

    start_s: float
    end_s: float
    kind: str


def simulate(
    out: str | Path,
    hours: float,
    seed: int = 0,
    *,
    backgrounds: Backgrounds | str | Path | None = None,
    sample_rate: int = 4000,
    file_hours: float = 1.0,
    format: str = "flac",
    site: str = SITE,
    rumbles_per_hour: float = RUMBLES_PER_HOUR,
    gunshots_per_hour: float = GUNSHOTS_PER_HOUR,
    negatives_per_hour: float = NEGATIVES_PER_HOUR,
    on_progress: Callable[[float, float], None] | None = None,
) -> pd.DataFrame:
    """Writes `hours` of recordings and their truth into `out`, and returns the truth as an events table whose
    recordings are file names, beginning with `site`. `on_progress` gets seconds done and seconds in all, about once for
    each minute made.

    Raises LoxoError for a folder that is not empty, backgrounds that cannot be read, or numbers that make no sense.
    """
    import pandas as pd

    out = Path(out)
    total = _check(out, hours, file_hours, sample_rate, format, site)
    if backgrounds is not None and not isinstance(backgrounds, Backgrounds):
        backgrounds = Backgrounds(backgrounds, sample_rate)
    if backgrounds is not None and backgrounds.sample_rate != sample_rate:
        raise LoxoError(
            f"The backgrounds were loaded at {backgrounds.sample_rate} Hz, the simulation runs at {sample_rate} Hz."
        )
    rates = {"rumble": rumbles_per_hour, "gunshot": gunshots_per_hour, "negative": negatives_per_hour}
    per_file = max(1, round(file_hours * 3600 * sample_rate))
    tables, durations, files, others = [], {}, [], []
    for number, first in enumerate(range(0, total, per_file)):
        samples = min(per_file, total - first)
        start = START + timedelta(seconds=round(first / sample_rate))
        name = f"{site}_{start:%Y%m%d_%H%M%S}.{format}"
        rng = np.random.default_rng((seed, number))
        recorder = _file_recorder(rng)
        events: list[Event] = []
        negatives: list[Negative] = []
        schedule = _schedule(rng, samples, sample_rate, rates, (seed, number))
        minutes = _minutes(schedule, samples, sample_rate, backgrounds, recorder, (seed, number), events, negatives)
        with _audio_file(out / name, sample_rate, format, samples) as file:
            done = first
            for minute in minutes:
                file.write((minute * 32768).astype(np.int16))
                done += len(minute)
                if on_progress is not None:
                    on_progress(done / sample_rate, total / sample_rate)
        table = events_table(events, sample_rate, name)
        write_raven(table, out / f"{Path(name).stem}.selections.txt", extra=EXTRA)
        tables.append(table)
        durations[name] = samples / sample_rate
        files.append({"recording": name, "seconds": samples / sample_rate, "events": len(events), **asdict(recorder)})
        others += [json.dumps({"recording": name, **asdict(negative)}) for negative in negatives]
    truth = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    write_raven(truth, out / "truth.txt", extra=EXTRA, durations=durations)
    write_atomically(out / "negatives.jsonl", "".join(f"{line}\n" for line in others).encode())
    parameters: dict[str, Any] = {
        "version": loxo.__version__,
        "seed": seed,
        "hours": hours,
        "file_hours": file_hours,
        "sample_rate": sample_rate,
        "format": format,
        "backgrounds": backgrounds.origin if backgrounds is not None else None,
        "background_recordings": len(backgrounds) if backgrounds is not None else 0,
        **{f"{what}s_per_hour": rate for what, rate in rates.items()},
        "rumble_snr_db": RUMBLE_SNR_DB,
        "line_snr_db": LINE_SNR_DB,
        "by_line": BY_LINE,
        "gunshot_snr_db": GUNSHOT_SNR_DB,
        "files": files,
    }
    write_atomically(out / "simulation.json", (json.dumps(parameters, indent=1) + "\n").encode())
    return truth


def _check(out: Path, hours: float, file_hours: float, sample_rate: int, format: str, site: str) -> int:
    """The number of samples to make."""
    if format not in FORMATS:
        raise LoxoError(f"Recordings are written as {' or '.join(FORMATS)}, not as {format!r}.")
    if hours <= 0 or file_hours <= 0:
        raise LoxoError(f"Hours ({hours}) and hours in a file ({file_hours}) must be more than 0.")
    if not SITE_NAME.fullmatch(site):
        raise LoxoError(f"The site {site!r} cannot begin a file name: give letters and digits, such as {SITE}.")
    if sample_rate < 1000:
        raise LoxoError(f"A sample rate of {sample_rate} Hz cannot hold a gunshot; take 1000 Hz or more.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise LoxoError(f"The folder {out} is not empty: give a new one, so that no recording is overwritten.")
    except OSError as error:
        raise LoxoError(f"The folder {out} cannot be made or read ({error.strerror or error}).") from error
    return max(1, round(hours * 3600 * sample_rate))


def _file_recorder(rng: np.random.Generator) -> Recorder:
    """One recorder for a whole file: a high-pass or none, and a gain that leaves room for what is loud."""
    return Recorder(
        highpass_hz=float(np.exp(rng.uniform(np.log(2), np.log(20)))) if rng.random() < 0.5 else 0.0,
        highpass_order=int(rng.integers(1, 3)),
        level_db=float(rng.uniform(-55, -30)),
    )


# -- the schedule


def _schedule(
    rng: np.random.Generator, samples: int, sample_rate: int, rates: dict[str, float], seed: tuple[int, ...]
) -> list[Scheduled]:
    """Everything that happens in a file, by its first sample."""
    hours = samples / sample_rate / 3600
    times: list[tuple[float, str]] = []
    for _ in range(rng.poisson(rates["rumble"] * hours / BOUT)):
        at = rng.uniform(0, hours * 3600)
        for _ in range(rng.geometric(1 / BOUT)):
            times.append((at, "rumble"))
            # Onsets closer than a rumble lasts overlap; others follow by a log-normal gap.
            at += rng.uniform(0.5, 3.0) if rng.random() < OVERLAP else 6 + GAP_S * 0.8 * np.exp(rng.normal(0, 1))
    for what in ("gunshot", "negative"):
        times += [(at, what) for at in rng.uniform(0, hours * 3600, rng.poisson(rates[what] * hours))]
    within = sorted((int(at * sample_rate), what) for at, what in times if at * sample_rate < samples)
    return [Scheduled(at, what, (*seed, 1, k)) for k, (at, what) in enumerate(within)]


# -- minute by minute


def _minutes(
    schedule: list[Scheduled],
    samples: int,
    sample_rate: int,
    backgrounds: Backgrounds | None,
    recorder: Recorder,
    seed: tuple[int, ...],
    events: list[Event],
    negatives: list[Negative],
) -> Iterator[Samples]:
    """The file in blocks of a minute; what is in each is appended to `events` and `negatives` before it is yielded.

    The bed is known two blocks ahead and its negatives one block ahead, so that every call meets the noise of its
    whole length: nothing scheduled lasts longer than a block.
    """
    block = BLOCK_S * sample_rate
    beds = _beds(sample_rate, backgrounds, recorder, seed)
    bed = np.concatenate([next(beds) for _ in range(3)])
    voices = np.zeros(3 * block, np.float32)
    scale = np.float32(10 ** (recorder.level_db / 20))
    calls = [item for item in schedule if item.what != "negative"]
    others = [item for item in schedule if item.what == "negative"]
    for first in range(0, samples, block):
        while others and others[0].at < first + 2 * block:
            item = others.pop(0)
            rng = np.random.default_rng(item.seed)
            call = draw_negative(rng, sample_rate, BLOCK_S)
            call.samples = _through(call.samples, recorder, sample_rate)
            add_negative(bed, call, item.at - first, rng.uniform(-4, 24), sample_rate)
            end = min(item.at + len(call.samples), samples)
            negatives.append(Negative(round(item.at / sample_rate, 3), round(end / sample_rate, 3), call.kind))
        while calls and calls[0].at < first + block:
            events += _mixed(calls.pop(0), first, samples, bed, voices, sample_rate, recorder)
        minute = quantised((bed[:block] + voices[:block]) * scale, recorder.bits)
        yield minute[: samples - first]
        bed = np.concatenate([bed[block:], next(beds)])
        voices = np.concatenate([voices[block:], np.zeros(block, np.float32)])


def _mixed(
    item: Scheduled, first: int, samples: int, bed: Samples, voices: Samples, sample_rate: int, recorder: Recorder
) -> list[Event]:
    """Adds the calls of one entry of the schedule to `voices`, both starting at sample `first` of the file."""
    rng = np.random.default_rng(item.seed)
    by_line = False
    if item.what == "rumble":
        by_line = rng.random() < BY_LINE
        snr_db = draw_snr(rng, LINE_SNR_DB if by_line else RUMBLE_SNR_DB)
        sounds = [(0.0, synthesise_rumble(draw_rumble(rng), sample_rate, rng))]
    else:
        snr_db = draw_snr(rng, GUNSHOT_SNR_DB)
        sounds = [(delay, synthesise_gunshot(shot, sample_rate, rng)) for delay, shot in draw_pattern(rng)]
    mixed = []
    end = min(len(bed), samples - first)  # nothing is true beyond the end of the file
    for delay, call in sounds:
        call.samples = _through(call.samples, recorder, sample_rate)
        at = item.at - first + int(delay * sample_rate)
        event = add_call(voices[:end], bed[:end], call, at, snr_db, sample_rate, Recorder(), by_line)
        if event is not None and event.end - event.start >= SHORTEST_S[event.label] * sample_rate:
            mixed.append(replace(event, start=first + event.start, end=first + event.end))
    return mixed


def _through(samples: Samples, recorder: Recorder, sample_rate: int) -> Samples:
    """One part of the mix through the recorder's filters: a linear filter of a sum is the sum of its parts filtered."""
    if recorder.highpass_hz <= 0:
        return samples
    size = fast_length(len(samples) + sample_rate)
    filtered = np.fft.irfft(np.fft.rfft(samples, size) * recorder.response(size, sample_rate), size)
    return filtered[: len(samples)].astype(np.float32)


def _beds(
    sample_rate: int, backgrounds: Backgrounds | None, recorder: Recorder, seed: tuple[int, ...]
) -> Iterator[Samples]:
    """Backgrounds without end, one block after the other, cross-faded with equal power."""
    block, fade = BLOCK_S * sample_rate, FADE_S * sample_rate
    rise = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade).astype(np.float32)
    before = np.zeros(fade, np.float32)
    number = 0
    while True:
        rng = np.random.default_rng((*seed, 2, number))
        if backgrounds is None:
            piece = synthetic_background(rng, block + fade, sample_rate)
        else:
            here = backgrounds.pick(np.random.default_rng((*seed, 3, number // SAME_PLACE)))
            piece = backgrounds.draw(rng, block + fade, here)
        piece = _through(piece, recorder, sample_rate)
        if number > 0:
            piece[:fade] = piece[:fade] * rise + before
        before = piece[block:] * rise[::-1]
        yield piece[:block]
        number += 1


# -- files


@contextmanager
def _audio_file(path: Path, sample_rate: int, format: str, samples: int) -> Iterator[soundfile.SoundFile]:
    """A recording to write that takes its name only when it is complete."""
    # A WAV cannot be longer than 4 GB; RF64 is the same file with longer numbers.
    kind = "RF64" if format == "wav" and samples * 2 > 4_000_000_000 else FORMATS[format]
    with atomic_path(path) as draft:
        try:
            with soundfile.SoundFile(draft, "w", sample_rate, 1, subtype="PCM_16", format=kind) as file:
                yield file
        except soundfile.LibsndfileError as error:
            raise LoxoError(f"{path}: the recording cannot be written ({error}). Is the disk full?") from error
