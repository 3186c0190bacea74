"""Opening, streaming and resampling recordings of any length in constant memory, from a disk, S3 or a web server.

`probe` reads the header of a recording, but no samples. `stream` then returns blocks of float32 mono samples at the
sample rate of a model, and `read` returns an excerpt. Sample k of a recording always lies k / sample_rate seconds after
its start, for every start of reading.

Failure policy: a recording that cannot be opened raises RecordingError, with the file, the fault and the way out. If
decoding stops early, all samples before that point are returned. The fault is stored in `Stream.fault` or
`Recording.fault`, so that the caller can mark the recording as truncated. If a server fails permanently, the recording
is not at fault: RecordingError is raised with `transient` set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr
from numpy.typing import NDArray

from loxo.audio.channels import ChannelCheck
from loxo.audio.decoders import (
    RETRY_BLOCK_FRAMES,
    DecodeError,
    Decoder,
    Streams,
    UnseekableError,
    count_frames,
    open_libsndfile,
)
from loxo.audio.flac import read_flac
from loxo.audio.headers import RECOVERED, Layout, is_absurd, read_layout
from loxo.audio.mpeg import mp3_duration_s, mp3_streams
from loxo.audio.ogg import read_ogg
from loxo.audio.pyav import open_pyav, pyav_format
from loxo.audio.remote import Info, StorageError
from loxo.audio.sizes import check_size
from loxo.audio.storage import RangeFile, is_url, open_binary
from loxo.audio.urls import hide_secrets
from loxo.errors import LoxoError
from loxo.installation import install_extra
from loxo.languages import mark

BYTES_PER_SAMPLE = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "ULAW": 1,
    "ALAW": 1,
}
MIN_RATE, MAX_RATE = 10, 4_000_000  # Hz; a header with another rate is damaged
TOLERATED_LOSS_S, TOLERATED_MP3_LOSS_S = 0.05, 0.5  # decoders may drop less than this at start and end
BLOCK_S = 30.0
CONTEXT_SAMPLES = 1024  # length of one side of the resampling filter, in output samples
CONTAINERS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"caff", b"fLaC")  # libsndfile or PyAV reads them

# A sample is wild if it exceeds MAX_SAMPLE, or WILD_RATIO times the level that 99 % of the samples in its block do not
# exceed (at least 1, full scale). Floats may be scaled as integers of up to 32 bits, so the limit follows the level.
MAX_SAMPLE, WILD_RATIO = 2.0**32, 1e5

Samples = NDArray[np.float32]


class RecordingError(LoxoError):
    """A recording cannot be read. The message names the file, the fault and the way out.

    `transient`: a server or the connection to it failed, and another attempt may succeed.
    """

    transient = False


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The properties of a recording, from its header. Times are in seconds; a frame has one sample per channel."""

    path: Path | str  # str: a URL
    sample_rate: int
    channels: int
    frames: int  # frames that can be read
    subtype: str  # libsndfile's name of the sample format, such as PCM_16; with PyAV, the codec's name
    missing_frames: int = 0  # frames that the header declares but the file does not contain
    end_missing: bool = False  # the file is cut off, and the missing length is unknown
    undecodable_s: float = 0.0  # duration of damaged parts that decoders skip without an error; compressed files only
    note: str | None = None  # an unusual property without loss of samples, one sentence
    streams: Streams = ()  # the bytes that decoders read if the header is wrong, for each stream in the file
    stream_lengths: tuple[int, ...] = ()  # frames of each stream, if the file contains several
    needs_pyav: bool = False  # libsndfile cannot read it, PyAV can
    size: int = 0  # bytes
    storage_info: Info | None = None  # for a URL: saves requests when it is opened again

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate

    @property
    def fault(self) -> str | None:
        """Describes a file that is shorter than its header declares; None for a complete file."""
        again = "Copy it again from the card if the original is longer."
        if self.undecodable_s:
            return (
                f"{self.path}: the file contains {self.duration_s + self.undecodable_s:.1f} s, but only "
                f"{self.duration_s:.1f} s can be read: parts are missing or damaged, and times after these parts are "
                "too early. Copy it again from the card."
            )
        if self.end_missing:
            return f"{self.path}: the file is cut off after {self.duration_s:.1f} s: its end is missing. {again}"
        if not self.missing_frames:
            return None
        whole = (self.frames + self.missing_frames) / self.sample_rate
        digits = 1 if whole - self.duration_s >= 0.1 else 3
        return (
            f"{self.path}: the file is cut off: its header declares {whole:.{digits}f} s but it contains "
            f"{self.duration_s:.{digits}f} s. {again}"
        )

    def samples_at(self, sample_rate: int, frames: int | None = None) -> int:
        """Returns the number of samples of the recording, or of its first `frames`, at another rate, rounded."""
        frames = self.frames if frames is None else frames
        return (2 * frames * sample_rate + self.sample_rate) // (2 * self.sample_rate)


