"""Classical detectors to measure Loxo's models against, with the models' own contract, so that they go through the same
streaming, the same decoder and its tuning, and the same evaluation.

    tonal line   rumbles: the best path of one slowly gliding line at 10-45 Hz. Spectra of 1 s; each bin against the
                 median of its neighbours within 6 Hz; what a bin shows most of the time within 15 s either way is taken
                 off, because machines hum on one pitch and rumbles glide; then the path of the highest sum, at most
                 GLIDE_HZ_S steep, whose memory fades over TAU_S both ways.
    band energy  rumbles: the level of 12-60 Hz over its running median; its share of the peak, by which the decoder
                 ends an event, is the hysteresis.
    flux         gunshots: the mean rise in dB of all bins of 80-2000 Hz within 25 ms, less its running median; an
                 onset's strength holds until the band has fallen DECAY_DB from its top.

A strength x >= 0 becomes the probability x / (x + REFERENCE), which leaves shares of a peak nearly as they are. Nothing
is learnt; the decoder is tuned by fit_class on validation recordings, as for every other detector. Digital silence is
left out of all running statistics, and nothing is found in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, median_filter, percentile_filter, uniform_filter1d
from scipy.signal import resample_poly, stft
from torch import Tensor, nn

from loxo.engine.config import Calibration, Decoding, OperatingCurve

Floats = NDArray[np.float64]

RATE, STEP = 4000, 400  # samples: steps of 0.1 s
STEP_S = STEP / RATE
WINDOW_STEPS = 1200  # 120 s, of which the next window sees a half again
LOW_RATE = 500  # Hz, for rumbles
SILENT_LOGIT = -20.0
SHORTEST = 2 * RATE  # samples; what is shorter is followed by its own noise floor's silence

LINE_HZ, BIN_HZ = (10.0, 45.0), LOW_RATE / 1024
NEIGHBOURS_HZ, HUM_S, HUM_SHARE = 6.0, 15.0, 60.0
LINE_CAP_DB, LINE_COST_DB, TAU_S = 12.0, 3.0, 1.2
GLIDE_HZ_S = 10.0  # two bins a step
BAND_HZ, FLOOR_S, LEVEL_S = (12.0, 60.0), 60.0, 0.7
SHOT_HZ, RISE_S, FLUX_FLOOR_S = (80.0, 2000.0), 0.025, 5.0
HOP = 50  # samples between spectra for shots: 8 in a step
DECAY_DB, SHOT_S = 15.0, (0.2, 1.5)
REFERENCE = {"tonal": 6.0, "energy": 10.0, "flux": 8.0}  # strengths that become one half


@dataclass(frozen=True)
class ClassicalConfig:
    """As loxo.engine.config.ModelConfig, as far as detection asks."""

    rumble: str = "tonal"  # or "energy"
    architecture: str = "classical"
    classes: tuple[str, ...] = ("rumble", "gunshot")
    rows: tuple[str, ...] = ("rumble", "gunshot")
    sample_rate: int = RATE
    window_samples: int = WINDOW_STEPS * STEP
    steps: int = WINDOW_STEPS
    step_samples: int = STEP
    stride_steps: int = 1
    decoding: dict[str, Decoding] = field(
        default_factory=lambda: {
            "rumble": Decoding(threshold=0.3, smooth_s=0.3, min_duration_s=0.8, low_hz=10.0, high_hz=150.0),
            "gunshot": Decoding(threshold=0.3, low_hz=80.0, high_hz=2000.0),
        }
    )
    calibration: dict[str, Calibration] = field(default_factory=dict)
    curves: dict[str, OperatingCurve] = field(default_factory=dict)


class Classical(nn.Module):
    """`Classical(ClassicalConfig(rumble="tonal"))`: forward gives framewise_logits (batch, classes, steps)."""

    def __init__(self, config: ClassicalConfig | None = None) -> None:
        super().__init__()
        self.config = config or ClassicalConfig()

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        steps = -(-waveform.shape[1] // STEP)
        logits = np.full((len(waveform), 2, steps), SILENT_LOGIT, np.float32)
        for k, samples in enumerate(waveform.numpy().astype(np.float64)):
            heard = int(np.flatnonzero(samples)[-1]) + 1 if samples.any() else 0
            if heard:
                strengths = strength(samples[:heard], self.config.rumble)
                count = min(strengths.shape[1], -(-heard // STEP), steps)
                logits[k, :, :count] = strengths[:, :count]
        return {"framewise_logits": torch.from_numpy(logits)}


def strength(samples: Floats, rumble: str = "tonal") -> Floats:
    """(samples,) at RATE -> logits (2, steps) of rumble and gunshot."""
    steps = -(-len(samples) // STEP)
    padded = np.pad(samples, (0, max(steps * STEP, SHORTEST) - len(samples)))
    find = tonal_line if rumble == "tonal" else band_energy
    rows = [(find(padded), REFERENCE[rumble]), (flux(padded), REFERENCE["flux"])]
    return np.stack([np.log(np.maximum(row[:steps], 1e-4) / reference) for row, reference in rows])


def tonal_line(samples: Floats) -> Floats:
    """(steps,): dB of the best path through each step, over what a line of noise has."""
    hertz, power = _spectra(resample_poly(samples, 1, RATE // LOW_RATE), LOW_RATE, 1.0, STEP_S, 1024)
    power = uniform_filter1d(power[hertz <= 60], 5, axis=1, mode="nearest")
    silent = power.sum(0) <= 1e-16
    level = 10 * np.log10(power + 1e-13)
    over = level - median_filter(level, size=(2 * round(NEIGHBOURS_HZ / BIN_HZ) + 1, 1), mode="nearest")
    over = over - np.maximum(_running_percentile(over, HUM_S, HUM_SHARE), 0)
    low, high = (round(hz / BIN_HZ) for hz in LINE_HZ)
    line = np.clip(over[low : high + 1], 0, LINE_CAP_DB) - LINE_COST_DB
    line[:, silent] = -LINE_COST_DB
    return np.where(silent, 0, np.maximum(_best_path(line), 0))


def _running_percentile(values: Floats, reach_s: float, share: float) -> Floats:
    """Of each bin over time; looked at every fifth step, which the smoothing before it has made enough."""
    thin = values[:, ::5]
    width = min(2 * round(reach_s / STEP_S / 5) + 1, 2 * (thin.shape[1] // 2) + 1)
    found = percentile_filter(thin, share, size=(1, width), mode="reflect")
    return np.repeat(found, 5, axis=1)[:, : values.shape[1]]


def _best_path(line: Floats) -> Floats:
    """line (bins, steps), dB: the highest sum of a path through each step, fading with TAU_S before and after."""
    keep = np.exp(-STEP_S / TAU_S)
    reach = round(GLIDE_HZ_S * STEP_S / BIN_HZ)

    def sweep(columns: Floats) -> Floats:
        sums, run = np.empty_like(columns), np.zeros(columns.shape[1])
        for k, column in enumerate(columns):
            run = column + keep * np.maximum(maximum_filter1d(run, 2 * reach + 1, mode="nearest"), 0)
            sums[k] = run
        return sums

    columns = np.ascontiguousarray(line.T)
    both = sweep(columns) + sweep(columns[::-1])[::-1] - columns
    best: Floats = both.max(1) * STEP_S / TAU_S / 2
    return best


def band_energy(samples: Floats) -> Floats:
    """(steps,): dB of the rumble band over its running median."""
    hertz, power = _spectra(resample_poly(samples, 1, RATE // LOW_RATE), LOW_RATE, 0.5, STEP_S, 256)
    band = power[(hertz >= BAND_HZ[0]) & (hertz <= BAND_HZ[1])].sum(0)
    band = uniform_filter1d(band, round(LEVEL_S / STEP_S), mode="nearest")
    heard = band > 1e-12
    if not heard.any():
        return np.zeros(len(band))
    level = 10 * np.log10(band[heard])
    width = round(FLOOR_S / STEP_S) | 1
    floor = median_filter(level, width, mode="reflect") if len(level) > width else np.median(level)
    result = np.zeros(len(band))
    result[heard] = np.maximum(level - floor, 0)
    return result


def flux(samples: Floats) -> Floats:
    """(steps,): mean rise in dB of an onset, held while the band stays within DECAY_DB of its top."""
    lead = 20  # frames of the first floor before the start: a shot may begin a clip
    hertz, power = _spectra(samples, RATE, 0.032, HOP / RATE, 128)
    power = power[(hertz >= SHOT_HZ[0]) & (hertz <= SHOT_HZ[1])]
    heard = power.sum(0) > 1e-14
    if heard.sum() < 4:
        return np.zeros(len(samples) // STEP)
    floor = np.maximum(np.percentile(power[:, heard], 10, axis=1, keepdims=True), 1e-12)
    power = np.concatenate((np.repeat(floor, lead, axis=1), power), axis=1)
    level = 10 * np.log10(np.maximum(power, floor))
    back = round(RISE_S / (HOP / RATE))
    rise = np.zeros(level.shape[1])
    rise[back:] = np.maximum(level[:, back:] - level[:, :-back], 0).mean(0)
    width = round(FLUX_FLOOR_S / (HOP / RATE)) | 1
    rise = np.maximum(rise - (median_filter(rise, width) if len(rise) > width else np.median(rise)), 0)
    held = _held(rise, 10 * np.log10(power.sum(0) + 1e-14))[lead:]
    whole = np.pad(held, (0, -len(held) % (STEP // HOP)))
    return whole.reshape(-1, STEP // HOP).max(1)


def _held(rise: Floats, level: Floats) -> Floats:
    """An onset's strength until the level has fallen; from the strongest down, none within another."""
    hop_s = HOP / RATE
    shortest, longest = (round(seconds / hop_s) for seconds in SHOT_S)
    peaks = np.flatnonzero((rise >= maximum_filter1d(rise, 2 * shortest + 1)) & (rise > 0.5))
    held = np.zeros(len(rise))
    for k in peaks[np.argsort(-rise[peaks], kind="stable")]:
        if held[k] > rise[k]:
            continue
        stop = min(len(level), k + longest)
        top = k + int(np.argmax(level[k : min(stop, k + shortest)]))
        fallen = np.flatnonzero(level[top:stop] < level[top] - DECAY_DB)
        end = max(top + int(fallen[0]) if len(fallen) else stop, k + shortest)
        held[k:end] = np.maximum(held[k:end], rise[k])
    return held


def _spectra(samples: Floats, rate: int, window_s: float, hop_s: float, nfft: int) -> tuple[Floats, Floats]:
    """hertz (bins,) and power (bins, frames); frame k is centred in the k-th hop."""
    size, hop = round(window_s * rate), round(hop_s * rate)
    frames = len(samples) // hop
    before = size // 2 - hop // 2
    mirrored = np.pad(samples, (before, size), mode="reflect" if len(samples) > size else "constant")
    hertz, _, spectrum = stft(mirrored, rate, nperseg=size, noverlap=size - hop, nfft=nfft, boundary=None, padded=False)
    return hertz, (np.abs(spectrum) ** 2)[:, :frames]


def detectors() -> dict[str, Any]:
    """The classical rows of a comparison, by name."""
    return {
        "tonal line, flux": Classical(ClassicalConfig(rumble="tonal")),
        "band energy, flux": Classical(ClassicalConfig(rumble="energy")),
    }
