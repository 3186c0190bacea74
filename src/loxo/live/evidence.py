"""What an alert shows of an event: a short clip (FLAC) and a small spectrogram (PNG)."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

MARGIN_S, MAX_S = 2.0, 20.0  # before and after the event, and of the whole clip
RATE = 4000  # Hz, at most
LOW_HZ = 250.0  # events below are drawn up to here, all others up to half the rate
COLUMNS, ROWS, RANGE_DB = 320, 128, 50.0

Samples = NDArray[np.float32]


def clip_span(event: dict[str, Any]) -> tuple[float, float]:
    """Start and duration of the clip of an event, in seconds. The middle of a long event is shown."""
    start, end = event["start_s"] - MARGIN_S, event["end_s"] + MARGIN_S
    cut = max(end - start - MAX_S, 0.0)
    start, end = max(start + cut / 2, 0.0), end - cut / 2
    return start, end - start


def flac(samples: Samples, rate: int) -> bytes:
    """The samples as FLAC with 16 bits, at their own level."""
    out = io.BytesIO()
    soundfile.write(out, np.clip(samples, -1, 1), rate, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def spectrogram(samples: Samples, rate: int, event: dict[str, Any]) -> bytes:
    """A grey picture of the samples, time from left to right and 0 Hz at the bottom; dark is loud."""
    highest = LOW_HZ if event["high_hz"] <= LOW_HZ else rate / 2
    size = 2 ** int(np.clip(round(np.log2(rate / (8.0 if highest == LOW_HZ else 30.0))), 5, 12))
    padded = np.pad(samples, size // 2)
    starts = np.linspace(0, max(len(padded) - size, 0), COLUMNS).astype(int)
    frames = np.stack([np.pad(part, (0, size - len(part))) for part in (padded[k : k + size] for k in starts)])
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    shown = power[:, : max(int(highest / rate * size), 2)].T
    level = 10 * np.log10(shown + 1e-14)
    level -= np.median(level, axis=1, keepdims=True)  # each band above its own floor
    top = max(float(level.max()), 10.0)
    grey = np.clip((top - level) / min(RANGE_DB, top), 0, 1) * 255
    rows = np.linspace(len(grey) - 1, 0, ROWS).round().astype(int)
    return png(grey[rows].astype(np.uint8))


def png(grey: NDArray[np.uint8]) -> bytes:
    """(rows, columns) as a PNG of 8 bits."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows, columns = grey.shape
    content = b"".join(b"\0" + row.tobytes() for row in grey)  # each row without a filter
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(content, 9)), chunk(b"IEND", b""))
    )