def probe(path: str | Path) -> Recording:
    """Reads the header of a recording. Raises RecordingError if the file is missing, empty or not readable as audio."""
    path = hide_secrets(str(path)) if is_url(path) else Path(path)
    if isinstance(path, Path) and path.is_dir():
        raise RecordingError(f"{path}: this is a folder, not a recording. Give a recording in it.")
    if isinstance(path, Path) and path.exists() and not path.is_file():  # opening it may wait for ever
        raise RecordingError(f"{path}: this is a named pipe, a socket or a device, not a file. Leave it out.")
    try:
        with open_binary(path) as file:
            known = file.info if isinstance(file, RangeFile) else None
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(512)
            layout, end_s = _read_layout(file, size, start, whole=isinstance(path, Path))
    except StorageError as error:
        raise _storage_failure(error) from error
    except OSError as error:
        raise RecordingError(
            f"{path}: the file cannot be opened ({error.strerror or error}). Check the path."
        ) from error
    if not size:
        raise RecordingError(f"{path}: the file is empty (0 bytes). Copy it again from the card.")
    sound, needs_pyav = _open_once(path, layout, known, start)
    rate, channels, frames, subtype = sound.sample_rate, sound.channels, sound.frames, sound.subtype
    if not MIN_RATE <= rate <= MAX_RATE:
        raise RecordingError(
            f"{path}: the header is damaged: it declares a sample rate of {rate} Hz. Copy the file again."
        )
    flaw, end_missing = layout.flaw, layout.end_missing or sound.end_missing
    if not needs_pyav and (layout.count or is_absurd(frames, rate, size)):
        flaw = flaw or "its header states an impossible duration"
        frames, damaged = _count(path, layout, known, sound.lengths)
        end_missing |= damaged
    if frames <= 0:
        raise RecordingError(f"{path}: the file has a header but contains no samples. Copy it again, or leave it out.")
    if subtype == "MPEG_LAYER_III":
        with open_binary(path, known) as file:
            end_s = mp3_duration_s(file, size)
            streams = mp3_streams(file) if (end_s or 0.0) > frames / rate + TOLERATED_MP3_LOSS_S else ()
        if len(streams) > 1:
            layout = replace(layout, streams=streams)
            sound, _ = _open_once(path, layout, known, start)
            frames, flaw = sound.frames, f"it contains {len(streams)} recordings one after the other"
    undecodable_s = (end_s or 0.0) - frames / rate
    tolerated_s = TOLERATED_MP3_LOSS_S if subtype == "MPEG_LAYER_III" else TOLERATED_LOSS_S
    tolerated_s *= max(len(layout.streams), 1)
    if needs_pyav and layout.present and not layout.codec:
        flaw = flaw or "its header is damaged"
    note = None
    if flaw:
        note = f"{path}: {RECOVERED}{flaw}; all {frames / rate:.1f} s in the file were read."
    elif layout.note:
        note = f"{path}: {layout.note}; {frames / rate:.1f} s were read."
    return Recording(
        path=path,
        sample_rate=rate,
        channels=channels,
        frames=frames,
        subtype=subtype,
        missing_frames=layout.frames_missing
        or _missing_frames(layout, frames, channels * BYTES_PER_SAMPLE.get(subtype, 0)),
        end_missing=end_missing,
        note=note,
        undecodable_s=undecodable_s if undecodable_s > tolerated_s else 0.0,
        streams=layout.streams,
        stream_lengths=sound.lengths,
        needs_pyav=needs_pyav,
        size=size,
        storage_info=known,
    )


def _read_layout(file: BinaryIO, size: int, start: bytes, whole: bool) -> tuple[Layout, float | None]:
    """Compares the lengths in a header with the bytes; also returns the end time in an OGG file.

    `whole`: all of the file may be read.
    """
    if start.startswith(b"OggS"):
        return read_ogg(file, size, whole)
    layout = read_layout(file) or read_flac(file, size, whole)
    return layout or check_size(file, size), None


