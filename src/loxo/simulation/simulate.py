"""Simulated recordings of any length with known rumbles and gunshots, in one folder.

    sim01a_20180126_000000.flac            a recording, named like those of the Elephant Listening Project
    sim01a_20180126_000000.selections.txt  its true events, a Raven selection table with the column `SNR (dB)`
    truth.txt                              the true events of all recordings in one Raven table
    negatives.jsonl                        the negatives, one per line: recording, start_s, end_s, kind
    simulation.json                        every parameter, the seed and the version; written last

A file is computed minute by minute in constant memory. Calls come from a schedule for the whole file. Each has a seed
of its own and may cross the border of a minute. The same seed gives the same samples. Every file is first written under
a temporary name. A folder that is not empty is refused. A folder without simulation.json is an unfinished simulation.
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
    GUNSHOT_SNR_DB,
    LINE_SNR_DB,
    LINE_SNR_PROBABILITY,
    MIN_EVENT_S,
    RUMBLE_SNR_DB,
    Event,
    add_call,
    add_negative,
    draw_snr,
    events_table,
)
from loxo.simulation.negatives import draw_negative
from loxo.simulation.recorder import Recorder, quantise
from loxo.simulation.rumble import draw_rumble, synthesise_rumble
from loxo.simulation.sounds import Samples, fast_length

if TYPE_CHECKING:
    import pandas as pd

SITE, SITE_NAME = "sim01a", re.compile("[A-Za-z][A-Za-z0-9]*")
START = datetime(2018, 1, 26)
# A forest site has a median of 15-18 rumbles in 24 h; most sites have 1-67 (official tables of the Elephant Listening
# Project).
RUMBLES_PER_HOUR = 0.7
GUNSHOTS_PER_HOUR = 0.04
NEGATIVES_PER_HOUR = 20.0
RUMBLES_PER_BOUT = 4.0  # mean
BOUT_GAP_S = 28.0  # median time from onset to onset within a bout
OVERLAP_PROBABILITY = 0.1  # that the next rumble of a bout begins 0.5-3 s after the onset of a rumble

BLOCK_S = 60
FADE_S = 6  # cross-fade between the backgrounds of two blocks
BLOCKS_PER_RECORDING = 10  # consecutive blocks with a background from the same recording
FORMATS = {"flac": "FLAC", "wav": "WAV"}
EXTRA_COLUMNS = {"snr_db": "SNR (dB)", "line_snr_db": "Line SNR (dB)", "kind": "Kind"}


@dataclass(frozen=True)
class Scheduled:
    """A sound that begins at sample `at` of a file. It is synthesised from its own seed when its block is computed."""

    at: int
    kind: str  # "rumble", "gunshot" or "negative"
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Negative:
    """A line of negatives.jsonl: the span and kind of a negative, to find the causes of false positives."""

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
    """Writes `hours` of recordings and their true events into `out`, and returns the true events as an events table.

    site: the first part of the names of the recordings. on_progress: a function that receives the finished seconds and
    the total seconds, about once for each computed minute.
    Raises LoxoError if the folder is not empty, if backgrounds cannot be read, and for invalid numbers.
    """
    import pandas as pd

    out = Path(out)
    total = _checked_samples(out, hours, file_hours, sample_rate, format, site)
    if backgrounds is not None and not isinstance(backgrounds, Backgrounds):
        backgrounds = Backgrounds(backgrounds, sample_rate)
    if backgrounds is not None and backgrounds.sample_rate != sample_rate:
        raise LoxoError(
            f"The backgrounds have a sample rate of {backgrounds.sample_rate} Hz, but the simulation has {sample_rate} "
            "Hz: load them at the same rate."
        )
    rates = {"rumble": rumbles_per_hour, "gunshot": gunshots_per_hour, "negative": negatives_per_hour}
    per_file = max(1, round(file_hours * 3600 * sample_rate))
    tables, durations, files, negative_lines = [], {}, [], []
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
        write_raven(table, out / f"{Path(name).stem}.selections.txt", extra=EXTRA_COLUMNS)
        tables.append(table)
        durations[name] = samples / sample_rate
        files.append({"recording": name, "seconds": samples / sample_rate, "events": len(events), **asdict(recorder)})
        negative_lines += [json.dumps({"recording": name, **asdict(negative)}) for negative in negatives]
    truth = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    write_raven(truth, out / "truth.txt", extra=EXTRA_COLUMNS, durations=durations)
    write_atomically(out / "negatives.jsonl", "".join(f"{line}\n" for line in negative_lines).encode())
    parameters: dict[str, Any] = {
        "version": loxo.__version__,
        "seed": seed,
        "hours": hours,
        "file_hours": file_hours,
        "sample_rate": sample_rate,
        "format": format,
        "backgrounds": backgrounds.origin if backgrounds is not None else None,
        "background_recordings": len(backgrounds) if backgrounds is not None else 0,
        **{f"{kind}s_per_hour": rate for kind, rate in rates.items()},
        "rumble_snr_db": RUMBLE_SNR_DB,
        "line_snr_db": LINE_SNR_DB,
        "by_line": LINE_SNR_PROBABILITY,
        "gunshot_snr_db": GUNSHOT_SNR_DB,
        "files": files,
    }
    write_atomically(out / "simulation.json", (json.dumps(parameters, indent=1) + "\n").encode())
    return truth


def _checked_samples(out: Path, hours: float, file_hours: float, sample_rate: int, format: str, site: str) -> int:
    """The total number of samples, after all arguments have been checked and `out` has been created."""
    if format not in FORMATS:
        raise LoxoError(f"The format {format!r} is not supported: use {' or '.join(FORMATS)}.")
    if hours <= 0 or file_hours <= 0:
        raise LoxoError(f"The hours ({hours}) and the hours of one file ({file_hours}) must be more than 0.")
    if not SITE_NAME.fullmatch(site):
        raise LoxoError(
            f"The site {site!r} cannot be the start of a file name: use a letter, then letters and digits, such as "
            f"{SITE}."
        )
    if sample_rate < 1000:
        raise LoxoError(f"A sample rate of {sample_rate} Hz is too low for gunshots: use 1000 Hz or more.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise LoxoError(f"The folder {out} is not empty: give a new folder, so that no recording is overwritten.")
    except OSError as error:
        raise LoxoError(
            f"The folder {out} cannot be created or read ({error.strerror or error}): give another folder."
        ) from error
    return max(1, round(hours * 3600 * sample_rate))


def _file_recorder(rng: np.random.Generator) -> Recorder:
    """A random recorder for a whole file: with or without a high-pass, and with headroom for loud sounds."""
    return Recorder(
        highpass_hz=float(np.exp(rng.uniform(np.log(2), np.log(20)))) if rng.random() < 0.5 else 0.0,
        highpass_order=int(rng.integers(1, 3)),
        level_db=float(rng.uniform(-55, -30)),
    )


# -- the schedule


def _schedule(
    rng: np.random.Generator, samples: int, sample_rate: int, rates: dict[str, float], seed: tuple[int, ...]
) -> list[Scheduled]:
    """All sounds of a file, ordered by their first sample. `rates`: sounds per hour of each kind."""
    hours = samples / sample_rate / 3600
    times: list[tuple[float, str]] = []
    for _ in range(rng.poisson(rates["rumble"] * hours / RUMBLES_PER_BOUT)):
        at = rng.uniform(0, hours * 3600)
        for _ in range(rng.geometric(1 / RUMBLES_PER_BOUT)):
            times.append((at, "rumble"))
            # Rumbles with an onset 0.5-3 s after the previous one mostly overlap it. The other gaps are log-normal.
            at += (
                rng.uniform(0.5, 3.0)
                if rng.random() < OVERLAP_PROBABILITY
                else 6 + BOUT_GAP_S * 0.8 * np.exp(rng.normal(0, 1))
            )
    for kind in ("gunshot", "negative"):
        times += [(at, kind) for at in rng.uniform(0, hours * 3600, rng.poisson(rates[kind] * hours))]
    within = sorted((int(at * sample_rate), kind) for at, kind in times if at * sample_rate < samples)
    return [Scheduled(at, kind, (*seed, 1, k)) for k, (at, kind) in enumerate(within)]


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
    """The file in blocks of one minute. Before a block is yielded, its sounds are added to `events` and `negatives`.

    The background is computed two blocks ahead, and its negatives one block ahead. No scheduled sound is longer than a
    block, so the noise in the whole span of each call is known when its SNR is set.
    """
    block = BLOCK_S * sample_rate
    blocks = _background_blocks(sample_rate, backgrounds, recorder, seed)
    background = np.concatenate([next(blocks) for _ in range(3)])
    calls_mix = np.zeros(3 * block, np.float32)
    scale = np.float32(10 ** (recorder.level_db / 20))
    calls = [item for item in schedule if item.kind != "negative"]
    scheduled_negatives = [item for item in schedule if item.kind == "negative"]
    for first in range(0, samples, block):
        while scheduled_negatives and scheduled_negatives[0].at < first + 2 * block:
            item = scheduled_negatives.pop(0)
            rng = np.random.default_rng(item.seed)
            call = draw_negative(rng, sample_rate, BLOCK_S)
            call.samples = _through(call.samples, recorder, sample_rate)
            add_negative(background, call, item.at - first, rng.uniform(-4, 24), sample_rate)
            end = min(item.at + len(call.samples), samples)
            negatives.append(Negative(round(item.at / sample_rate, 3), round(end / sample_rate, 3), call.kind))
        while calls and calls[0].at < first + block:
            events += _add_scheduled(calls.pop(0), first, samples, background, calls_mix, sample_rate, recorder)
        minute = quantise((background[:block] + calls_mix[:block]) * scale, recorder.bits)
        yield minute[: samples - first]
        background = np.concatenate([background[block:], next(blocks)])
        calls_mix = np.concatenate([calls_mix[block:], np.zeros(block, np.float32)])


def _add_scheduled(
    item: Scheduled,
    first: int,
    samples: int,
    background: Samples,
    calls_mix: Samples,
    sample_rate: int,
    recorder: Recorder,
) -> list[Event]:
    """Adds the calls of one scheduled item to `calls_mix`, and returns their events.

    `background` and `calls_mix` begin at sample `first` of the file; the events are relative to the file.
    """
    rng = np.random.default_rng(item.seed)
    use_line_snr = False
    if item.kind == "rumble":
        use_line_snr = rng.random() < LINE_SNR_PROBABILITY
        snr_db = draw_snr(rng, LINE_SNR_DB if use_line_snr else RUMBLE_SNR_DB)
        sounds = [(0.0, synthesise_rumble(draw_rumble(rng), sample_rate, rng))]
    else:
        snr_db = draw_snr(rng, GUNSHOT_SNR_DB)
        sounds = [(delay, synthesise_gunshot(shot, sample_rate, rng)) for delay, shot in draw_pattern(rng)]
    events = []
    end = min(len(background), samples - first)  # no event may extend beyond the end of the file
    for delay, call in sounds:
        call.samples = _through(call.samples, recorder, sample_rate)
        at = item.at - first + int(delay * sample_rate)
        event = add_call(calls_mix[:end], background[:end], call, at, snr_db, sample_rate, Recorder(), use_line_snr)
        if event is not None and event.end - event.start >= MIN_EVENT_S[event.label] * sample_rate:
            events.append(replace(event, start=first + event.start, end=first + event.end))
    return events


def _through(samples: Samples, recorder: Recorder, sample_rate: int) -> Samples:
    """One component of the mix after the filters of the recorder.

    The filters are linear. Therefore each component can be filtered before the components are added.
    """
    if recorder.highpass_hz <= 0:
        return samples
    size = fast_length(len(samples) + sample_rate)
    filtered = np.fft.irfft(np.fft.rfft(samples, size) * recorder.response(size, sample_rate), size)
    return filtered[: len(samples)].astype(np.float32)


def _background_blocks(
    sample_rate: int, backgrounds: Backgrounds | None, recorder: Recorder, seed: tuple[int, ...]
) -> Iterator[Samples]:
    """An endless background in blocks of BLOCK_S, joined by equal-power cross-fades."""
    block, fade = BLOCK_S * sample_rate, FADE_S * sample_rate
    rise = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade).astype(np.float32)
    fade_out = np.zeros(fade, np.float32)
    number = 0
    while True:
        rng = np.random.default_rng((*seed, 2, number))
        if backgrounds is None:
            excerpt = synthetic_background(rng, block + fade, sample_rate)
        else:
            recording = backgrounds.pick(np.random.default_rng((*seed, 3, number // BLOCKS_PER_RECORDING)))
            excerpt = backgrounds.draw(rng, block + fade, recording)
        excerpt = _through(excerpt, recorder, sample_rate)
        if number > 0:
            excerpt[:fade] = excerpt[:fade] * rise + fade_out
        fade_out = excerpt[block:] * rise[::-1]
        yield excerpt[:block]
        number += 1


# -- files


@contextmanager
def _audio_file(path: Path, sample_rate: int, format: str, samples: int) -> Iterator[soundfile.SoundFile]:
    """A new recording, open for writing. It gets its final name only when it is complete."""
    # A WAV file is limited to 4 GB. RF64 is the same format with 64-bit sizes.
    kind = "RF64" if format == "wav" and samples * 2 > 4_000_000_000 else FORMATS[format]
    with atomic_path(path) as draft:
        try:
            with soundfile.SoundFile(draft, "w", sample_rate, 1, subtype="PCM_16", format=kind) as file:
                yield file
        except soundfile.LibsndfileError as error:
            raise LoxoError(
                f"{path}: the recording cannot be written ({error}). Check the free space of the disk."
            ) from error
