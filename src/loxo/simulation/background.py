"""What a forest sounds like without elephants and shots: stretches of real recordings, or noise made for the purpose.

`Backgrounds` holds real recordings in memory, at one rate, as 16-bit integers with a level each (130 minutes at 4 kHz
take 62 MB). Files that cannot be read raise a LoxoError that names them: a background silently missing would change
what a seed means. `synthetic_background` needs no files.
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
from loxo.simulation import weather
from loxo.simulation.machines import hum
from loxo.simulation.sounds import Samples, coloured, curve, decibels, normalise, place

SHORTEST_S = 0.5  # recordings shorter than this cannot be tiled sensibly and are left out
FADE_S = 0.25  # of the cross-fades between pieces
CLIP_S = 12.0  # recordings up to this long hold one sound that somebody cut out: a dog, a saw, a storm


@dataclass(frozen=True)
class Background:
    """One real recording without the sounds sought."""

    path: str
    site: str  # recordings of one site stay on one side of a split
    samples: NDArray[np.int16]


class Backgrounds:
    """Real recordings to draw stretches from. `source`: a folder, one recording, a text file with a recording a line
    (relative to that file), a manifest, or any sequence of paths.

    A manifest is a CSV with the column file (relative to it); `site NAME` in its column note groups recordings. Rows
    that another part than "train" is written to, in a column part, are left out, and rows labelled as a call or shot.
    """

    def __init__(self, source: str | Path | Iterable[str | Path], sample_rate: int = 4000) -> None:
        self.sample_rate = sample_rate
        self.recordings: list[Background] = []
        self.origin = ""  # what was given, for the record
        if isinstance(source, str | Path) and Path(source).suffix.lower() == ".csv":
            listed = _manifest(Path(source))
        else:
            listed = [(path, site_of(path.name)) for path in _listed(source)]
        self._load(listed, str(source) if isinstance(source, str | Path) else "the list of backgrounds")

    def _load(self, listed: Sequence[tuple[Path, str]], origin: str) -> None:
        for path, site in listed:
            samples = _read(path, self.sample_rate)
            if len(samples) >= SHORTEST_S * self.sample_rate and samples.any():
                self.recordings.append(Background(str(path), site, samples))
        self.origin = origin
        self._weigh(origin)

    def _weigh(self, origin: str) -> None:
        if not self.recordings:
            raise LoxoError(f"No background of {SHORTEST_S} s or more that is not silent was found in {origin}.")
        # The square roots keep an hour from one site from drowning twenty sites of five seconds.
        length: dict[str, int] = {}
        for recording in self.recordings:
            length[recording.site] = length.get(recording.site, 0) + len(recording.samples)
        weights = np.array([len(r.samples) / np.sqrt(length[r.site]) for r in self.recordings])
        self._shares = np.cumsum(weights) / weights.sum()
        self._clips = [k for k, r in enumerate(self.recordings) if len(r.samples) <= CLIP_S * self.sample_rate]

    def __len__(self) -> int:
        return len(self.recordings)

    @property
    def sites(self) -> list[str]:
        return sorted({recording.site for recording in self.recordings})

    @property
    def seconds(self) -> float:
        return sum(len(recording.samples) for recording in self.recordings) / self.sample_rate

    def split(self, fraction: float, seed: int = 0) -> tuple[Backgrounds, Backgrounds]:
        """(the rest, about `fraction` of the duration): whole sites go to one side or the other; where there is one
        site only, whole recordings. Raises LoxoError for a single recording."""
        by_site = len(self.sites) > 1
        groups = [recording.site if by_site else recording.path for recording in self.recordings]
        names = sorted(set(groups))
        if len(names) < 2:
            raise LoxoError(
                f"One background only ({names[0]}) cannot be split for validation; give a second recording."
            )
        order = [names[k] for k in np.random.default_rng(seed).permutation(len(names))]
        length = dict.fromkeys(names, 0)
        for group, recording in zip(groups, self.recordings, strict=True):
            length[group] += len(recording.samples)
        held: set[str] = set()
        wanted, had = fraction * sum(length.values()), 0
        for name in order:
            # A group that overshoots by far is passed over, so that the share comes out near what was asked for.
            if had + length[name] <= 1.25 * wanted:
                held.add(name)
                had += length[name]
        if not held:
            held = {min(names, key=lambda name: length[name])}
        if len(held) == len(names):
            held.discard(max(names, key=lambda name: length[name]))
        sides: tuple[list[Background], list[Background]] = ([], [])
        for group, recording in zip(groups, self.recordings, strict=True):
            sides[group in held].append(recording)
        return self._subset(sides[0]), self._subset(sides[1])

    def _subset(self, recordings: list[Background]) -> Backgrounds:
        other = Backgrounds.__new__(Backgrounds)
        other.sample_rate, other.recordings, other.origin = self.sample_rate, recordings, self.origin
        other._weigh("this selection of backgrounds")
        return other

    def pick(self, rng: np.random.Generator) -> int:
        """The index of a recording, drawn by the square root of its length."""
        return int(np.searchsorted(self._shares, rng.random(), side="right"))

    def clip(self, rng: np.random.Generator) -> Samples | None:
        """One of the short recordings, whole, of unit RMS and without DC; None if there is none."""
        if not self._clips:
            return None
        out = self.recordings[self._clips[int(rng.integers(len(self._clips)))]].samples.astype(np.float32)
        return normalise(out - out.mean())

    def draw(self, rng: np.random.Generator, samples: int, recording: int | None = None) -> Samples:
        """A stretch of one recording (any, or the one with this index), of unit RMS and without DC; one that is too
        short goes on with other parts of itself."""
        source = self.recordings[self.pick(rng) if recording is None else recording].samples
        if len(source) >= samples:
            start = int(rng.integers(0, len(source) - samples + 1))
            out = source[start : start + samples].astype(np.float32)
        else:
            out = _tiled(rng, source, samples, int(min(FADE_S * self.sample_rate, len(source) // 3)))
        out -= out.mean()
        return normalise(out)


def _tiled(rng: np.random.Generator, source: NDArray[np.int16], samples: int, fade: int) -> Samples:
    """Pieces of `source` from random positions, joined by equal-power cross-fades."""
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
        place(out, piece, at)
        at += length - fade
    return out


def site_of(name: str) -> str:
    """The group of a recording: its name without the trailing counters, dates and take letters."""
    stem = Path(name).stem
    group = re.sub(r"([-_. ]+(\d+([.]\d+)?|[A-Z]|\d{8}T\d{6}))+$", "", stem)
    return group or stem


def _listed(source: str | Path | Iterable[str | Path]) -> list[Path]:
    if not isinstance(source, str | Path):
        return [Path(item) for item in source]
    path = Path(source)
    if path.is_dir():
        found = sorted(item for item in path.rglob("*") if item.suffix.lower() in SUFFIXES)
        if not found:
            raise LoxoError(f"The folder {path} holds no recordings ({', '.join(sorted(SUFFIXES))}).")
        return found
    if not path.exists():
        raise LoxoError(f"The backgrounds {path} do not exist: give a folder, a recording, or a list of recordings.")
    if path.suffix.lower() in SUFFIXES:
        return [path]
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise LoxoError(f"{path} is neither a recording nor a text file with a recording a line.") from error
    return [path.parent / line for line in lines if line and not line.startswith("#")]


def _manifest(path: Path) -> list[tuple[Path, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LoxoError(f"The list of backgrounds {path} cannot be read: {error}") from error
    if not rows or "file" not in rows[0]:
        raise LoxoError(f"The list of backgrounds {path} needs a header line with the column file (and part, note).")
    calls = {row["file"] for row in rows if row.get("label") in LABELS}
    listed: dict[Path, str] = {}
    for row in rows:
        name = row["file"] or ""
        # What is kept for measuring must never be heard in training, nor a call be taken for background.
        if row.get("part", "train") != "train" or name in calls:
            continue
        site = re.search(r"\bsite (\S+)", row.get("note") or "")
        listed.setdefault(path.parent / name, site.group(1) if site else site_of(name))
    if not listed:
        raise LoxoError(f'No row of {path} is a background of part "train".')
    return list(listed.items())


def _read(path: Path, sample_rate: int) -> NDArray[np.int16]:
    """The first channel, resampled, scaled so that 16 bits are well used."""
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
    """Made-up forest noise of unit RMS: a random spectrum, the recorder's own noise, drifts, weather and insects."""
    # Levels below 30 Hz lie up to 40 dB above those at 1 kHz, or, behind a high-pass, far under them.
    hz = np.array([4, 12, 25, 45, 80, 150, 300, 600, 1200, 2000, 8000]) * np.exp(rng.uniform(-0.3, 0.3))
    octaves = np.log2(hz / 30)
    db = -rng.uniform(0, 7.5) * np.clip(octaves, 0, None) - rng.uniform(-3, 6) * np.clip(-octaves, 0, None)
    db += np.cumsum(rng.normal(0, 2.0, len(hz)))
    if rng.random() < 0.3:  # some recorders have nothing below 30 Hz or more
        corner = np.exp(rng.uniform(np.log(15), np.log(90)))
        db -= rng.uniform(6, 24) * np.clip(np.log2(corner / hz), 0, None)
    db = np.logaddexp(db / 8.7, (db.max() - rng.uniform(25, 60)) / 8.7) * 8.7  # self-noise: a flat floor
    out = coloured(rng, samples, sample_rate, hz, db)
    if rng.random() < 0.7:
        out = out * decibels(curve(rng, samples, sample_rate, rng.uniform(0.05, 0.5), rng.uniform(0.3, 3)))
    longest_s = samples / sample_rate
    if rng.random() < 0.35:  # insects: a band of noise or a chirp train above 500 Hz
        centre = min(np.exp(rng.uniform(np.log(500), np.log(4000))), 0.45 * sample_rate)
        width = rng.uniform(1.01, 1.2)
        chorus = coloured(
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
        line = hum(rng, sample_rate, longest_s).samples[:samples]
        out[: len(line)] += np.float32(10 ** (rng.uniform(-30, -5) / 20)) * line
    for chance, generator in (
        (0.15, weather.rain),
        (0.12, weather.puff),
        (0.05, weather.thunder),
        (0.05, weather.water),
    ):
        if rng.random() < chance:
            sound = generator(rng, sample_rate, longest_s).samples
            at = int(rng.integers(-len(sound) // 2, samples))
            place(out, sound, at, 10 ** (rng.uniform(-15, 5) / 20))
    return normalise(out)
