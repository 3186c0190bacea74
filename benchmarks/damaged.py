"""Analyses thousands of damaged recordings in one run: no crash, no hang, no silent loss.

    python benchmarks/damaged.py [--files 3000] [--seed 0] [--keep DIR]

Valid recordings of SECONDS in 16 containers are damaged. Some are truncated at any position. Others get flipped header
bits, wrong sizes, wrong or absurd lengths of the sound, other data after it, zeros, random bytes, or missing or
repeated bytes. `survey` analyses all of them in two worker processes with a toy model. The run must report each file
either as complete or as damaged. A complete file must have been analysed completely. A damaged one has the status
truncated or failed, or a note. A worker process that dies, does not respond for more than 10 s, or takes more than
700 MB, is a fault. Six of the containers need PyAV.
"""

from __future__ import annotations

import argparse
import random
import shutil
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import soundfile

from loxo.audio.ogg import checksum as ogg_checksum
from loxo.runs.record import RecordedFile, read_record
from loxo.survey.survey import survey
from toy import ToyModel, write_recording

SECONDS, RATE = 20.0, 8000
HANG_S = 10.0
MAX_MEMORY_MB = 700
FORMATS: dict[str, dict[str, str]] = {  # written with libsndfile
    "pcm16.wav": {"subtype": "PCM_16"},
    "float.wav": {"format": "WAVEX", "subtype": "FLOAT"},
    "long.rf64": {"format": "RF64", "subtype": "PCM_16"},
    "long.w64": {"format": "W64", "subtype": "PCM_16"},
    "apple.aiff": {"format": "AIFF", "subtype": "PCM_16"},
    "apple.caf": {"format": "CAF", "subtype": "PCM_24"},
    "free.flac": {"format": "FLAC"},
    "vorbis.ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus.ogg": {"format": "OGG", "subtype": "OPUS"},
    "layer3.mp3": {"format": "MP3"},
}
CODECS = {  # codec and sample rate, written with PyAV
    "aac.m4a": ("aac", RATE),
    "stream.aac": ("aac", RATE),
    "windows.wma": ("wmav2", 16000),
    "opus.webm": ("libopus", 48000),
    "opus.mka": ("libopus", 48000),
    "pack.wv": ("wavpack", RATE),
}
FRAME_BYTES = {"pcm16.wav": 2, "float.wav": 4, "long.rf64": 2, "long.w64": 2, "apple.aiff": 2, "apple.caf": 3}
HEADER_BYTES = 200
MAX_HEADER_BYTES = 4400  # libsndfile fills the header of a CAF up to 4096 bytes

Damage = Callable[[bytearray, random.Random], None]


def cut_in_header(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(HEADER_BYTES) :]


def cut_anywhere(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(HEADER_BYTES, len(data)) :]


