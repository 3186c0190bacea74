"""Simulation of a recorder: filters, gain, gain control, clipping, quantisation, gaps and digital silence.

A recorder acts on the whole mix, never on a single call, because calls and background pass the same microphone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loxo.simulation.sounds import Samples, amplitude_response

MAX_OVERLOAD = 5.6  # max peak before clipping, relative to full scale (15 dB); the gain is reduced to this


@dataclass(frozen=True)
class Recorder:
    """Parameters of a recorder. The names of the fields are keys of `simulation.json`."""

    highpass_hz: float = 0.0  # corner; 0: no high-pass
    highpass_order: int = 1
    tilt_db: float = 0.0  # slope of the spectrum, dB per octave
    lowpass_hz: float = 0.0  # upper limit of a lossy codec; 0: no limit
    level_db: float = -30.0  # RMS of the mix relative to full scale; samples beyond full scale are clipped
    bits: int = 16
    offset: float = 0.0  # DC; full scale is 1
    lead_s: float = 0.0  # padding (digital silence) at the start
    trail_s: float = 0.0  # padding at the end
    fade_s: float = 0.0
    gaps: tuple[tuple[float, float], ...] = ()  # (start, duration) of lost samples, seconds
    gain_control: float = 0.0  # 0: none; 1: constant level, as in phones and cameras
    release_s: float = 0.5  # time constant of the gain control after a loud sound

    def response(self, size: int, sample_rate: int) -> Samples:
        """Amplitude gains at the bins of an rfft of `size` samples."""
        factors = np.ones(size // 2 + 1, np.float32)
        f = np.fft.rfftfreq(size, 1 / sample_rate)
        if self.highpass_hz > 0:
            ratio = (f / self.highpass_hz) ** self.highpass_order
            factors *= (ratio / np.sqrt(1 + ratio**2)).astype(np.float32)
        if self.tilt_db:
            tilt = [-6.64 * self.tilt_db, 0, 6.64 * self.tilt_db]
            factors *= amplitude_response(size, sample_rate, [2, 200, 20000], tilt)
        if self.lowpass_hz > 0:
            factors *= np.clip(1 - (f - self.lowpass_hz) / (0.05 * self.lowpass_hz), 0, 1).astype(np.float32)
        return factors

    def unpadded_span(self, samples: int, sample_rate: int) -> tuple[int, int]:
        """(start, stop) of the samples that are not padding."""
        start = min(int(self.lead_s * sample_rate), samples)
        return start, max(start, samples - int(self.trail_s * sample_rate))

    def store(self, mix: Samples, sample_rate: int) -> Samples:
        """The mix as stored in a file, in [-1, 1]: after gain, offset, fades, clipping, rounding, gaps and padding."""
        n = len(mix)
        start, stop = self.unpadded_span(n, sample_rate)
        if self.gain_control:
            mix = with_gain_control(mix, self.gain_control, self.release_s, sample_rate)
        rms = float(np.sqrt(np.mean(np.square(mix[start:stop], dtype=np.float64)))) if stop > start else 0.0
        out = mix * np.float32(10 ** (self.level_db / 20) / rms if rms > 0 else 0.0)
        peak = float(np.abs(out).max(initial=0.0))
        if peak > MAX_OVERLOAD:
            out *= np.float32(MAX_OVERLOAD / peak)
        if rms > 0 and self.offset:
            out += np.float32(self.offset)
        fade = min(int(self.fade_s * sample_rate), (stop - start) // 2)
        if fade > 0:
            ramp = np.linspace(0, 1, fade, dtype=np.float32)
            out[start : start + fade] *= ramp
            out[stop - fade : stop] *= ramp[::-1]
        out = quantise(out, self.bits)
        for gap_s, duration_s in self.gaps:
            out[int(gap_s * sample_rate) : int((gap_s + duration_s) * sample_rate)] = 0
        out[:start] = 0
        out[stop:] = 0
        return out


def with_gain_control(samples: Samples, strength: float, release_s: float, sample_rate: int) -> Samples:
    """`samples` after automatic gain control, which reduces the gain at once and restores it within `release_s`."""
    block = max(int(0.01 * sample_rate), 1)
    power = np.square(np.pad(samples, (0, -len(samples) % block)), dtype=np.float64).reshape(-1, block).mean(1)
    level = np.sqrt(np.maximum(power, 1e-6 * power.max() + 1e-20))
    decay = float(np.exp(-block / sample_rate / release_s))
    envelope = level.tolist()
    for k in range(1, len(envelope)):
        envelope[k] = max(envelope[k], decay * envelope[k - 1])
    centres = (np.arange(len(envelope)) + 0.5) * block
    gains = np.interp(np.arange(len(samples)), centres, np.asarray(envelope) ** -strength)
    return (samples * gains).astype(np.float32)


def quantise(samples: Samples, bits: int) -> Samples:
    """`samples` clipped to full scale and rounded to `bits`."""
    levels = np.float32(2 ** (bits - 1))
    return (np.clip(np.round(samples * levels), -levels, levels - 1) / levels).astype(np.float32)


def draw_recorder(rng: np.random.Generator, seconds: float) -> Recorder:
    """A random recorder for a window of `seconds`: levels in a range of 60 dB, filters, rarely padding, gaps or DC."""
    level = rng.uniform(-72, -12)
    padded = rng.random() < 0.15  # a clip shorter than the window has padding at its end
    gaps = int(rng.integers(1, 4)) if rng.random() < 0.03 else 0
    return Recorder(
        highpass_hz=float(np.exp(rng.uniform(np.log(2), np.log(45)))) if rng.random() < 0.5 else 0.0,
        highpass_order=int(rng.integers(1, 3)),
        tilt_db=float(rng.normal(0, 1.5)),
        lowpass_hz=float(rng.uniform(500, 1900)) if rng.random() < 0.1 else 0.0,
        level_db=float(level),
        # 8 bits only at levels that 8 bits can represent.
        bits=8 if level > -30 and rng.random() < 0.06 else 16,
        offset=float(rng.normal(0, 0.01)) if rng.random() < 0.1 else 0.0,
        lead_s=float(rng.uniform(0, 0.1) * seconds) if padded and rng.random() < 0.15 else 0.0,
        trail_s=float(rng.uniform(0.02, 0.85) * seconds) if padded and rng.random() < 0.85 else 0.0,
        fade_s=float(rng.uniform(0.05, 2)) if rng.random() < 0.03 else 0.0,
        gaps=tuple((float(rng.uniform(0, seconds)), float(rng.uniform(0.005, 0.3))) for _ in range(gaps)),
    )
