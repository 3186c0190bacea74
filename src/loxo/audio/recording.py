"""Opening, streaming and resampling recordings of any length in constant memory, from a disk, S3 or a web server.

A recording is probed first: its header is read, no sample is. `stream` then gives blocks of float32 mono samples at
the rate a model wants, `read` one stretch of them. Sample k of the result always stands at k / sample_rate seconds
from the start of the recording, wherever reading began.

Failure policy: what cannot be opened raises RecordingError, one sentence with the file, the fault and the way out. What
breaks off in the middle gives all that could be decoded, and the fault stays with the stream (`Stream.fault`) or the
recording (`Recording.fault`), so that the caller can mark the recording as truncated. When a server breaks off for
good, the recording is not to blame: RecordingError with `transient` set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from loxo.audio.decoders import Damaged, Decoder, foreign_kind, open_libsndfile, open_pyav
from loxo.audio.headers import DataChunk, lacks_last_page, ogg_seconds, read_data_chunk
from loxo.audio.mpeg import seconds_of_frames
from loxo.audio.remote import Info, StorageError
from loxo.audio.storage import RangeFile, is_url, open_binary
from loxo.errors import LoxoError

BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}
LOWEST_RATE, HIGHEST_RATE = 10, 4_000_000  # Hz; what a header gives beyond is damage
LOST_S, LOST_MP3_S = 0.05, 0.5  # less may be what a decoder leaves out at start and end
BLOCK_S = 30.0
CONTEXT_SAMPLES = 1024  # output samples on either side that the resampling filter can reach
RESCUE_FRAMES = 256  # a block that cannot be decoded whole is read again in pieces of this length

Samples = NDArray[np.float32]


class RecordingError(LoxoError):
    """A recording cannot be read. The message is one whole sentence with its name, the fault and the way out.

    `transient`: a server or the connection to it failed, and another attempt may succeed.
    """

    transient = False


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording as its header describes it. Times in seconds, frames are samples of one channel."""

    path: Path | str  # str: a URL
    sample_rate: int
    channels: int
    frames: int  # what can be read
    subtype: str  # libsndfile's name of the sample format, such as PCM_16; by PyAV: the codec's
    missing_frames: int = 0  # promised by the header, not in the file
    unfinished: bool = False  # cut off, without a word about how much is missing
    unreachable_s: float = 0.0  # of a compressed file, which decoders leave out without a word
    note: str | None = None  # something odd that loses nothing, one sentence
    length_field: int | None = None  # byte offset of a WAV's length that must not be believed
    foreign: bool = False  # libsndfile cannot read it, PyAV can
    size: int = 0  # in bytes
    known: Info | None = None  # of a URL, what saves requests when it is opened again

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate

    @property
    def fault(self) -> str | None:
        """One sentence when the file is shorter than its header says."""
        again = "Copy it again from the card if there is a longer one."
        if self.unreachable_s:
            return (
                f"{self.path}: the file holds {self.duration_s + self.unreachable_s:.1f} s, but only "
                f"{self.duration_s:.1f} s can be read: parts are missing or damaged, and times behind them are too "
                "early. Copy it again from the card."
            )
        if self.unfinished:
            return f"{self.path}: the file is cut off after {self.duration_s:.1f} s: its end is missing. {again}"
        if not self.missing_frames:
            return None
        whole = (self.frames + self.missing_frames) / self.sample_rate
        return (
            f"{self.path}: the file is cut off: its header promises {whole:.1f} s but it holds "
            f"{self.duration_s:.1f} s. {again}"
        )

    def samples_at(self, sample_rate: int, frames: int | None = None) -> int:
        """How many samples the recording (or its first `frames`) has at another rate: the nearest whole number."""
        frames = self.frames if frames is None else frames
        return (2 * frames * sample_rate + self.sample_rate) // (2 * self.sample_rate)


