"""Sources of live sound: a pipe of raw samples, a microphone, a stream on the network.

A source is opened, gives blocks of 16-bit samples of one channel, and ends or fails. `Reader` reads it in a thread of
its own and opens it again when it has ended: a device may be unplugged and come back.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from loxo.errors import LoxoError
from loxo.installation import install_extra

BLOCK_S = 0.25
QUEUE_S = 120.0  # of sound that waits when the computer is slow
FIRST_WAIT_S, MAX_WAIT_S = 1.0, 60.0  # before a source is opened again
FORMATS = {"S16_LE": "<i2", "S16_BE": ">i2", "S32_LE": "<i4", "FLOAT_LE": "<f4", "U8": "u1", "S8": "i1"}

Block = NDArray[np.int16]


class SourceError(LoxoError):
    """A source cannot be opened, or has failed."""


class Source(Protocol):
    """`blocks` opens the source and yields its samples until it ends. Raises SourceError."""

    rate: int  # Hz; of a stream on the network, known after it was opened

    @property
    def again(self) -> bool:
        """Whether it is opened again after its end."""
        ...

    def blocks(self) -> Iterator[Block]: ...


@dataclass
class Pipe:
    """Raw samples, as `arecord -t raw` writes them: the standard input ("-"), or a named pipe, which is reopened."""

    path: str
    rate: int
    format: str = "S16_LE"
    channels: int = 1
    channel: int = 1

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise LoxoError(f"There is no sample format {self.format!r}. Use one of {', '.join(FORMATS)}.")
        if self.rate <= 0 or not 1 <= self.channel <= self.channels:
            raise LoxoError("The rate must be above 0, and the channel one of the channels.")

    @property
    def again(self) -> bool:
        return self.path != "-" and not Path(self.path).is_file()

    def blocks(self) -> Iterator[Block]:
        try:
            with sys.stdin.buffer if self.path == "-" else Path(self.path).open("rb", buffering=0) as file:
                yield from self._read(file)
        except OSError as error:
            raise SourceError(f"{self.path}: the pipe cannot be read ({error.strerror or error}).") from error

    def _read(self, file: BinaryIO | Any) -> Iterator[Block]:
        kind = np.dtype(FORMATS[self.format])
        frame = kind.itemsize * self.channels
        wanted, rest = max(round(BLOCK_S * self.rate), 1) * frame, b""
        read = file.read1 if hasattr(file, "read1") else file.read
        while data := read(wanted - len(rest)):
            data = rest + data
            whole = len(data) // frame * frame
            rest = data[whole:]
            if whole:
                frames = np.frombuffer(data[:whole], kind).reshape(-1, self.channels)
                yield _int16(frames[:, self.channel - 1])


def _int16(samples: NDArray[Any]) -> Block:
    """The samples with 16 bits."""
    if samples.dtype.kind == "f":
        return np.clip(np.rint(np.nan_to_num(samples) * 32768), -32768, 32767).astype(np.int16)
    if samples.dtype.kind == "u":
        return ((samples.astype(np.int16) - 128) << 8).astype(np.int16)
    if samples.dtype.itemsize == 1:
        return samples.astype(np.int16) << 8
    return (samples >> 16 if samples.dtype.itemsize == 4 else samples).astype(np.int16)


@dataclass
class Microphone:
    """A microphone, by its name or number in sounddevice."""

    device: str | None
    rate: int
    again: bool = True

    def blocks(self) -> Iterator[Block]:
        try:
            import sounddevice
        except (ImportError, OSError) as error:  # OSError: PortAudio is missing
            raise LoxoError(
                f"A microphone needs sounddevice and PortAudio ({error}). Install PortAudio (on Debian: apt install "
                f"libportaudio2) and the package: {install_extra('live')} (or use `arecord -f S16_LE -r 4000 -t raw | "
                "loxo listen -`, which needs neither)."
            ) from error
        received: queue.Queue[bytes | None] = queue.Queue(round(QUEUE_S / BLOCK_S))
        lost = threading.Event()

        def callback(data: Any, frames: int, when: Any, status: Any) -> None:
            if (status and status.input_overflow) or received.full():
                lost.set()
            else:
                received.put_nowait(bytes(data))

        device: Any = int(self.device) if self.device and self.device.isdigit() else self.device
        try:
            with sounddevice.RawInputStream(
                samplerate=self.rate,
                blocksize=round(BLOCK_S * self.rate),
                device=device,
                channels=1,
                dtype="int16",
                callback=callback,
                finished_callback=lambda: received.put(None),
            ):
                while (data := received.get(timeout=10 * BLOCK_S + 5)) is not None:
                    if lost.is_set():
                        raise SourceError("The microphone has lost samples, because the computer was busy.")
                    yield np.frombuffer(data, np.int16)
        except queue.Empty:
            raise SourceError("The microphone gives no samples any more. Is it connected?") from None
        except sounddevice.PortAudioError as error:
            raise SourceError(f"The microphone cannot be used ({error}). Is it connected?") from error


@dataclass
class NetworkStream:
    """An HTTP or RTSP stream, decoded by PyAV."""

    url: str
    rate: int = 0
    again: bool = True

    def blocks(self) -> Iterator[Block]:
        try:
            import av
        except ImportError as error:
            raise LoxoError(f"A stream on the network needs PyAV. Install it: {install_extra('formats')}") from error
        options = {"rtsp_transport": "tcp"} if self.url.startswith("rtsp") else {}
        try:
            with av.open(self.url, options=options, timeout=(20.0, 20.0)) as container:
                if not container.streams.audio:
                    raise SourceError("The stream contains no sound.")
                stream = container.streams.audio[0]
                self.rate = self.rate or int(stream.rate)
                resampler = av.AudioResampler(format="s16", layout="mono", rate=self.rate)
                for frame in container.decode(stream):
                    for part in resampler.resample(frame):
                        yield part.to_ndarray().reshape(-1).astype(np.int16, copy=False)
        except (av.error.FFmpegError, OSError) as error:  # its text may contain the address with a password
            raise SourceError(f"The stream cannot be read ({type(error).__name__}).") from None


@dataclass(frozen=True)
class Gap:
    """Sound is missing here."""

    reason: str


@dataclass(frozen=True)
class End:
    """The source has ended and is not opened again."""

    error: LoxoError | None = None


class Reader(threading.Thread):
    """Reads a source in a thread. `received` contains (monotonic time, samples or Gap or End)."""

    def __init__(self, source: Source) -> None:
        super().__init__(daemon=True, name="source")
        self.source = source
        self.received: queue.Queue[tuple[float, Block | Gap | End]] = queue.Queue(round(QUEUE_S / BLOCK_S))
        self.start()

    def run(self) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            reason = "the source has ended"
            try:
                for block in self.source.blocks():
                    wait_s = FIRST_WAIT_S
                    self.received.put((time.monotonic(), block))  # waits while the computer is slow
            except SourceError as error:
                if not self.source.again:
                    return self._end(error)
                reason = str(error)
            except LoxoError as error:
                return self._end(error)
            except Exception as error:  # of a library, in a thread: the command must not wait for ever
                return self._end(SourceError(f"The source failed with {type(error).__name__}."))
            if not self.source.again:
                return self._end(None)
            self.received.put((time.monotonic(), Gap(reason)))
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, MAX_WAIT_S)

    def _end(self, error: LoxoError | None) -> None:
        self.received.put((time.monotonic(), End(error)))


def open_source(address: str, rate: int, format: str, channels: int, channel: int) -> Source:
    """The source of an address: "-", a named pipe, "mic", "mic:NAME" or a URL. Raises LoxoError for anything else."""
    if address == "mic" or address.startswith("mic:"):
        return Microphone(address[4:] or None, rate)
    if address.startswith(("http://", "https://", "rtsp://", "rtsps://")):
        return NetworkStream(address)
    if address != "-" and not Path(address).exists():
        raise LoxoError(f"{address}: there is no such pipe. Give -, a named pipe, mic, mic:NAME, or an address.")
    return Pipe(address, rate, format, channels, channel)