def _open_once(path: Path | str, layout: Layout, known: Info | None, start: bytes) -> tuple[Decoder, bool]:
    """Opens a recording and closes it; returns its properties, and whether it needs PyAV."""
    kind = pyav_format(start)
    is_container = start.startswith(CONTAINERS)
    try:
        try:
            with open_libsndfile(path, layout.streams, known) as sound:
                return sound, False
        except DecodeError as error:
            if kind is None and not is_container:
                raise
            unseekable = isinstance(error, UnseekableError)
            try:
                with open_pyav(path, layout.streams[:1], known) as sound:
                    return sound, True
            except ImportError as missing:
                if not kind and not layout.codec and not unseekable:
                    raise error from missing
                raise RecordingError(
                    f"{path}: this is {kind or layout.codec} audio, which needs a package that is not installed. "
                    f"Convert the file to WAV or FLAC, or install the package: {install_extra('formats')}"
                ) from missing
    except StorageError as error:
        raise _storage_failure(error) from error
    except (DecodeError, OSError) as error:
        if kind:
            description = f"this {kind} file cannot be decoded ({error})"
        elif layout.codec:
            description = f"this is {layout.codec} audio, and this codec cannot be read here ({error})"
        else:
            description = _describe_content(start)
        raise RecordingError(f"{path}: {description}. Convert it to WAV or FLAC, or leave it out.") from error


def _count(path: Path | str, layout: Layout, known: Info | None, lengths: tuple[int, ...]) -> tuple[int, bool]:
    """Decodes a recording whose length is unknown. Returns its frames, and whether its data are damaged after them."""
    try:
        with open_libsndfile(path, layout.streams, known, lengths=lengths) as sound:
            return count_frames(sound)
    except StorageError as error:
        raise _storage_failure(error) from error
    except (DecodeError, OSError):
        return 0, True


def open_decoder(recording: Recording, frames: int = 0) -> AbstractContextManager[Decoder]:
    """Opens a recording for reading at its own sample rate. Raises the exceptions of loxo.audio.decoders.

    `frames` is the expected number of frames in one sequence of reads.
    """
    expected_bytes = frames * recording.size // recording.frames
    if recording.needs_pyav:
        return open_pyav(
            recording.path, recording.streams[:1], recording.storage_info, expected_bytes, recording.frames
        )
    return open_libsndfile(
        recording.path, recording.streams, recording.storage_info, expected_bytes, recording.stream_lengths
    )


def _storage_failure(error: StorageError) -> RecordingError:
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
    compare: bool = False,
) -> Stream:
    """Returns the samples [start, stop) of a recording at `sample_rate` as an iterable of blocks. See Stream.

    `channel` counts from 0; the default is the mean of all channels. With `compare`, the channels are compared.
    Raises RecordingError for a channel that does not exist. The recording is opened when the iteration starts.
    """
    if channel is not None and not 0 <= channel < recording.channels:
        raise RecordingError(f"{recording.path}: there is no channel {channel}. Use 0 to {recording.channels - 1}.")
    total = recording.samples_at(sample_rate)
    stop = total if stop is None else min(stop, total)
    check = ChannelCheck(recording.channels, recording.sample_rate) if compare and recording.channels > 1 else None
    return Stream(recording, sample_rate, block_s, min(max(start, 0), stop), stop, channel, check)