def probe(path: str | Path) -> Recording:
    """Reads the header of a recording. Raises RecordingError when it is missing, empty, or not readable as audio."""
    path = str(path) if is_url(path) else Path(path)
    if isinstance(path, Path) and path.is_dir():
        raise RecordingError(f"{path}: this is a folder, not a recording.")
    try:
        with open_binary(path) as file:
            known = file.info if isinstance(file, RangeFile) else None
            size = file.seek(0, 2)
            chunk = read_data_chunk(file)
            unfinished = lacks_last_page(file)
            file.seek(0)
            start = file.read(512)
    except StorageError as error:
        raise _refused(error) from error
    except OSError as error:
        raise RecordingError(f"{path}: the file cannot be opened ({error.strerror or error}).") from error
    if not size:
        raise RecordingError(f"{path}: the file is empty (0 bytes). Copy it again from the card.")
    length_field = chunk.length_field if chunk else None
    kind = None
    try:
        try:
            with open_libsndfile(path, length_field, known) as sound:
                pass
        except Damaged:
            if (kind := foreign_kind(start)) is None:
                raise
            with open_pyav(path, known) as sound:
                pass
    except ImportError as error:
        raise RecordingError(
            f"{path}: this is {kind} audio, which needs a package that is not installed. Install it with: "
            "pip install 'loxo[formats]', or convert the file to WAV or FLAC."
        ) from error
    except StorageError as error:
        raise _refused(error) from error
    except (Damaged, OSError) as error:
        what = f"this {kind} file cannot be decoded ({error})" if kind else _what_it_is(start)
        raise RecordingError(f"{path}: {what}. Convert it to WAV or FLAC, or leave it out.") from error
    rate, channels, frames, subtype = sound.sample_rate, sound.channels, sound.frames, sound.subtype
    if frames <= 0:
        raise RecordingError(f"{path}: the file has a header but holds no samples. Copy it again, or leave it out.")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise RecordingError(
            f"{path}: the header is damaged: it gives a sample rate of {rate} Hz. Copy the file again."
        )
    by_frames = None
    if subtype == "MPEG_LAYER_III" or start.startswith(b"OggS"):
        with open_binary(path, known) as file:
            by_frames = seconds_of_frames(file, size) if subtype == "MPEG_LAYER_III" else ogg_seconds(file, rate)
    unreachable_s = (by_frames or 0.0) - frames / rate
    note = None
    if chunk and chunk.promised is None:
        note = f"{path}: the header does not say how long the recording is; all {frames / rate:.1f} s in it were read."
    return Recording(
        path=path,
        sample_rate=rate,
        channels=channels,
        frames=frames,
        subtype=subtype,
        missing_frames=_missing_frames(chunk, frames, channels * BYTES.get(subtype, 0)),
        unfinished=unfinished or sound.unfinished,
        note=note,
        unreachable_s=unreachable_s if unreachable_s > (LOST_MP3_S if subtype == "MPEG_LAYER_III" else LOST_S) else 0.0,
        length_field=length_field,
        foreign=kind is not None,
        size=size,
        known=known,
    )


def open_decoder(recording: Recording, frames: int = 0) -> AbstractContextManager[Decoder]:
    """The samples of a recording as they are stored, at its own rate. Raises what loxo.audio.decoders raises.

    `frames` is how many will probably be read in one go.
    """
    expect = frames * recording.size // recording.frames
    if recording.foreign:
        return open_pyav(recording.path, recording.known, expect, recording.frames)
    return open_libsndfile(recording.path, recording.length_field, recording.known, expect)


def _refused(error: StorageError) -> RecordingError:
    refused = RecordingError(str(error))
    refused.transient = error.transient
    return refused


def stream(
    recording: Recording,
    sample_rate: int,
    block_s: float = BLOCK_S,
    start: int = 0,
    stop: int | None = None,
    channel: int | None = None,
) -> Stream:
    """The samples [start, stop) of a recording at `sample_rate` as an iterable of blocks. See Stream.

    `channel` counts from 0; without it the mean of all channels is taken.
    Raises RecordingError for a channel that does not exist; nothing is opened before the first block is asked for.
    """
    if channel is not None and not 0 <= channel < recording.channels:
        raise RecordingError(
            f"{recording.path}: there is no channel {channel}; channels: 0 to {recording.channels - 1}."
        )
    total = recording.samples_at(sample_rate)
    stop = total if stop is None else min(stop, total)
    return Stream(recording, sample_rate, block_s, min(max(start, 0), stop), stop, channel)


