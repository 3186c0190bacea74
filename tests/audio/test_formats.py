"""Formats that are read with PyAV. The files are written with PyAV's encoders."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soxr

from loxo.audio.finding import find_recordings
from loxo.audio.recording import RecordingError, probe, read, stream

av = pytest.importorskip("av")
SECONDS = 60
RATE = 4000


def chirp(rate: int) -> np.ndarray:
    t = np.arange(SECONDS * rate) / rate
    return (0.3 * np.sin(2 * np.pi * (50 + 5 * t) * t)).astype(np.float32)


def encode(path: Path, codec: str, rate: int, samples: np.ndarray) -> Path:
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=rate, layout="mono")
        context = track.codec_context
        if codec == "wmav2":
            context.bit_rate = 32000
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(context.format, "mono", rate, frame_size=context.frame_size or 1024)
        at = 0
        for piece in resampler.resample(frame) + resampler.resample(None):
            piece.pts, piece.time_base = at, Fraction(1, rate)
            at += piece.samples
            container.mux(track.encode(piece))
        container.mux(track.encode(None))
    return path


KINDS = [  # name, codec, sample rate, tolerance of the samples, tolerance of the start in samples at 4 kHz
    ("a.m4a", "aac", 8000, 0.02, 0),
    ("a.webm", "libopus", 48000, 0.02, 0),
    ("a.wv", "wavpack", 8000, 0.01, 0),
    ("a.wma", "wmav2", 16000, 0.05, 300),
    ("a.aac", "aac", 8000, 0.02, 1100),
]


@pytest.mark.parametrize(("name", "codec", "rate", "loss", "shift"), KINDS)
def test_an_excerpt_equals_the_same_samples_of_the_whole_recording(tmp_path, name, codec, rate, loss, shift):
    path = encode(tmp_path / name, codec, rate, chirp(rate))
    recording = probe(path)
    assert recording.needs_pyav and recording.sample_rate == rate and recording.fault is None
    assert abs(recording.duration_s - SECONDS) < 0.2
    whole = read(recording, RATE)
    assert len(whole) == recording.samples_at(RATE)
    if not shift:
        expected = soxr.resample(chirp(rate), rate, RATE)[RATE:-RATE]
        np.testing.assert_allclose(whole[RATE : RATE + len(expected)], expected, atol=loss)
    noise = 2e-3 if codec == "wmav2" else 1e-5  # the WMA decoder fills gaps with random noise
    for start in (0.0, 10.0, 31.234, 59.0):
        first = round(start * RATE)
        np.testing.assert_allclose(read(recording, RATE, start, 0.5), whole[first : first + RATE // 2], atol=noise)


@pytest.mark.parametrize(("name", "codec", "rate"), [kind[:3] for kind in KINDS])
def test_a_cut_off_file_is_read_up_to_the_cut_and_has_a_fault(tmp_path, name, codec, rate):
    path = encode(tmp_path / name, codec, rate, chirp(rate))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if name == "a.m4a":  # the index at the end is lost
        with pytest.raises(RecordingError, match=r"MP4 .* cannot be decoded"):
            probe(path)
        return
    recording = probe(path)
    blocks = stream(recording, RATE)
    assert 20 * RATE < sum(map(len, blocks)) < 40 * RATE
    assert "cut off" in (recording.fault or "") or "decoding stopped" in (blocks.fault or "")


def test_random_bytes_after_the_signature_of_a_container_raise(tmp_path):
    random_bytes = np.random.default_rng(0).bytes(50000)
    for number, magic in enumerate(
        (b"\0\0\0\x20ftypM4A ", b"\x1aE\xdf\xa3", b"#!AMR\n", b"\xff\xf1", b"wvpk", b"\x0bw")
    ):
        path = tmp_path / f"{number}.m4a"
        path.write_bytes(magic + random_bytes)
        with pytest.raises(RecordingError, match=r"cannot be decoded|no samples"):
            probe(path)


def test_object_storage_gives_the_same_samples(s3, tmp_path):
    path = encode(tmp_path / "a.m4a", "aac", 8000, chirp(8000))
    url = s3.put("cards/a.m4a", path.read_bytes())
    assert find_recordings([s3.url("cards/")])[0] == [url]
    np.testing.assert_array_equal(read(url, RATE, 20, 2), read(path, RATE, 20, 2))


def test_without_pyav_the_message_contains_the_install_command(tmp_path, without_pyav):
    path = encode(tmp_path / "a.m4a", "aac", 8000, chirp(8000))
    without_pyav()
    with pytest.raises(RecordingError, match=r"MP4 \(M4A\) audio.*pip install .*\[formats\]"):
        probe(path)
