"""What a recorder does to a whole mix: its filters, gain and gain control, clipping, word length, gaps and silence.

Calls and background pass the same microphone, so a recorder acts on the mix and never on a call alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loxo.simulation.sounds import Samples, gain

MOST_CLIPPED = 5.6  # re full scale (15 dB): a gain at which the loudest sound goes further beyond is not set


@dataclass(frozen=True)
class Recorder:
    highpass_hz: float = 0.0  # 0: none
    highpass_order: int = 1
    tilt_db: float = 0.0  # per octave
    lowpass_hz: float = 0.0  # what lossy coding leaves; 0: everything
    level_db: float = -30.0  # RMS of the mix re full scale; what goes beyond full scale is clipped
    bits: int = 16
    offset: float = 0.0  # DC, full scale 1
    lead_s: float = 0.0  # digital silence before and after, as padding leaves it
    trail_s: float = 0.0
    fade_s: float = 0.0
    gaps: tuple[tuple[float, float], ...] = ()  # (start, duration) of dropped samples, seconds
    gain_control: float = 0.0  # 0: none; 1: every stretch comes out equally loud, as phones and cameras have it
    release_s: float = 0.5  # of the gain control, after something loud

    def response(self, size: int, sample_rate: int) -> Samples:
        """Amplitude gains at the bins of an rfft of `size` samples."""
        factors = np.ones(size // 2 + 1, np.float32)
        f = np.fft.rfftfreq(size, 1 / sample_rate)
        if self.highpass_hz > 0:
            ratio = (f / self.highpass_hz) ** self.highpass_order
            factors *= (ratio / np.sqrt(1 + ratio**2)).astype(np.float32)
        if self.tilt_db:
            factors *= gain(size, sample_rate, [2, 200, 20000], [-6.64 * self.tilt_db, 0, 6.64 * self.tilt_db])
        if self.lowpass_hz > 0:
            factors *= np.clip(1 - (f - self.lowpass_hz) / (0.05 * self.lowpass_hz), 0, 1).astype(np.float32)
        return factors

    def heard(self, samples: int, sample_rate: int) -> tuple[int, int]:
        """(first, one past the last) sample that is not padding."""
        first = min(int(self.lead_s * sample_rate), samples)
        return first, max(first, samples - int(self.trail_s * sample_rate))

    def store(self, mix: Samples, sample_rate: int) -> Samples:
        """The mix as it lies in the file: gain, offset, fades, gaps, padding, full scale, word length."""
        n = len(mix)
        first, last = self.heard(n, sample_rate)
        if self.gain_control:
            mix = levelled(mix, self.gain_control, self.release_s, sample_rate)
        rms = float(np.sqrt(np.mean(np.square(mix[first:last], dtype=np.float64)))) if last > first else 0.0
        out = mix * np.float32(10 ** (self.level_db / 20) / rms if rms > 0 else 0.0)
        peak = float(np.abs(out).max(initial=0.0))
        if peak > MOST_CLIPPED:
            out *= np.float32(MOST_CLIPPED / peak)
        if rms > 0 and self.offset:
            out += np.float32(self.offset)
        fade = min(int(self.fade_s * sample_rate), (last - first) // 2)
        if fade > 0:
            ramp = np.linspace(0, 1, fade, dtype=np.float32)
            out[first : first + fade] *= ramp
            out[last - fade : last] *= ramp[::-1]
        out = quantised(out, self.bits)
        for start, duration in self.gaps:
            out[int(start * sample_rate) : int((start + duration) * sample_rate)] = 0
        out[:first] = 0
        out[last:] = 0
        return out


def levelled(samples: Samples, strength: float, release_s: float, sample_rate: int) -> Samples:
    """`samples` through an automatic gain control: it lowers the gain at once and raises it again in `release_s`."""
    block = max(int(0.01 * sample_rate), 1)
    power = np.square(np.pad(samples, (0, -len(samples) % block)), dtype=np.float64).reshape(-1, block).mean(1)
    level = np.sqrt(np.maximum(power, 1e-6 * power.max() + 1e-20))
    kept = float(np.exp(-block / sample_rate / release_s))
    held = level.tolist()
    for k in range(1, len(held)):
        held[k] = max(held[k], kept * held[k - 1])
    centres = (np.arange(len(held)) + 0.5) * block
    gains = np.interp(np.arange(len(samples)), centres, np.asarray(held) ** -strength)
    return (samples * gains).astype(np.float32)


def quantised(samples: Samples, bits: int) -> Samples:
    """Clipped to full scale and rounded to `bits`."""
    steps = np.float32(2 ** (bits - 1))
    return (np.clip(np.round(samples * steps), -steps, steps - 1) / steps).astype(np.float32)


def draw_recorder(rng: np.random.Generator, seconds: float) -> Recorder:
    """Any recorder: levels over 60 dB, filters, and now and then a fault. Padding and gaps are rare but real."""
    level = rng.uniform(-72, -12)
    padded = rng.random() < 0.15  # a clip shorter than the window is padded at its end
    gaps = int(rng.integers(1, 4)) if rng.random() < 0.03 else 0
    return Recorder(
        highpass_hz=float(np.exp(rng.uniform(np.log(2), np.log(45)))) if rng.random() < 0.5 else 0.0,
        highpass_order=int(rng.integers(1, 3)),
        tilt_db=float(rng.normal(0, 1.5)),
        lowpass_hz=float(rng.uniform(500, 1900)) if rng.random() < 0.1 else 0.0,
        level_db=float(level),
        # 8 bits only where they hold the mix at all.
        bits=8 if level > -30 and rng.random() < 0.06 else 16,
        offset=float(rng.normal(0, 0.01)) if rng.random() < 0.1 else 0.0,
        lead_s=float(rng.uniform(0, 0.1) * seconds) if padded and rng.random() < 0.15 else 0.0,
        trail_s=float(rng.uniform(0.02, 0.85) * seconds) if padded and rng.random() < 0.85 else 0.0,
        fade_s=float(rng.uniform(0.05, 2)) if rng.random() < 0.03 else 0.0,
        gaps=tuple((float(rng.uniform(0, seconds)), float(rng.uniform(0.005, 0.3))) for _ in range(gaps)),
    )