class Stream:
    """Blocks of float32 mono samples in [-1, 1], of about `block_s` seconds each; to be iterated once.

    Together the blocks have exactly `stop - start` samples, `Recording.samples_at` for a whole recording: the nearest
    whole number to frames x rate / original rate. The resampler's delay is taken out, so nothing shifts; a stretch
    from the middle is resampled with its surroundings and equals the same stretch of the whole up to float noise.

    After the iteration: `samples` counts what was given, `zeroed` the non-finite samples that were replaced by zero,
    `fault` is a sentence if decoding stopped early (the blocks end there), else None. The iteration raises
    RecordingError, with `transient` set, when a server does not answer any more.
    """

    def __init__(
        self, recording: Recording, sample_rate: int, block_s: float, start: int, stop: int, channel: int | None
    ) -> None:
        self.recording, self.sample_rate, self.block_s = recording, sample_rate, block_s
        self.start, self.stop, self.channel = start, stop, channel
        self.samples = 0
        self.zeroed = 0
        self.fault: str | None = None

    def __iter__(self) -> Iterator[Samples]:
        recording = self.recording
        common = math.gcd(recording.sample_rate, self.sample_rate)
        into, outof = (
            self.sample_rate // common,
            recording.sample_rate // common,
        )  # `outof` frames become `into` samples
        context = 0 if into == outof else CONTEXT_SAMPLES
        # Where both rates have a sample at the same instant, so that the two grids coincide.
        cell = max(self.start - context, 0) // into
        first = cell * outof
        last = min(-(-(self.stop + context) * outof // into), recording.frames)
        skip = self.start - cell * into
        wanted = self.stop - self.start
        if not wanted:
            return
        resampler = None
        if into != outof:
            resampler = soxr.ResampleStream(recording.sample_rate, self.sample_rate, 1, dtype="float32", quality="HQ")
        position = first
        for block in self._decode(first, last):
            position += len(block)
            if resampler is not None:
                block = resampler.resample_chunk(block)
            block, skip = block[skip:], max(skip - len(block), 0)
            yield from self._give(block[: wanted - self.samples])
        if position < last:
            wanted = min(wanted, max(recording.samples_at(self.sample_rate, position) - self.start, 0))
        if resampler is not None:
            rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)[skip:]
            yield from self._give(rest[: wanted - self.samples])
        yield from self._give(np.zeros(wanted - self.samples, np.float32))  # none, unless soxr rounds otherwise

    def _give(self, block: Samples) -> Iterator[Samples]:
        if len(block):
            self.samples += len(block)
            yield block

    def _decode(self, first: int, last: int) -> Iterator[Samples]:
        """Mono blocks of the frames [first, last) at the original rate; ends early, with a fault, if decoding does."""
        size = max(int(self.block_s * self.recording.sample_rate), 1)
        position = first
        for whole in (True, False):
            try:
                with open_decoder(self.recording, last - position) as file:
                    file.seek(position)
                    while position < last:
                        frames = file.read(min(size, last - position))
                        if not len(frames):
                            break
                        position += len(frames)
                        yield self._mono(frames)
                reason = "the file ends there"
                break
            except StorageError as error:
                raise _refused(error) from error
            except (Damaged, OSError) as error:
                # An error loses the whole block: once more from its start in small pieces, up to the broken place.
                reason = str(error.strerror) if isinstance(error, OSError) else "the data there are damaged or missing"
                size = RESCUE_FRAMES if whole else size
        if position < last:
            rate = self.recording.sample_rate
            self.fault = (
                f"{self.recording.path}: decoding stopped at {position / rate:.1f} s of "
                f"{self.recording.duration_s:.1f} s ({reason}). Copy it again from the card if there is a whole one."
            )

    def _mono(self, frames: NDArray[np.float32]) -> Samples:
        """(frames, channels) -> (frames,), without infinities and NaN."""
        if self.recording.subtype in ("FLOAT", "DOUBLE"):
            broken = ~np.isfinite(frames)
            if broken.any():
                self.zeroed += int(broken.any(axis=1).sum())
                frames[broken] = 0.0
        if self.channel is not None:
            return np.ascontiguousarray(frames[:, self.channel])
        return frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)


def read(
    path: str | Path | Recording,
    sample_rate: int,
    start_s: float = 0.0,
    duration_s: float | None = None,
    channel: int | None = None,
) -> Samples:
    """A stretch of a recording, float32 mono (samples,) at `sample_rate`; shorter where the recording ends before.

    Raises RecordingError when the recording or the stretch cannot be read, or begins after the recording's end.
    """
    recording = path if isinstance(path, Recording) else probe(path)
    start = round(start_s * sample_rate)
    stop = None if duration_s is None else start + round(duration_s * sample_rate)
    if not 0 <= start < recording.samples_at(sample_rate):
        raise RecordingError(f"{recording.path}: {start_s:g} s does not lie within its {recording.duration_s:g} s.")
    blocks = stream(recording, sample_rate, start=start, stop=stop, channel=channel)
    samples = list(blocks)
    if blocks.fault:
        raise RecordingError(blocks.fault)
    return np.concatenate(samples) if samples else np.zeros(0, np.float32)


def _missing_frames(chunk: DataChunk | None, frames: int, frame_bytes: int) -> int:
    if chunk is None or not chunk.missing or chunk.promised is None:
        return 0
    if frame_bytes:
        return max(chunk.promised // frame_bytes - frames, 0)
    return round(chunk.missing * frames / max(chunk.present, 1))  # compressed: by the mean size of a frame


def _what_it_is(start: bytes) -> str:
    """In words, what a file that is no readable audio seems to be, by its first bytes."""
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "this is a web page, not audio (a download that went wrong?)"
    if start.startswith(b"version https://git-lfs"):
        return "this is a Git LFS pointer, not the recording itself"
    if not start.strip(b"\0"):
        return "the file begins with zeros where a header should be (a card that failed?)"
    if all(byte >= 32 or byte in b"\t\r\n" for byte in start):
        return "this is a text file, not audio"
    return "this is not audio in a format that can be read, or its header is damaged"
