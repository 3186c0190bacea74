"""Cuts an excerpt out of a recording, as it was recorded: all channels, the same sample rate, the same samples."""

from __future__ import annotations

from pathlib import Path

import soundfile

from loxo.audio.decoders import DecodeError
from loxo.audio.recording import Recording, RecordingError, open_decoder
from loxo.errors import LoxoError
from loxo.files import atomic_path

BLOCK_FRAMES = 1 << 20
# Of a recording -> of its excerpt. FLAC and WAV have no common type of 8 bits, so these become 16.
SUBTYPES = {
    **{"PCM_U8": "PCM_16", "PCM_S8": "PCM_16", "PCM_16": "PCM_16", "PCM_24": "PCM_24"},
    **{"PCM_32": "PCM_32", "FLOAT": "FLOAT", "DOUBLE": "DOUBLE"},
}


def cut(recording: Recording, first: int, frames: int, path: Path) -> None:
    """Writes all channels of `frames` frames from `first` on to a WAV or FLAC file, without loss.

    A lossy or unusual recording is decoded to 16 bits. FLAC holds integers of at most 24 bits.
    Raises RecordingError if the frames cannot be decoded, and LoxoError if the file cannot be written.
    """
    subtype = SUBTYPES.get(recording.subtype, "PCM_16")
    if path.suffix == ".flac" and subtype not in ("PCM_16", "PCM_24"):
        subtype = "PCM_16"
    dtype = {"PCM_16": "int16", "FLOAT": "float32", "DOUBLE": "float64"}.get(subtype, "int32")
    position = first
    try:
        with (
            atomic_path(path) as draft,
            open_decoder(recording, frames) as sound,
            soundfile.SoundFile(
                draft, "w", recording.sample_rate, recording.channels, subtype, format=path.suffix[1:].upper()
            ) as file,
        ):
            sound.seek(first)
            while position < first + frames:
                block = sound.read(min(BLOCK_FRAMES, first + frames - position), dtype)
                if not len(block):
                    raise DecodeError("the recording ends before this time")
                position += len(block)
                file.write(block)
    except DecodeError as error:
        raise RecordingError(
            f"{recording.path}: decoding stopped at {position / recording.sample_rate:.1f} s ({error}). "
            "Try again, or leave the recording out."
        ) from error
    except soundfile.LibsndfileError as error:  # from writing: errors of the decoder are DecodeError
        raise LoxoError(f"{path.parent}: the disk is full. Free some space; the same command then resumes.") from error
