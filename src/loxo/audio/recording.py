"""Opening, streaming and resampling recordings of any length in constant memory, and finding them on a disk.

A recording is probed first: its header is read, no sample is. `stream` then gives blocks of float32 mono samples at
the rate a model wants, `read` one stretch of them. Sample k of the result always stands at k / sample_rate seconds
from the start of the recording, wherever reading began.

Failure policy: what cannot be opened raises RecordingError, one sentence with the file, the fault and the way out. What
breaks off in the middle gives all that could be decoded, and the fault stays with the stream (`Stream.fault`) or the
recording (`Recording.fault`), so that the caller can mark the recording as truncated.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from loxo.audio.headers import DataChunk, UnknownLengthFile, lacks_last_page, read_data_chunk
from loxo.errors import LoxoError

WAVE_SUFFIXES = (".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".caf")
COMPRESSED_SUFFIXES = (".flac", ".ogg", ".oga", ".opus", ".mp3")
SUFFIXES = WAVE_SUFFIXES + COMPRESSED_SUFFIXES
BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}
BLOCK_S = 30.0
CONTEXT_SAMPLES = 1024  # output samples on either side that the resampling filter can reach
RESCUE_FRAMES = 256  # a block that cannot be decoded whole is read again in pieces of this length

Samples = NDArray[np.float32]


class RecordingError(LoxoError):
    """A recording cannot be read. The message is one whole sentence with its name, the fault and the way out."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording as its header describes it. Times in seconds, frames are samples of one channel."""

    path: Path
    sample_rate: int
    channels: int
    frames: int  # what can be read
    subtype: str  # libsndfile's name of the sample format, such as PCM_16
    missing_frames: int = 0  # promised by the header, not in the file
    unfinished: bool = False  # cut off, without a word about how much is missing
    note: str | None = None  # something odd that loses nothing, one sentence
    length_field: int | None = None  # byte offset of a WAV's length that must not be believed

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate

    @property
    def fault(self) -> str | None:
        """One sentence when the file is shorter than its header says."""
        again = "Copy it again from the card if there is a longer one."
        if self.unfinished:
            return f"{self.path}: the file is cut off after {self.duration_s:.1f} s: its last page is missing. {again}"
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
    path = Path(path)
    try:
        if path.is_dir():
            raise RecordingError(f"{path}: this is a folder, not a recording.")
        size = path.stat().st_size
        chunk = read_data_chunk(path)
        unfinished = lacks_last_page(path)
    except OSError as error:
        raise RecordingError(f"{path}: the file cannot be opened ({error.strerror or error}).") from error
    if not size:
        raise RecordingError(f"{path}: the file is empty (0 bytes). Copy it again from the card.")
    length_field = chunk.length_field if chunk else None
    try:
        with _open(path, length_field) as file:
            rate, channels, frames, subtype = file.samplerate, file.channels, file.frames, file.subtype
    except (soundfile.LibsndfileError, OSError) as error:
        raise RecordingError(f"{path}: {_what_it_is(path)}. Convert it to WAV or FLAC, or leave it out.") from error
    if frames <= 0:
        raise RecordingError(f"{path}: the file has a header but holds no samples. Copy it again, or leave it out.")
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
        unfinished=unfinished,
        note=note,
        length_field=length_field,
    )


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
    `fault` is a sentence if decoding stopped early (the blocks end there), else None.
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
                with _open(self.recording.path, self.recording.length_field) as file:
                    file.seek(position)
                    while position < last:
                        frames = file.read(min(size, last - position), dtype="float32", always_2d=True)
                        if not len(frames):
                            break
                        position += len(frames)
                        yield self._mono(frames)
                reason = "the file ends there"
                break
            except (soundfile.LibsndfileError, OSError) as error:
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


def find_recordings(paths: Iterable[str | Path]) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The recordings in files and folders, sorted, each once, and the problems as (path, sentence).

    Folders are searched with all their subfolders for the suffixes in SUFFIXES, in capitals or not; hidden files and
    folders are passed over, and with them macOS's `._*`. A file given by name is taken whatever it is called.
    """
    found: dict[str, Path] = {}
    problems: list[tuple[Path, str]] = []

    for path in map(Path, paths):
        if path.is_dir():
            files = []
            for folder, folders, names in os.walk(path, onerror=lambda e: problems.append(_unreadable(e))):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                files += [
                    Path(folder, name) for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES)
                ]
            if not files:
                problems.append((path, f"{path}: the folder holds no recordings ({', '.join(SUFFIXES)})."))
            for file in files:
                found.setdefault(os.path.abspath(file), file)  # noqa: PTH100 (links are not followed)
        elif path.exists():
            found.setdefault(os.path.abspath(path), path)  # noqa: PTH100
        else:
            problems.append((path, f"{path}: there is no such file or folder."))
    return sorted(found.values()), problems


def _unreadable(error: OSError) -> tuple[Path, str]:
    return Path(error.filename), f"{error.filename}: the folder cannot be read ({error.strerror})."


@contextmanager
def _open(path: Path, length_field: int | None) -> Iterator[soundfile.SoundFile]:
    if length_field is None:
        with soundfile.SoundFile(path) as file:
            yield file
    else:
        with UnknownLengthFile(path, length_field) as raw, soundfile.SoundFile(raw) as file:
            yield file


def _missing_frames(chunk: DataChunk | None, frames: int, frame_bytes: int) -> int:
    if chunk is None or not chunk.missing or chunk.promised is None:
        return 0
    if frame_bytes:
        return max(chunk.promised // frame_bytes - frames, 0)
    return round(chunk.missing * frames / max(chunk.present, 1))  # compressed: by the mean size of a frame


def _what_it_is(path: Path) -> str:
    """In words, what a file that is no readable audio seems to be."""
    with path.open("rb") as file:
        start = file.read(512)
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