class Stream:
    """Blocks of float32 mono samples in [-1, 1], of about `block_s` seconds each, for one iteration.

    The blocks have exactly `stop - start` samples in total. For a whole recording this is `Recording.samples_at`:
    frames x rate / original rate, rounded. The delay of the resampler is removed, so that times do not shift. An
    excerpt is resampled with the samples around it. It equals the same samples of the whole recording, except for
    float rounding.

    After the iteration, `samples` is the number of samples. `zeroed` is the number of frames with samples that are not
    finite, or wild (see WILD_RATIO), and were replaced by zero. `check`, if any, has compared the channels. `fault` is
    a sentence if decoding stopped early, after the last block, else None. The iteration
    raises RecordingError, with `transient` set, if a server no longer answers.
    """

    def __init__(
        self,
        recording: Recording,
        sample_rate: int,
        block_s: float,
        start: int,
        stop: int,
        channel: int | None,
        check: ChannelCheck | None = None,
    ) -> None:
        self.recording, self.sample_rate, self.block_s = recording, sample_rate, block_s
        self.start, self.stop, self.channel, self.check = start, stop, channel, check
        self.samples = 0
        self.zeroed = 0
        self.fault: str | None = None

    def __iter__(self) -> Iterator[Samples]:
        recording = self.recording
        common = math.gcd(recording.sample_rate, self.sample_rate)
        up, down = (
            self.sample_rate // common,
            recording.sample_rate // common,
        )  # `down` frames become `up` samples
        context = 0 if up == down else CONTEXT_SAMPLES
        # Start at a time that is a whole number of samples at both rates.
        cell = max(self.start - context, 0) // up
        first = cell * down
        last = min(-(-(self.stop + context) * down // up), recording.frames)
        skip = self.start - cell * up
        wanted = self.stop - self.start
        if not wanted:
            return
        resampler = None
        if up != down:
            resampler = soxr.ResampleStream(recording.sample_rate, self.sample_rate, 1, dtype="float32", quality="HQ")
        position = first
        for block in self._decode(first, last):
            position += len(block)
            if resampler is not None:
                block = resampler.resample_chunk(block)
            block, skip = block[skip:], max(skip - len(block), 0)
            yield from self._emit(block[: wanted - self.samples])
        if position < last:
            wanted = min(wanted, max(recording.samples_at(self.sample_rate, position) - self.start, 0))
        if resampler is not None:
            rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)[skip:]
            yield from self._emit(rest[: wanted - self.samples])
        yield from self._emit(np.zeros(wanted - self.samples, np.float32))  # only if soxr rounds differently

    def _emit(self, block: Samples) -> Iterator[Samples]:
        if len(block):
            self.samples += len(block)
            yield block

    def _decode(self, first: int, last: int) -> Iterator[Samples]:
        """Yields mono blocks of the frames [first, last) at the original rate; sets `fault` if decoding stops early."""
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
                reason = "the file ends at this time"
                break
            except StorageError as error:
                raise _storage_failure(error) from error
            except (DecodeError, OSError) as error:
                # An error loses the whole block: read it again in small blocks, up to the damaged position.
                reason = str(error.strerror) if isinstance(error, OSError) else "the data are damaged or missing"
                size = RETRY_BLOCK_FRAMES if whole else size
        if position < last:
            rate = self.recording.sample_rate
            self.fault = (
                f"{self.recording.path}: decoding stopped at {position / rate:.1f} s of "
                f"{self.recording.duration_s:.1f} s ({reason}). Copy it again from the card if that copy is complete."
            )

    def _mono(self, frames: NDArray[np.float32]) -> Samples:
        """Converts (frames, channels) to (frames,); infinities, NaN and wild samples become zero."""
        broken = _wild_samples(frames)
        if broken is not None:
            self.zeroed += int(broken.any(axis=1).sum())
            frames[broken] = 0.0
        if self.check is not None:
            self.check.add(frames)
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
    """Reads an excerpt of a recording: float32 mono (samples,) at `sample_rate`; shorter if the recording ends before.

    Raises RecordingError if the recording or the excerpt cannot be read, or starts after the recording's end.
    """
    recording = path if isinstance(path, Recording) else probe(path)
    start = round(start_s * sample_rate)
    stop = None if duration_s is None else start + round(duration_s * sample_rate)
    if not 0 <= start < recording.samples_at(sample_rate):
        raise RecordingError(
            f"{recording.path}: {start_s:g} s does not lie within its {recording.duration_s:g} s. Give another start."
        )
    blocks = stream(recording, sample_rate, start=start, stop=stop, channel=channel)
    samples = list(blocks)
    if blocks.fault:
        raise RecordingError(blocks.fault)
    return np.concatenate(samples) if samples else np.zeros(0, np.float32)


def _wild_samples(frames: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """A mask of the samples that are not finite, or wild (see WILD_RATIO); None if there is none, the usual case."""
    if not len(frames) or (frames.max() <= WILD_RATIO and frames.min() >= -WILD_RATIO):  # False with NaN
        return None
    size = np.abs(frames)
    limits = np.full(frames.shape[1], WILD_RATIO)
    for channel, values in enumerate(size.T):
        values = values[(values > 0) & (values <= MAX_SAMPLE)]
        if len(values):
            limits[channel] = min(WILD_RATIO * max(float(np.percentile(values, 99)), 1.0), MAX_SAMPLE)
    wild: NDArray[np.bool_] = ~(size <= limits)
    return wild if wild.any() else None


def _missing_frames(layout: Layout, frames: int, frame_bytes: int) -> int:
    if not layout.missing:
        return 0
    if frame_bytes:
        return max((layout.present + layout.missing) // frame_bytes - frames, 0)
    return round(layout.missing * frames / max(layout.present, 1))  # compressed: from the mean size of a frame


def _describe_content(start: bytes) -> str:
    """Describes the probable content of a file that is not readable as audio, from its first bytes."""
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return mark("this is a web page, not audio (possibly a failed download)")
    if start.startswith(b"version https://git-lfs"):
        return mark("this is a Git LFS pointer, not the recording itself")
    if not start.strip(b"\0"):
        return mark("the file begins with zeros instead of a header (possibly a failed card)")
    if all(byte >= 32 or byte in b"\t\r\n" for byte in start):
        return mark("this is a text file, not audio")
    return mark("this is not audio in a format that can be read, or its header is damaged")
