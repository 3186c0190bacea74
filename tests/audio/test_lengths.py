"""Lengths in headers that are wrong, unknown or absurd, in every container."""

import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loxo.audio.headers import RECOVERED
from loxo.audio.ogg import checksum
from loxo.audio.recording import Recording, RecordingError, probe, read, stream
from loxo.audio.sizes import check_size
from loxo.detection.shards import Grid

RATE = 8000
SECONDS = 6
LIST = b"LIST" + struct.pack("<I", 12) + b"INFOICMT" + bytes(4)


def noise(seconds: float = SECONDS, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


def write(path: Path, samples: np.ndarray, **options: str) -> bytes:
    with soundfile.SoundFile(path, "w", RATE, 1, **options) as file:
        for start in range(0, len(samples), RATE):  # libsndfile's Vorbis encoder crashes on long blocks
            file.write(samples[start : start + RATE])
    return path.read_bytes()


def check_whole(path: Path, samples: np.ndarray, note: str | None = RECOVERED, atol: float = 1e-4) -> Recording:
    """The recording has these samples, in excerpts too, no fault, and a note that contains `note`."""
    recording = probe(path)
    blocks = stream(recording, RATE)
    given = np.concatenate(list(blocks))
    assert recording.fault is None and blocks.fault is None
    assert (recording.note is None) if note is None else (note in (recording.note or ""))
    assert recording.frames == len(given) == len(samples)
    np.testing.assert_allclose(given, samples, atol=atol)
    first = len(samples) // 2
    np.testing.assert_allclose(read(recording, RATE, first / RATE, 0.5), samples[first : first + 4000], atol=atol)
    return recording


CASES = {  # name, seconds, part of the note
    "data-length-44.wav": (20, RECOVERED),
    "total-half.flac": (20, RECOVERED),
    "unknown-total.flac": (20, "does not state the duration"),
    "length-44-too-long.wav": (20, "44 bytes more"),
    "rf64-zero.wav": (20, "does not state the duration"),
    "pipe.caf": (20, "does not state the duration"),
    "pipe.w64": (20, "does not state the duration"),
    "odd-list-no-pad.wav": (20, "padding byte"),
}


@pytest.mark.parametrize("name", CASES)
def test_cases_are_read_whole(shared, name):
    seconds, note = CASES[name]
    recording = probe(shared / "cases" / "recordings" / name)
    blocks = stream(recording, 4000)
    assert sum(map(len, blocks)) == seconds * 4000 and blocks.fault is None and recording.fault is None
    assert note in recording.note


def test_a_wav_with_a_wrapped_length_is_read_whole(shared, tmp_path):
    subprocess.run([sys.executable, shared / "cases" / "recordings" / "make_wrapped.py"], cwd=tmp_path, check=True)
    (path,) = tmp_path.glob("*.wav")
    recording = probe(path)
    assert recording.duration_s == pytest.approx(12.4 * 3600, rel=0.01) and RECOVERED in recording.note
    assert len(read(recording, 48000, recording.duration_s - 1, 1.0)) == 48000


@pytest.mark.parametrize("tail", [b"", LIST])
@pytest.mark.parametrize("kind", ["WAV", "AIFF"])
def test_the_end_of_a_wrapped_length_may_be_followed_by_chunks(tmp_path, kind, tail):
    path = tmp_path / "a"
    data = write(path, noise(1), format=kind, subtype="PCM_16")
    name, order, extra = (b"data", "<", 0) if kind == "WAV" else (b"SSND", ">", 8)
    place = data.index(name) + 4
    count = (1 << 32) + 2 * 12345
    end = np.arange(1, 1001, dtype=order + "i2")
    with path.open("wb") as file:  # sparse
        file.write(data[:place] + struct.pack(order + "I", (count + extra) & 0xFFFFFFFF))
        file.write(bytes(extra))
        start = file.tell()
        file.seek(start + count - end.nbytes)
        file.write(end.tobytes() + (tail if kind == "WAV" or not tail else b"ANNO" + struct.pack(">I", 4) + b"abcd"))
    recording = probe(path)
    assert recording.frames == count // 2 and "32 bits" in recording.note and recording.fault is None
    np.testing.assert_allclose(
        read(recording, RATE, (recording.frames - 1000) / RATE, 1.0) * 32768, np.arange(1, 1001), atol=1e-3
    )


def find_length(data: bytes, kind: str) -> tuple[int, str]:
    """Position and struct format of the length of the sound."""
    if kind == "AIFF":
        return data.index(b"SSND") + 4, ">I"
    if kind == "CAF":
        return data.index(b"data") + 4, ">Q"
    if kind == "RF64" and data[:4] == b"RF64":
        return data.index(b"ds64") + 16, "<Q"
    return (data.index(b"data") + 16, "<Q") if kind == "W64" else (data.index(b"data") + 4, "<I")


def set_length(path: Path, kind: str, length: int, tail: bytes = b"") -> None:
    data = bytearray(path.read_bytes())
    place, form = find_length(data, kind)
    struct.pack_into(form, data, place, length & (0xFFFFFFFF if form[-1] == "I" else 0xFFFFFFFFFFFFFFFF))
    path.write_bytes(data + tail)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF"])
def test_a_wrong_length_in_a_chunk_is_ignored(tmp_path, kind, subtype):
    path = tmp_path / "a"
    try:
        data = write(path, noise(), format=kind, subtype=subtype)
    except soundfile.LibsndfileError:
        pytest.skip("libsndfile writes no such file")
    atol = {"ULAW": 0.02}.get(subtype, 1e-4)
    check_whole(path, noise(), None, atol)
    long = find_length(data, kind)[1][-1] == "Q"
    for length in (0, 1, 44, -1, len(data) // 3, *((1 << 62, 1 << 63) if long else (0x7FFFFFFF, 0x80000000))):
        path.write_bytes(data)
        set_length(path, kind, length)
        check_whole(path, noise(), RECOVERED, atol)


@pytest.mark.parametrize("kind", ["WAV", "W64", "AIFF", "CAF"])
@pytest.mark.parametrize("length", [0, 44, -1, None])
def test_chunks_after_the_sound_are_not_read_as_sound(tmp_path, kind, length):
    path = tmp_path / "a"
    data = write(path, noise(), format=kind, subtype="PCM_16")
    text = b"information 1234"
    tails = {
        "WAV": LIST + b"JUNK" + struct.pack("<I", 16) + text,
        "AIFF": b"ANNO" + struct.pack(">I", 16) + text,
        "CAF": b"info" + struct.pack(">q", 16) + text,
        "W64": b"junk\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a" + struct.pack("<q", 40) + text,
    }
    path.write_bytes(data + bytes(-len(data) % 8 if kind == "W64" else 0) + tails[kind])
    if length is None:
        check_whole(path, noise(), None)
        return
    set_length(path, kind, length)
    check_whole(path, noise())


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AIFF", "CAF"])
@pytest.mark.parametrize(
    ("lost", "fault", "note"), [(2, False, None), (44, False, "44 bytes more"), (8000, True, None)]
)
def test_up_to_one_frame_may_be_missing(tmp_path, kind, lost, fault, note):
    path = tmp_path / "a"
    data = write(path, noise(), format=kind, subtype="PCM_16")
    path.write_bytes(data[:-lost])
    recording = probe(path)
    assert recording.frames == len(noise()) - lost // 2
    assert (recording.fault is not None) == fault and (recording.missing_frames == 4000) == fault
    assert (note is None and recording.note is None) or note in recording.note
    assert len(np.concatenate(list(stream(recording, RATE)))) == recording.frames


def test_a_damaged_length_before_the_sound_does_not_hide_it(tmp_path):
    path = tmp_path / "a.wav"
    data = write(path, noise(), format="WAV", subtype="PCM_16")
    for length in (0, 5, 1000, 0xFFFFFFFF):
        place = data.index(b"data")
        path.write_bytes(data[:place] + b"LIST" + struct.pack("<I", length) + b"INFOICMT" + bytes(4) + data[place:])
        check_whole(path, noise())


def test_zeros_after_a_header_end_the_search_at_once(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(write(path, noise(1), subtype="PCM_16")[:36] + bytes(1 << 20))
    with pytest.raises(RecordingError):
        probe(path)


def test_an_adpcm_wav_without_length_is_read(tmp_path):
    path = tmp_path / "a.wav"
    write(path, noise(), format="WAV", subtype="MS_ADPCM")
    whole = read(path, RATE)
    set_length(path, "WAV", 0)
    check_whole(path, whole)


# -- FLAC


def set_total(data: bytes, total: int) -> bytes:
    fields = struct.unpack(">Q", data[18:26])[0] >> 36 << 36 | total
    return data[:18] + struct.pack(">Q", fields) + data[26:]


@pytest.mark.parametrize("total", [0, 1, 24000, 47999, (1 << 36) - 1, 1 << 35])
def test_a_flac_is_read_to_its_end(tmp_path, total):
    path = tmp_path / "a.flac"
    path.write_bytes(set_total(write(path, noise()), total))
    check_whole(path, noise())


@pytest.mark.parametrize("samples", [1, 4096, 4097, 45_000])
def test_a_flac_that_ends_in_silence_is_whole(tmp_path, samples):
    """The last frame of silence has less than 16 bytes."""
    path = tmp_path / "a.flac"
    for start in (0, samples // 2):
        sound = noise()[:samples] * (np.arange(samples) < start)
        write(path, sound)
        check_whole(path, sound, None)


def test_a_flac_that_is_cut_off_or_followed_by_a_tag(tmp_path):
    path = tmp_path / "a.flac"
    data = write(path, noise())
    path.write_bytes(set_total(data, 0)[: len(data) // 2])
    recording = probe(path)
    assert 18000 < recording.frames < 30000 and "cut off" in recording.fault
    assert len(read_all(recording)) == recording.frames
    path.write_bytes(data + b"TAG" + bytes(125))
    check_whole(path, noise(), None)
    path.write_bytes(set_total(data, 0) + b"TAG" + bytes(125))
    check_whole(path, noise())


def read_all(recording: Recording) -> np.ndarray:
    return np.concatenate(list(stream(recording, recording.sample_rate)))


@pytest.mark.parametrize("kind", ["FLAC", "VORBIS", "OPUS", "MP3"])
def test_several_streams_in_one_file_are_one_recording(tmp_path, kind):
    path = tmp_path / "a"
    options = {"format": kind} if kind in ("FLAC", "MP3") else {"format": "OGG", "subtype": kind}
    seconds = (3, 5, 3)
    parts = [write(path, noise(s, seed=1), **options) for s in seconds]
    single = []
    for part in parts:
        path.write_bytes(part)
        single.append(read(path, RATE))
    path.write_bytes(b"".join(parts))
    check_whole(path, np.concatenate(single), "3 recordings", atol=1e-4 if kind == "FLAC" else 0.05)


# -- OGG


def set_granule(data: bytes, granule: int) -> bytes:
    page = bytearray(data[data.rindex(b"OggS") :])
    struct.pack_into("<q", page, 6, granule)
    page[22:26] = bytes(4)
    struct.pack_into("<I", page, 22, checksum(bytes(page)))
    return data[: -len(page)] + bytes(page)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("granule", [-1, 0, 1, 20000, 1 << 62])
def test_an_ogg_with_a_wrong_end_time_is_read_to_its_end(tmp_path, subtype, granule):
    path = tmp_path / "a.ogg"
    data = write(path, noise(), format="OGG", subtype=subtype)
    path.write_bytes(set_granule(data, granule))
    recording = probe(path)
    assert SECONDS - 0.01 < recording.duration_s < SECONDS + 0.3 and RECOVERED in recording.note
    assert recording.fault is None and len(read_all(recording)) == recording.frames
    assert len(read(recording, RATE, 4, 1)) == RATE


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_part_of_a_live_ogg_stream_loses_nothing(tmp_path, subtype):
    """Its times do not start at zero."""
    path = tmp_path / "a.ogg"
    data = bytearray(write(path, noise(), format="OGG", subtype=subtype))
    place = 0
    while (place := data.find(b"OggS", place)) >= 0:
        end = data.find(b"OggS", place + 4)
        end = len(data) if end < 0 else end
        (granule,) = struct.unpack_from("<q", data, place + 6)
        if granule > 0:
            struct.pack_into("<q", data, place + 6, granule + 48000 * 3600)
            data[place + 22 : place + 26] = bytes(4)
            struct.pack_into("<I", data, place + 22, checksum(bytes(data[place:end])))
        place = end
    path.write_bytes(data)
    recording = probe(path)
    assert recording.duration_s == pytest.approx(SECONDS, abs=0.01) and recording.fault is recording.note is None


# -- formats that libsndfile cannot read


def test_gsm_is_read_with_pyav(shared):
    pytest.importorskip("av")
    recording = probe(shared / "cases" / "recordings" / "gsm.wav")
    assert recording.needs_pyav and recording.duration_s == 20 and recording.fault is None
    whole = read_all(recording)
    assert len(whole) == 160000
    np.testing.assert_array_equal(read(recording, RATE, 12.3, 1), whole[98400:106400])


@pytest.mark.parametrize("length", [0, -1, 65])
def test_gsm_with_a_wrong_length_is_read_with_pyav(tmp_path, length):
    pytest.importorskip("av")
    path = tmp_path / "a.wav"
    write(path, noise(), format="WAV", subtype="GSM610")
    whole = read_all(probe(path))
    set_length(path, "WAV", length)
    recording = probe(path)
    assert RECOVERED in recording.note and recording.fault is None
    np.testing.assert_array_equal(read_all(recording), whole)


def test_without_pyav_a_codec_that_cannot_be_read_is_not_called_damaged(tmp_path, without_pyav):
    path = tmp_path / "a.wav"
    write(path, noise(), format="WAV", subtype="GSM610")
    without_pyav()
    with pytest.raises(RecordingError, match=r"GSM 6\.10 audio.*pip install .*\[formats\]") as caught:
        probe(path)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.mka", "a.webm", "a.wma", "a.mp4"])
def test_a_file_that_is_cut_off_near_its_end_has_a_fault(tmp_path, name):
    av = pytest.importorskip("av")
    path = tmp_path / name
    codec = {"a.webm": "libopus", "a.wma": "wmav2", "a.mp4": "aac", "a.mka": "libopus"}[name]
    options = {"movflags": "faststart"} if name == "a.mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        track = container.add_stream(codec, rate=48000, layout="mono")
        context = track.codec_context
        context.bit_rate = 64000
        frame = av.AudioFrame.from_ndarray(np.repeat(noise(30), 6)[None], format="fltp", layout="mono")
        frame.sample_rate = 48000
        resampler = av.AudioResampler(context.format, "mono", 48000, frame_size=context.frame_size or 1024)
        for piece in resampler.resample(frame) + resampler.resample(None):
            container.mux(track.encode(piece))
        container.mux(track.encode(None))
    data = path.read_bytes()
    assert probe(path).fault is None
    for kept in (0.9, 0.97, 0.995):
        path.write_bytes(data[: int(len(data) * kept)])
        recording = probe(path)
        blocks = stream(recording, 4000)
        list(blocks)
        assert recording.fault or blocks.fault


def test_bytes_after_the_end_of_a_matroska_file_get_a_note(tmp_path):
    path = tmp_path / "a.mka"
    segment = b"\x18\x53\x80\x67\x84abcd"
    path.write_bytes(b"\x1aE\xdf\xa3\x80" + segment + bytes(100_000))
    with path.open("rb") as file:
        assert "100000 bytes follow" in check_size(file, path.stat().st_size).note
        assert check_size(file, path.stat().st_size - 99_000).note is None
        assert check_size(file, 12).end_missing


def test_an_aac_stream_with_an_incomplete_last_frame_is_cut_off(tmp_path):
    frame = b"\xff\xf1\x50\x80\x0c\x9f\xfc" + bytes(93)  # 100 bytes
    path = tmp_path / "a.aac"
    for extra, cut in ((b"", False), (frame[:50], True), (frame[:3], True), (b"TAG" + bytes(125), False)):
        path.write_bytes(frame * 5 + extra)
        with path.open("rb") as file:
            assert check_size(file, path.stat().st_size).end_missing == cut


def test_many_small_chunks_do_not_delay(tmp_path):
    path = tmp_path / "a.wav"
    data = write(path, noise(1), format="WAV", subtype="PCM_16")
    path.write_bytes(data + b"LIST\0\0\0\0" * 100_000 + b"rest")
    set_length(path, "WAV", 0)
    start = time.process_time()
    assert RECOVERED in probe(path).note
    assert time.process_time() - start < 3


def test_shards_are_not_listed():
    shards = Grid(samples=1 << 62, rate=4000, step_samples=100, steps=16, hop=8).shards(60)
    assert len(shards) > 1 << 30 and shards[1].start == shards[0].stop and shards[-1].stop > shards[-1].start
    with pytest.raises(IndexError):
        shards[len(shards)]
