"""Sound for the page: a stretch of a recording as WAV that a laptop's loudspeaker can play.

Rumbles lie below what people and small loudspeakers hear. Two ways out:

- **faster**: the samples are kept and only said to be more a second. At 8x a rumble of 20 Hz sounds at 160 Hz, and
  everything takes an eighth of the time. Nothing is distorted; this is the way to judge a call.
- **pitch-shifted**: frequencies times PITCH at unchanged duration, so that the cursor runs in real time. The faster
  sound is stretched again by overlap-add of short pieces, each moved to where it continues the one before best
  (WSOLA). Harmonics stay harmonics, which a shift by mixing (heterodyne) would not give; quick sounds are smeared
  over a piece.

What lies below LOW_HZ (wind, the recorder's offset) is taken out, and the loudest part brought near full scale.
"""

from __future__ import annotations

import io

import numpy as np
import soundfile
from numpy.typing import NDArray

from loxo.audio.recording import Recording
from loxo.review.spectrogram import stretch

SPEEDS = (1, 4, 8, 16)
PITCH = 8  # times
OUTPUT_RATE = 32000  # Hz
LOW_HZ = 6.0
PIECE_S, SEARCH_S = 0.05, 0.012  # of the overlap-add, in the sound that is heard
LOUDEST = 0.8

Samples = NDArray[np.float32]


def sound(recording: Recording, start_s: float, end_s: float, *, speed: int = 1, pitched: bool = False) -> bytes:
    """A WAV of the stretch: `speed` times faster, or `pitched`: PITCH times higher at its own duration.

    Its first sample is at start_s. Raises RecordingError when nothing of it can be read.
    """
    factor = PITCH if pitched else speed
    rate = OUTPUT_RATE // factor  # of the recording's time; frequencies above half of it cannot be heard then
    samples = high_passed(stretch(recording, rate, start_s, end_s), rate, LOW_HZ)
    if pitched:
        samples = stretched(samples, factor, OUTPUT_RATE)
    # Not the very peak: a single click would make everything else silent.
    loud = float(np.quantile(np.abs(samples), 0.9995)) if len(samples) else 0.0
    scaled = np.clip(samples * (LOUDEST / max(loud, 1e-6)), -1, 1)
    buffer = io.BytesIO()
    soundfile.write(buffer, scaled, OUTPUT_RATE, subtype="PCM_16", format="WAV")
    return buffer.getvalue()


def high_passed(samples: Samples, rate: int, low_hz: float) -> Samples:
    """Without what lies below low_hz; a smooth edge of an octave, no delay."""
    length = 1 << max(len(samples) - 1, 1).bit_length()
    spectrum = np.fft.rfft(samples, length)
    hertz = np.fft.rfftfreq(length, 1 / rate)
    gain = np.sin(0.5 * np.pi * np.clip(2 * hertz / low_hz - 1, 0, 1)) ** 2
    return np.fft.irfft(spectrum * gain, length)[: len(samples)].astype(np.float32)


def stretched(samples: Samples, factor: int, rate: int) -> Samples:
    """The samples `factor` times longer at unchanged pitch, by WSOLA."""
    piece = round(PIECE_S * rate) // (2 * factor) * (2 * factor)
    hop, step, search = piece // 2, piece // 2 // factor, round(SEARCH_S * rate)
    early = (piece - piece // factor) // 2  # so that the middle of a piece stands where it belongs
    padded = np.pad(samples, (search + early, piece + hop + search))
    count = -(-len(samples) // step)
    output = np.zeros(count * hop + piece, np.float32)
    taper = np.hanning(piece + 1)[:-1].astype(np.float32)
    wanted = padded[search : search + hop]
    for k in range(count):
        begin = k * step  # the earliest place of this piece
        place = begin + _best(padded[begin : begin + 2 * search + hop], wanted)
        output[k * hop : k * hop + piece] += padded[place : place + piece] * taper
        wanted = padded[place + hop : place + 2 * hop]  # how this piece goes on by itself
    return output[: len(samples) * factor]


def _best(around: Samples, wanted: Samples) -> int:
    """Where in `around` the samples resemble `wanted` most."""
    length = 1 << (len(around) + len(wanted) - 1).bit_length()
    product = np.fft.rfft(around, length) * np.conj(np.fft.rfft(wanted, length))
    return int(np.argmax(np.fft.irfft(product, length)[: len(around) - len(wanted) + 1]))
