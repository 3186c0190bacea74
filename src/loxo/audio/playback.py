"""Sound for listening: an excerpt of a recording as a WAV that a laptop's loudspeaker can play.

Rumbles are below the range of human hearing and of small loudspeakers. There are two remedies:

- **faster**: the same samples with a higher sample rate. At 8x a rumble of 20 Hz is heard at 160 Hz, in an eighth of
  the time. Nothing is distorted, so this is the best way to judge a call.
- **pitch-shifted**: frequencies times PITCH at the original duration, so that the cursor runs in real time. The faster
  sound is time-stretched by overlap-add of short pieces, each at the offset where it continues the previous one best
  (WSOLA). Harmonics stay harmonics, which frequency mixing (heterodyning) would not give. Short sounds are smeared
  over one piece.

Frequencies below LOW_HZ (wind, DC offset) are removed, and the loudest part is scaled to near full scale.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from loxo.audio.recording import Recording, RecordingError, stream

SPEEDS = (1, 4, 8, 16)
PITCH = 8  # times
OUTPUT_RATE = 32000  # Hz
LOW_HZ = 6.0
PIECE_S, SEARCH_S = 0.05, 0.012  # length and search range of pieces in the overlap-add, in the output sound
LOUDEST = 0.8  # level of the loudest part, 1: full scale

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Pieces:
    """A recording of which only pieces are left. It is silent between them.

    `pieces` are (start in the recording in s, file); there is at least one."""

    path: str
    duration_s: float
    pieces: tuple[tuple[float, Recording], ...]

    @property
    def sample_rate(self) -> int:
        return self.pieces[0][1].sample_rate

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Start and end of each piece."""
        return [(start, start + piece.duration_s) for start, piece in self.pieces]

    @property
    def channels(self) -> int:
        return self.pieces[0][1].channels


def read_excerpt(
    recording: Recording | Pieces, sample_rate: int, start_s: float, end_s: float, channel: int | None = None
) -> NDArray[np.float32]:
    """The samples from start_s to end_s that can be decoded. Raises RecordingError when none can.

    `channel` counts from 0; None is the mean of all channels.
    """
    if isinstance(recording, Pieces):
        return _joined(recording, sample_rate, start_s, end_s, channel)
    start, stop = round(start_s * sample_rate), round(end_s * sample_rate)
    blocks = stream(recording, sample_rate, start=start, stop=stop, channel=channel)
    samples = list(blocks)
    if not samples:
        raise RecordingError(
            blocks.fault or f"{recording.path}: {start_s:g} s is not within its {recording.duration_s:g} s."
        )
    return np.concatenate(samples)


def _joined(
    recording: Pieces, sample_rate: int, start_s: float, end_s: float, channel: int | None
) -> NDArray[np.float32]:
    start, stop = (round(at * sample_rate) for at in (start_s, min(end_s, recording.duration_s)))
    samples = np.zeros(max(stop - start, 0), np.float32)
    read = False
    for begin_s, piece in recording.pieces:
        at = round(begin_s * sample_rate) - start
        first, end = max(-at, 0), min(round(piece.duration_s * sample_rate), stop - start - at)
        if first < end:
            part = read_excerpt(piece, sample_rate, first / sample_rate, end / sample_rate, channel)
            samples[at + first : at + first + len(part)] = part
            read = True
    if not read:
        raise RecordingError(
            f"{recording.path}: the recording was not kept, and no clip of an event is between these times."
        )
    return samples


def sound(
    recording: Recording | Pieces,
    start_s: float,
    end_s: float,
    *,
    speed: int = 1,
    pitched: bool = False,
    channel: int | None = None,
) -> bytes:
    """A WAV of the excerpt: `speed` times faster, or, with `pitched`, PITCH times higher at the original duration.

    The first sample is at start_s. Raises RecordingError when no sample of it can be read.
    """
    factor = PITCH if pitched else speed
    rate = OUTPUT_RATE // factor  # samples per second of the recording; higher frequencies than half of it are lost
    samples = high_pass(read_excerpt(recording, rate, start_s, end_s, channel), rate, LOW_HZ)
    if pitched:
        samples = time_stretched(samples, factor, OUTPUT_RATE)
    # Not the peak: a single click would make everything else inaudible.
    loud = float(np.quantile(np.abs(samples), 0.9995)) if len(samples) else 0.0
    scaled = np.clip(samples * (LOUDEST / max(loud, 1e-6)), -1, 1)
    buffer = io.BytesIO()
    soundfile.write(buffer, scaled, OUTPUT_RATE, subtype="PCM_16", format="WAV")
    return buffer.getvalue()


def high_pass(samples: Samples, rate: int, low_hz: float) -> Samples:
    """Removes frequencies below low_hz / 2, with a smooth transition up to low_hz, without delay."""
    length = 1 << max(len(samples) - 1, 1).bit_length()
    spectrum = np.fft.rfft(samples, length)
    hertz = np.fft.rfftfreq(length, 1 / rate)
    gain = np.sin(0.5 * np.pi * np.clip(2 * hertz / low_hz - 1, 0, 1)) ** 2
    return np.fft.irfft(spectrum * gain, length)[: len(samples)].astype(np.float32)


def time_stretched(samples: Samples, factor: int, rate: int) -> Samples:
    """The samples `factor` times longer at the same pitch, by WSOLA."""
    piece = round(PIECE_S * rate) // (2 * factor) * (2 * factor)
    hop, step, search = piece // 2, piece // 2 // factor, round(SEARCH_S * rate)
    early = (piece - piece // factor) // 2  # so that the middle of a piece is at the right time
    padded = np.pad(samples, (search + early, piece + hop + search))
    count = -(-len(samples) // step)
    output = np.zeros(count * hop + piece, np.float32)
    taper = np.hanning(piece + 1)[:-1].astype(np.float32)
    wanted = padded[search : search + hop]
    for k in range(count):
        begin = k * step  # the earliest offset of this piece
        place = begin + _best(padded[begin : begin + 2 * search + hop], wanted)
        output[k * hop : k * hop + piece] += padded[place : place + piece] * taper
        wanted = padded[place + hop : place + 2 * hop]  # the continuation of this piece in the input
    return output[: len(samples) * factor]


def _best(around: Samples, wanted: Samples) -> int:
    """The offset in `around` with the highest correlation with `wanted`."""
    length = 1 << (len(around) + len(wanted) - 1).bit_length()
    product = np.fft.rfft(around, length) * np.conj(np.fft.rfft(wanted, length))
    return int(np.argmax(np.fft.irfft(product, length)[: len(around) - len(wanted) + 1]))