def cut_near_the_end(data: bytearray, rng: random.Random) -> None:
    del data[len(data) - rng.randrange(1, len(data) // 5) :]


def cut_at_the_end(data: bytearray, rng: random.Random) -> None:
    del data[len(data) - rng.randrange(1, 64) :]


def flip_header_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(min(HEADER_BYTES, len(data)))] ^= 1 << rng.randrange(8)


def wrong_sizes(data: bytearray, rng: random.Random) -> None:
    """Replaces a four-byte size somewhere in the header."""
    places = [k for k in range(0, 120, 2) if k != 0]
    value = rng.choice((0, 1, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, len(data) // 3, len(data) * 5))
    struct.pack_into(rng.choice("<>") + "I", data, rng.choice(places), value)


def wrong_lengths(data: bytearray, rng: random.Random) -> None:
    """Replaces the length of the sound by one that is unknown, absurd, too small, or too large."""
    size = len(data)
    numbers = (0, 1, 44, -1, 1 << 62, (1 << 36) - 1, (1 << 63) - 1, size, size - 8, size // 2, size - 100, size * 3)
    value = rng.choice(numbers)
    if data[:4] == b"fLaC":
        fields = struct.unpack_from(">Q", data, 18)[0] >> 36 << 36 | value & (1 << 36) - 1
        struct.pack_into(">Q", data, 18, fields)
    elif data[:4] == b"OggS":
        page = data.rindex(b"OggS")
        struct.pack_into("<Q", data, page + 6, value & (1 << 64) - 1)
        data[page + 22 : page + 26] = bytes(4)
        struct.pack_into("<I", data, page + 22, ogg_checksum(bytes(data[page:])))
    elif data[:4] == b"RF64":
        struct.pack_into("<Q", data, data.index(b"ds64") + 16, value & (1 << 64) - 1)
    elif data[:4] == b"riff":
        struct.pack_into("<Q", data, data.index(b"data") + 16, value & (1 << 64) - 1)
    elif data[:4] == b"caff":
        struct.pack_into(">Q", data, data.index(b"data") + 4, value & (1 << 64) - 1)
    elif data[:4] in (b"RIFF", b"FORM"):
        name, order = (b"data", "<") if data[:4] == b"RIFF" else (b"SSND", ">")
        struct.pack_into(order + "I", data, data.index(name) + 4, value & 0xFFFFFFFF)
    else:
        struct.pack_into(">Q", data, rng.randrange(4, 400), value & (1 << 64) - 1)


def chunks_after(data: bytearray, rng: random.Random) -> None:
    """A wrong length of the sound, and text after it."""
    wrong_lengths(data, rng)
    data += b"LIST" + struct.pack("<I", 12) + b"INFOICMT" + bytes(4)


def twice(data: bytearray, rng: random.Random) -> None:
    data += bytes(data)


def zeros(data: bytearray, rng: random.Random) -> None:
    start_byte = rng.randrange(len(data))
    stop_byte = min(start_byte + rng.choice((16, 512, 4096, 65536)), len(data))
    data[start_byte:stop_byte] = bytes(stop_byte - start_byte)


def random_bytes(data: bytearray, rng: random.Random) -> None:
    start_byte = rng.randrange(len(data))
    stop_byte = min(start_byte + rng.choice((1, 16, 512, 4096)), len(data))
    data[start_byte:stop_byte] = rng.randbytes(stop_byte - start_byte)


def random_content(data: bytearray, rng: random.Random) -> None:
    data[rng.choice((0, 4, 12, 44)) :] = rng.randbytes(rng.randrange(1, 5000))


def missing_bytes(data: bytearray, rng: random.Random) -> None:
    start_byte = rng.randrange(len(data))
    del data[start_byte : start_byte + rng.choice((1, 3, 512, 4096))]


def repeated_bytes(data: bytearray, rng: random.Random) -> None:
    start_byte = rng.randrange(len(data))
    data[start_byte:start_byte] = data[start_byte : start_byte + rng.choice((1, 3, 512, 4096))]


def no_damage(data: bytearray, rng: random.Random) -> None:
    pass


DAMAGES: tuple[Damage, ...] = (
    *(cut_in_header, cut_anywhere, cut_anywhere, cut_at_the_end, flip_header_bits, flip_header_bits, wrong_sizes),
    *(wrong_lengths, wrong_lengths, wrong_lengths, chunks_after, twice, cut_near_the_end),
    *(wrong_sizes, zeros, random_bytes, random_content, missing_bytes, repeated_bytes, no_damage),
)


def encode(path: Path, codec: str, rate: int) -> Path:
    """Writes the same sound as write_recording with one of FFmpeg's encoders."""
    import av

    sound = write_recording(path.with_suffix(".source.wav"), SECONDS, rate, subtype="FLOAT")
    samples, _ = soundfile.read(sound, dtype="float32")
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=rate, layout="mono")
        context = track.codec_context
        context.bit_rate = 32000
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(context.format, "mono", rate, frame_size=context.frame_size or 1024)
        for piece in resampler.resample(frame) + resampler.resample(None):
            container.mux(track.encode(piece))
        container.mux(track.encode(None))
    return path


def make_damaged(folder: Path, files: int, seed: int) -> dict[str, tuple[str, str]]:
    """Writes damaged recordings. Returns the format and the damage of each file name."""
    rng = random.Random(seed)
    valid = {}
    with tempfile.TemporaryDirectory() as folder_name:
        for name, options in FORMATS.items():
            valid[name] = write_recording(Path(folder_name) / name, SECONDS, RATE, **options).read_bytes()
        for name, (codec, rate) in CODECS.items():
            valid[name] = encode(Path(folder_name) / name, codec, rate).read_bytes()
    kinds = list(valid)
    folder.mkdir(parents=True)
    made = {}
    for k in range(files):
        kind = kinds[k % len(kinds)]
        damage = DAMAGES[(k // len(kinds) + k) % len(DAMAGES)]  # every damage meets every kind
        data = bytearray(valid[kind])
        damage(data, rng)
        name = f"{k:05d}_{damage.__name__}_{kind}"
        (folder / name).write_bytes(data)
        made[name] = kind, damage.__name__
    return made


def is_silent_loss(kind: str, size: int, item: RecordedFile) -> bool:
    """Whether a recording has status done and no note, although much of its file was not analysed."""
    if item.status != "done" or item.notes:
        return False
    seconds = item.analysed_s
    if kind in FRAME_BYTES:  # all bytes after the header are samples, at the possibly damaged rate of the header
        rates = {RATE, *(RATE ^ 1 << bit for bit in range(32))}
        return not any(seconds * rate * FRAME_BYTES[kind] >= size - MAX_HEADER_BYTES for rate in rates if rate > 0)
    return seconds < SECONDS - 1.0


class PeakMemory:
    """The largest memory of a process that this one starts, directly or not, in MB, while the block runs."""

    def __enter__(self) -> PeakMemory:
        self.mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            for process in psutil.Process().children(recursive=True):
                with suppress(OSError, IndexError, ValueError):  # the process has ended
                    peak = Path(f"/proc/{process.pid}/status").read_text().partition("VmHWM:")[2].split()
                    self.mb = max(self.mb, int(peak[0]) / 1024)


def analyse_damaged(folder: Path, files: int, seed: int) -> Counter[str]:
    """Makes, analyses and judges; how many ended how. SystemExit where something is not as it must be."""
    made = make_damaged(folder / "damaged", files, seed)
    with PeakMemory() as memory:
        survey([folder / "damaged"], "toy", folder / "run", load=ToyModel, workers=2, patience_minutes=HANG_S / 60)
    faults, outcomes = [], Counter[str]()
    print(f"largest memory of a process: {memory.mb:.0f} MB")
    if memory.mb > MAX_MEMORY_MB:
        faults.append(f"a process took {memory.mb:.0f} MB, more than {MAX_MEMORY_MB} MB")
    for item in read_record(folder / "run").recordings:
        path = Path(item.recording)
        kind, damage = made.pop(path.name)
        outcomes[item.status if not item.notes or item.status != "done" else "done, with a note"] += 1
        message = " ".join([item.reason or "", *item.notes])
        if "worker process" in message:
            faults.append(f"{path.name}: {message}")
        elif "the analysis failed with" in message:
            faults.append(f"{path.name}: unexpected error: {message}")
        elif is_silent_loss(kind, path.stat().st_size, item):
            faults.append(f"{path.name}: silent loss ({item.analysed_s} s of {path.stat().st_size} bytes)")
        elif damage == "no_damage" and (item.status != "done" or message):
            faults.append(f"{path.name}: an undamaged recording was reported as damaged: {message}")
    faults += [f"{name}: the recording is missing in run.json" for name in made]
    if faults:
        raise SystemExit(f"{len(faults)} faults:\n" + "\n".join(faults[:40]))
    print(f"in run.json: {read_record(folder / 'run').counts}")
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="an empty folder for the files and the run")
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp())
    start = time.monotonic()
    try:
        outcomes = analyse_damaged(folder, args.files, args.seed)
    finally:
        if args.keep is None:
            shutil.rmtree(folder)
    elapsed_s = time.monotonic() - start
    print(f"{args.files} damaged recordings in {elapsed_s:.0f} s: {dict(outcomes)}; no crash, no hang, no silent loss")


if __name__ == "__main__":
    main()
