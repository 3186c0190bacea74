"""Background sound without elephants and gunshots: excerpts of real recordings, or synthetic noise.

`Backgrounds` keeps real recordings in memory at one sample rate, as 16-bit integers scaled to their own peak. 130
minutes at 4 kHz need 62 MB. A file that cannot be read raises a LoxoError with its name, because without it the same
seed would give other sounds. `synthetic_background` needs no files.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from loxo.audio.finding import SUFFIXES
from loxo.engine.config import LABELS
from loxo.errors import LoxoError
from loxo.files import walk_files
from loxo.simulation import weather
from loxo.simulation.machines import hum
from loxo.simulation.sounds import Samples, add_at, coloured_noise, db_to_amplitude, normalise, random_curve

MIN_RECORDING_S = 0.5  # shorter recordings are left out, because their repetition would be audible
FADE_S = 0.25  # of the cross-fades between excerpts
MAX_CLIP_S = 12.0  # recordings up to this length are clips, which mostly contain one sound: a dog, a saw, a storm


@dataclass(frozen=True)
class Background:
    """One real recording without rumbles and gunshots."""

    path: str
    site: str  # a split keeps all recordings of a site together
    samples: NDArray[np.int16]


class Backgrounds:
    """Real recordings from which random excerpts are drawn.

    `source`: a folder, one recording, a text file with one recording per line (relative to that file), a manifest, or
    any sequence of paths. A manifest is a CSV file with the column `file` (relative to the manifest). The text
    `site NAME` in its column `note` groups recordings. Two kinds of rows are left out: rows whose column `part` is not
    "train", and rows of files labelled as rumble or gunshot.
    """

    def __init__(self, source: str | Path | Iterable[str | Path], sample_rate: int = 4000) -> None:
        self.sample_rate = sample_rate
        self.recordings: list[Background] = []
        self.origin = ""  # description of `source`, for simulation.json
        if isinstance(source, str | Path) and Path(source).suffix.lower() == ".csv":
            paths = _manifest(Path(source))
        else:
            paths = [(path, site_of(path.name)) for path in _paths(source)]
        self._load(paths, str(source) if isinstance(source, str | Path) else "the list of backgrounds")

    def _load(self, paths: Sequence[tuple[Path, str]], origin: str) -> None:
        for path, site in paths:
            samples = _read(path, self.sample_rate)
            if len(samples) >= MIN_RECORDING_S * self.sample_rate and samples.any():
                self.recordings.append(Background(str(path), site, samples))
        self.origin = origin
        self._set_probabilities(origin)

    def _set_probabilities(self, origin: str) -> None:
        if not self.recordings:
            raise LoxoError(
                f"No background of {MIN_RECORDING_S} s or more that is not silent was found in {origin}. "
                "Give recordings that contain sound."
            )
        # With the square root, one hour from a single site does not dominate twenty sites of five seconds each.
        length: dict[str, int] = {}
        for recording in self.recordings:
            length[recording.site] = length.get(recording.site, 0) + len(recording.samples)
        frequencies = np.array([len(r.samples) / np.sqrt(length[r.site]) for r in self.recordings])
        self._cumulative_probability = np.cumsum(frequencies) / frequencies.sum()
        self._clips = [k for k, r in enumerate(self.recordings) if len(r.samples) <= MAX_CLIP_S * self.sample_rate]

    def __len__(self) -> int:
        return len(self.recordings)

    @property
    def sites(self) -> list[str]:
        return sorted({recording.site for recording in self.recordings})

    @property
    def seconds(self) -> float:
        return sum(len(recording.samples) for recording in self.recordings) / self.sample_rate

    def split(self, fraction: float, seed: int = 0) -> tuple[Backgrounds, Backgrounds]:
        """(the rest, about `fraction` of the total duration).

        All recordings of a site go to the same side. If there is only one site, whole recordings are split. Raises
        LoxoError for a single recording.
        """
        by_site = len(self.sites) > 1
        groups = [recording.site if by_site else recording.path for recording in self.recordings]
        names = sorted(set(groups))
        if len(names) < 2:
            raise LoxoError(
                f"A single background ({names[0]}) cannot be split for validation: give at least a second recording."
            )
        order = [names[k] for k in np.random.default_rng(seed).permutation(len(names))]
        length = dict.fromkeys(names, 0)
        for group, recording in zip(groups, self.recordings, strict=True):
            length[group] += len(recording.samples)
        held_out: set[str] = set()
        target, total = fraction * sum(length.values()), 0
        for name in order:
            # A group that would exceed the target by more than a quarter is skipped.
            if total + length[name] <= 1.25 * target:
                held_out.add(name)
                total += length[name]
        if not held_out:
            held_out = {min(names, key=lambda name: length[name])}
        if len(held_out) == len(names):
            held_out.discard(max(names, key=lambda name: length[name]))
        sides: tuple[list[Background], list[Background]] = ([], [])
        for group, recording in zip(groups, self.recordings, strict=True):
            sides[group in held_out].append(recording)
        return self._subset(sides[0]), self._subset(sides[1])

    def _subset(self, recordings: list[Background]) -> Backgrounds:
        other = Backgrounds.__new__(Backgrounds)
        other.sample_rate, other.recordings, other.origin = self.sample_rate, recordings, self.origin
        other._set_probabilities("this selection of backgrounds")
        return other

    def pick(self, rng: np.random.Generator) -> int:
        """A random index of a recording. The probability of a site is proportional to the square root of its length."""
        return int(np.searchsorted(self._cumulative_probability, rng.random(), side="right"))

    def clip(self, rng: np.random.Generator) -> Samples | None:
        """A random recording of at most MAX_CLIP_S, complete, with unit RMS and without DC. None if there is none."""
        if not self._clips:
            return None
        out = self.recordings[self._clips[int(rng.integers(len(self._clips)))]].samples.astype(np.float32)
        return normalise(out - out.mean())

    def draw(self, rng: np.random.Generator, samples: int, recording: int | None = None) -> Samples:
        """An excerpt of a random recording, or of the one with this index, with unit RMS and without DC.

        A recording that is too short is continued with other excerpts of itself.
        """
        source = self.recordings[self.pick(rng) if recording is None else recording].samples
        if len(source) >= samples:
            start = int(rng.integers(0, len(source) - samples + 1))
            out = source[start : start + samples].astype(np.float32)
        else:
            out = _tiled(rng, source, samples, int(min(FADE_S * self.sample_rate, len(source) // 3)))
        out -= out.mean()
        return normalise(out)


def _tiled(rng: np.random.Generator, source: NDArray[np.int16], samples: int, fade: int) -> Samples:
    """Excerpts of `source` from random positions, joined by equal-power cross-fades of `fade` samples."""
    out = np.zeros(samples, np.float32)
    rise = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade).astype(np.float32)
    at = 0
    while at < samples:
        length = int(rng.integers(max(2 * fade + 1, (2 * len(source)) // 3), len(source) + 1))
        start = int(rng.integers(0, len(source) - length + 1))
        piece = source[start : start + length].astype(np.float32)
        if at > 0:
            piece[:fade] *= rise
        if at + length < samples:
            piece[-fade:] *= rise[::-1]
        add_at(out, piece, at)
        at += length - fade
    return out


def site_of(name: str) -> str:
    """The site of a recording from its file name: the name without trailing counters, dates and single letters."""
    stem = Path(name).stem
    group = re.sub(r"([-_. ]+(\d+([.]\d+)?|[A-Z]|\d{8}T\d{6}))+$", "", stem)
    return group or stem


def _paths(source: str | Path | Iterable[str | Path]) -> list[Path]:
    if not isinstance(source, str | Path):
        return [Path(item) for item in source]
    path = Path(source)
    if path.is_dir():
        found = [item for item in walk_files(path) if item.suffix.lower() in SUFFIXES]
        if not found:
            raise LoxoError(
                f"The folder {path} contains no recordings ({', '.join(sorted(SUFFIXES))}): give another folder of "
                "backgrounds."
            )
        return found
    if not path.exists():
        raise LoxoError(f"The backgrounds {path} do not exist: give a folder, a recording or a list of recordings.")
    if path.suffix.lower() in SUFFIXES:
        return [path]
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise LoxoError(
            f"{path} is neither a recording nor a text file: give a recording, or a text file with one recording per "
            "line."
        ) from error
    return [path.parent / line for line in lines if line and not line.startswith("#")]


def _manifest(path: Path) -> list[tuple[Path, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LoxoError(f"The list of backgrounds {path} cannot be read: {error}") from error
    if not rows or "file" not in rows[0]:
        raise LoxoError(
            f"The list of backgrounds {path} needs a header line with the column file; part and note are optional."
        )
    calls = {row["file"] for row in rows if row.get("label") in LABELS}
    sites: dict[Path, str] = {}
    for row in rows:
        name = row["file"] or ""
        # Recordings reserved for measurement must not be used in training. Recordings of calls are no background.
        if row.get("part", "train") != "train" or name in calls:
            continue
        site = re.search(r"\bsite (\S+)", row.get("note") or "")
        sites.setdefault(path.parent / name, site.group(1) if site else site_of(name))
    if not sites:
        raise LoxoError(f'No row of {path} is a background of part "train": add backgrounds of that part to the list.')
    return list(sites.items())


def _read(path: Path, sample_rate: int) -> NDArray[np.int16]:
    """The first channel, resampled, and scaled to a peak of 32000 to use the range of 16 bits."""
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise LoxoError(f"The background {path} cannot be read: {error}") from error
    mono = np.nan_to_num(audio[:, 0])
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate).astype(np.float32)
    peak = float(np.abs(mono).max()) if len(mono) else 0.0
    scaled: NDArray[np.int16] = np.round(mono * (32000 / peak if peak > 0 else 0.0)).astype(np.int16)
    return scaled


def synthetic_background(rng: np.random.Generator, samples: int, sample_rate: int = 4000) -> Samples:
    """Synthetic forest noise of unit RMS: random spectrum, recorder noise, level changes, weather and insects."""
    # Levels below 30 Hz are up to 40 dB above those at 1 kHz, or far below them if the recorder has a high-pass.
    hz = np.array([4, 12, 25, 45, 80, 150, 300, 600, 1200, 2000, 8000]) * np.exp(rng.uniform(-0.3, 0.3))
    octaves = np.log2(hz / 30)
    db = -rng.uniform(0, 7.5) * np.clip(octaves, 0, None) - rng.uniform(-3, 6) * np.clip(-octaves, 0, None)
    db += np.cumsum(rng.normal(0, 2.0, len(hz)))
    if rng.random() < 0.3:  # the high-pass of a recorder
        corner = np.exp(rng.uniform(np.log(15), np.log(90)))
        db -= rng.uniform(6, 24) * np.clip(np.log2(corner / hz), 0, None)
    db = np.logaddexp(db / 8.7, (db.max() - rng.uniform(25, 60)) / 8.7) * 8.7  # noise of the recorder: a flat floor
    out = coloured_noise(rng, samples, sample_rate, hz, db)
    if rng.random() < 0.7:
        out = out * db_to_amplitude(
            random_curve(rng, samples, sample_rate, rng.uniform(0.05, 0.5), rng.uniform(0.3, 3))
        )
    duration_s = samples / sample_rate
    if rng.random() < 0.35:  # insects: a band of noise or a train of chirps above 500 Hz
        centre = min(np.exp(rng.uniform(np.log(500), np.log(4000))), 0.45 * sample_rate)
        width = rng.uniform(1.01, 1.2)
        chorus = coloured_noise(
            rng,
            samples,
            sample_rate,
            [centre / width**2, centre / width, centre * width, centre * width**2],
            [-60, 0, 0, -60],
        )
        if rng.random() < 0.6:
            t = np.arange(samples) / sample_rate
            chorus = chorus * np.clip(np.sin(2 * np.pi * rng.uniform(0.5, 20) * t) + rng.uniform(-0.5, 1), 0, 1).astype(
                np.float32
            )
        out = out + normalise(chorus) * np.float32(10 ** (rng.uniform(-25, 5) / 20))
    if rng.random() < 0.15:
        line = hum(rng, sample_rate, duration_s).samples[:samples]
        out[: len(line)] += np.float32(10 ** (rng.uniform(-30, -5) / 20)) * line
    for probability, generator in (
        (0.15, weather.rain),
        (0.12, weather.puff),
        (0.05, weather.thunder),
        (0.05, weather.water),
    ):
        if rng.random() < probability:
            sound = generator(rng, sample_rate, duration_s).samples
            at = int(rng.integers(-len(sound) // 2, samples))
            add_at(out, sound, at, 10 ** (rng.uniform(-15, 5) / 20))
    return normalise(out)
