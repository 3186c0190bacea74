"""Classical detectors, to compare with the models of Loxo.

They have the interface of a model. Therefore they use the same streaming, the same decoder with fitted parameters, and
the same evaluation.

    tonal line   rumbles: the best path of one slowly changing tone at 10-45 Hz. The input is a sequence of spectra of
                 1 s. Each bin is compared with the median of its neighbours within 6 Hz. The 60th percentile of each
                 bin within +-15 s is subtracted, because machines have a constant pitch and rumbles do not. The result
                 is the path with the highest sum. Its slope is limited to MAX_GLIDE_HZ_S, and the sum decays with TAU_S
                 in both directions.
    band energy  rumbles: the level of 12-60 Hz above its running median. The decoder ends an event at a fraction of
                 the peak, which acts as hysteresis.
    flux         gunshots: the mean increase in dB of all bins of 80-2000 Hz within 25 ms, minus its running median.
                 The strength of an onset is held until the band has fallen by DECAY_DB from its maximum.

A strength x >= 0 becomes the probability x / (x + REFERENCE), which keeps ratios to a peak almost constant. Nothing is
trained. The decoding is fitted by fit_class on validation recordings, as for every other detector. Digital silence is
excluded from all running statistics, and has no detections.
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
WINDOW_STEPS = 1200  # 120 s; consecutive windows overlap by half
LOW_RATE = 500  # Hz, for rumbles
SILENT_LOGIT = -20.0
MIN_SAMPLES = 2 * RATE  # shorter inputs are padded to this

LINE_HZ, BIN_HZ = (10.0, 45.0), LOW_RATE / 1024
NEIGHBOURS_HZ, HUM_S, HUM_PERCENTILE = 6.0, 15.0, 60.0
LINE_CAP_DB, LINE_COST_DB, TAU_S = 12.0, 3.0, 1.2
MAX_GLIDE_HZ_S = 10.0  # two bins per step
BAND_HZ, FLOOR_S, LEVEL_S = (12.0, 60.0), 60.0, 0.7
SHOT_HZ, RISE_S, FLUX_FLOOR_S = (80.0, 2000.0), 0.025, 5.0
HOP = 50  # samples between spectra for shots: 8 in a step
DECAY_DB, SHOT_S = 15.0, (0.2, 1.5)
REFERENCE = {"tonal": 6.0, "energy": 10.0, "flux": 8.0}  # strengths with a probability of 0.5


@dataclass(frozen=True)
class ClassicalConfig:
    """The fields of loxo.engine.config.ModelConfig that detection uses."""

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
    """`Classical(ClassicalConfig(rumble="tonal"))`: forward returns framewise_logits (batch, classes, steps)."""

    def __init__(self, config: ClassicalConfig | None = None) -> None:
        super().__init__()
        self.config = config or ClassicalConfig()

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        steps = -(-waveform.shape[1] // STEP)
        logits = np.full((len(waveform), 2, steps), SILENT_LOGIT, np.float32)
        for k, samples in enumerate(waveform.numpy().astype(np.float64)):
            nonsilent = int(np.flatnonzero(samples)[-1]) + 1 if samples.any() else 0
            if nonsilent:
                strengths = strength(samples[:nonsilent], self.config.rumble)
                count = min(strengths.shape[1], -(-nonsilent // STEP), steps)
                logits[k, :, :count] = strengths[:, :count]
        return {"framewise_logits": torch.from_numpy(logits)}


def strength(samples: Floats, rumble: str = "tonal") -> Floats:
    """Logits (2, steps) of rumble and gunshot from (samples,) at RATE."""
    steps = -(-len(samples) // STEP)
    padded = np.pad(samples, (0, max(steps * STEP, MIN_SAMPLES) - len(samples)))
    rumble_strength = tonal_line if rumble == "tonal" else band_energy
    rows = [(rumble_strength(padded), REFERENCE[rumble]), (flux(padded), REFERENCE["flux"])]
    return np.stack([np.log(np.maximum(row[:steps], 1e-4) / reference) for row, reference in rows])


def tonal_line(samples: Floats) -> Floats:
    """(steps,): level in dB of the best path through each step, above that of noise."""
    hertz, power = _spectra(resample_poly(samples, 1, RATE // LOW_RATE), LOW_RATE, 1.0, STEP_S, 1024)
    power = uniform_filter1d(power[hertz <= 60], 5, axis=1, mode="nearest")
    silent = power.sum(0) <= 1e-16
    level = 10 * np.log10(power + 1e-13)
    above_noise = level - median_filter(level, size=(2 * round(NEIGHBOURS_HZ / BIN_HZ) + 1, 1), mode="nearest")
    above_noise = above_noise - np.maximum(_running_percentile(above_noise, HUM_S, HUM_PERCENTILE), 0)
    low, high = (round(hz / BIN_HZ) for hz in LINE_HZ)
    line = np.clip(above_noise[low : high + 1], 0, LINE_CAP_DB) - LINE_COST_DB
    line[:, silent] = -LINE_COST_DB
    return np.where(silent, 0, np.maximum(_best_path(line), 0))


def _running_percentile(values: Floats, half_width_s: float, percentile: float) -> Floats:
    """The running percentile of each bin, from every fifth step, because the input is smooth."""
    thin = values[:, ::5]
    width = min(2 * round(half_width_s / STEP_S / 5) + 1, 2 * (thin.shape[1] // 2) + 1)
    found = percentile_filter(thin, percentile, size=(1, width), mode="reflect")
    return np.repeat(found, 5, axis=1)[:, : values.shape[1]]


def _best_path(line: Floats) -> Floats:
    """(steps,): the highest sum of a path through each step, which decays with TAU_S before and after.

    line: (bins, steps), dB.
    """
    decay = np.exp(-STEP_S / TAU_S)
    max_shift = round(MAX_GLIDE_HZ_S * STEP_S / BIN_HZ)

    def sweep(columns: Floats) -> Floats:
        sums, run = np.empty_like(columns), np.zeros(columns.shape[1])
        for k, column in enumerate(columns):
            run = column + decay * np.maximum(maximum_filter1d(run, 2 * max_shift + 1, mode="nearest"), 0)
            sums[k] = run
        return sums

    columns = np.ascontiguousarray(line.T)
    both = sweep(columns) + sweep(columns[::-1])[::-1] - columns
    best: Floats = both.max(1) * STEP_S / TAU_S / 2
    return best


def band_energy(samples: Floats) -> Floats:
    """(steps,): level in dB of the rumble band above its running median."""
    hertz, power = _spectra(resample_poly(samples, 1, RATE // LOW_RATE), LOW_RATE, 0.5, STEP_S, 256)
    band = power[(hertz >= BAND_HZ[0]) & (hertz <= BAND_HZ[1])].sum(0)
    band = uniform_filter1d(band, round(LEVEL_S / STEP_S), mode="nearest")
    nonsilent = band > 1e-12
    if not nonsilent.any():
        return np.zeros(len(band))
    level = 10 * np.log10(band[nonsilent])
    width = round(FLOOR_S / STEP_S) | 1
    floor = median_filter(level, width, mode="reflect") if len(level) > width else np.median(level)
    result = np.zeros(len(band))
    result[nonsilent] = np.maximum(level - floor, 0)
    return result


def flux(samples: Floats) -> Floats:
    """(steps,): mean increase of an onset in dB, held while the band is within DECAY_DB of its maximum."""
    lead = 20  # frames of noise floor before the start, because a clip may begin with a shot
    hertz, power = _spectra(samples, RATE, 0.032, HOP / RATE, 128)
    power = power[(hertz >= SHOT_HZ[0]) & (hertz <= SHOT_HZ[1])]
    nonsilent = power.sum(0) > 1e-14
    if nonsilent.sum() < 4:
        return np.zeros(len(samples) // STEP)
    floor = np.maximum(np.percentile(power[:, nonsilent], 10, axis=1, keepdims=True), 1e-12)
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
    """The strength of each onset, held until the level has fallen; weaker onsets within it are ignored."""
    hop_s = HOP / RATE
    min_frames, max_frames = (round(seconds / hop_s) for seconds in SHOT_S)
    peaks = np.flatnonzero((rise >= maximum_filter1d(rise, 2 * min_frames + 1)) & (rise > 0.5))
    held = np.zeros(len(rise))
    for k in peaks[np.argsort(-rise[peaks], kind="stable")]:
        if held[k] > rise[k]:
            continue
        stop = min(len(level), k + max_frames)
        top = k + int(np.argmax(level[k : min(stop, k + min_frames)]))
        below = np.flatnonzero(level[top:stop] < level[top] - DECAY_DB)
        end = max(top + int(below[0]) if len(below) else stop, k + min_frames)
        held[k:end] = np.maximum(held[k:end], rise[k])
    return held


def _spectra(samples: Floats, rate: int, window_s: float, hop_s: float, nfft: int) -> tuple[Floats, Floats]:
    """Frequencies in Hz (bins,) and power (bins, frames); frame k is centred in the k-th hop."""
    size, hop = round(window_s * rate), round(hop_s * rate)
    frames = len(samples) // hop
    before = size // 2 - hop // 2
    mirrored = np.pad(samples, (before, size), mode="reflect" if len(samples) > size else "constant")
    hertz, _, spectrum = stft(mirrored, rate, nperseg=size, noverlap=size - hop, nfft=nfft, boundary=None, padded=False)
    return hertz, (np.abs(spectrum) ** 2)[:, :frames]


def detectors() -> dict[str, Any]:
    """The classical detectors of a comparison, by name."""
    return {
        "tonal line, flux": Classical(ClassicalConfig(rumble="tonal")),
        "band energy, flux": Classical(ClassicalConfig(rumble="energy")),
    }
