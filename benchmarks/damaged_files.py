"""Analyses thousands of damaged recordings in one run: no crash, no hang, no silent loss.

    python benchmarks/damaged_files.py [--files 2000] [--seed 0] [--keep DIR]

Valid recordings of SECONDS in all formats are damaged. Some are truncated at any position. Others get flipped header
bits, wrong sizes, zeros, random bytes, or missing or repeated bytes. `survey` analyses all of them in two worker
processes with a toy model. The run must report each file either as complete or as damaged. A complete file must have
been analysed completely. A damaged one has the status truncated or failed, or a note. A worker process that dies, or
does not respond for more than 10 s, is a fault.
"""

from __future__ import annotations

import argparse
import random
import shutil
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from loxo.runs.record import RecordedFile, read_record
from loxo.survey.survey import survey
from toy import ToyModel, write_recording

SECONDS, RATE = 20.0, 8000
HANG_S = 10.0
FORMATS: dict[str, dict[str, str]] = {
    "pcm16.wav": {"subtype": "PCM_16"},
    "pcm24.wav": {"subtype": "PCM_24"},
    "float.wav": {"subtype": "FLOAT"},
    "long.rf64": {"format": "RF64", "subtype": "PCM_16"},
    "long.w64": {"format": "W64", "subtype": "PCM_16"},
    "apple.aiff": {"format": "AIFF", "subtype": "PCM_16"},
    "free.flac": {"format": "FLAC"},
    "vorbis.ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus.ogg": {"format": "OGG", "subtype": "OPUS"},
    "layer3.mp3": {"format": "MP3"},
}
FRAME_BYTES = {"pcm16.wav": 2, "pcm24.wav": 3, "float.wav": 4, "long.rf64": 2, "long.w64": 2, "apple.aiff": 2}
HEADER_BYTES = 200

Damage = Callable[[bytearray, random.Random], None]


def cut_in_header(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(HEADER_BYTES) :]


def cut_anywhere(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(HEADER_BYTES, len(data)) :]


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
    *(wrong_sizes, zeros, random_bytes, random_content, missing_bytes, repeated_bytes, no_damage),
)


def make_damaged(folder: Path, files: int, seed: int) -> dict[str, tuple[str, str]]:
    """Writes damaged recordings. Returns the format and the damage of each file name."""
    rng = random.Random(seed)
    valid = {}
    with tempfile.TemporaryDirectory() as folder_name:
        for name, options in FORMATS.items():
            valid[name] = write_recording(Path(folder_name) / name, SECONDS, RATE, **options).read_bytes()
    folder.mkdir(parents=True)
    made = {}
    for k in range(files):
        kind = list(FORMATS)[k % len(FORMATS)]
        damage = DAMAGES[k // len(FORMATS) % len(DAMAGES)]
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
        return not any(seconds * rate * FRAME_BYTES[kind] >= size - 1024 for rate in rates if rate > 0)
    return seconds < SECONDS - 1.0


def analyse_damaged(folder: Path, files: int, seed: int) -> Counter[str]:
    """Makes, analyses and judges; how many ended how. SystemExit where something is not as it must be."""
    made = make_damaged(folder / "damaged", files, seed)
    survey([folder / "damaged"], "toy", folder / "run", load=ToyModel, workers=2, patience_minutes=HANG_S / 60)
    faults, outcomes = [], Counter[str]()
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
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
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
