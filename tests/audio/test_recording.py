"""Recordings in every format, intact and damaged, and the times of resampled samples."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loxo.audio.finding import find_recordings
from loxo.audio.recording import RecordingError, probe, read, stream

RATE = 4000


def noise(seconds: float, rate: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    samples = 0.1 * np.random.default_rng(seed).standard_normal((int(seconds * rate), channels))
    return samples.astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int, **options: str) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.wav", {"subtype": "PCM_U8"}, 0.01),
        ("a.wav", {"subtype": "PCM_16"}, 1e-4),
        ("a.wav", {"subtype": "PCM_24"}, 1e-6),
        ("a.wav", {"subtype": "FLOAT"}, 0),
        ("a.wav", {"subtype": "DOUBLE"}, 0),
        ("a.rf64", {"format": "RF64"}, 1e-4),
        ("a.w64", {"format": "W64"}, 1e-4),
        ("a.aif", {"format": "AIFF"}, 1e-4),
        ("a.flac", {}, 1e-4),
    ],
)
def test_reads_every_sample_format(tmp_path, name, options, tolerance):
    samples = noise(2.0, RATE)
    path = write(tmp_path / name, samples, RATE, **options)
    recording = probe(path)
    assert (recording.frames, recording.missing_frames, recording.fault) == (8000, 0, None)
    np.testing.assert_allclose(read(path, RATE), samples[:, 0], atol=tolerance + 1e-7)


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3"])
def test_reads_lossy_formats(tmp_path, name):
    path = write(tmp_path / name, noise(2.0, 8000), 8000)
    assert len(read(path, RATE)) == probe(path).samples_at(RATE)
    assert probe(path).fault is None


def test_channels_are_averaged_unless_one_is_selected(tmp_path):
    samples = noise(1.0, RATE, channels=2)
    path = write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    np.testing.assert_allclose(read(path, RATE), samples.mean(axis=1), atol=1e-7)
    np.testing.assert_array_equal(read(path, RATE, channel=1), samples[:, 1])
    with pytest.raises(RecordingError, match="no channel 2"):
        read(path, RATE, channel=2)


@pytest.mark.parametrize("rate", [2000, 3999, 8000, 11025, 44100, 48000, 96000])
def test_the_length_is_rounded_and_does_not_depend_on_the_block_length(tmp_path, rate):
    path = write(tmp_path / "a.wav", noise(5.0013, rate), rate, subtype="FLOAT")
    recording = probe(path)
    whole = np.concatenate(list(stream(recording, RATE)))
    assert len(whole) == int(np.floor(recording.frames * RATE / rate + 0.5))
    small = np.concatenate(list(stream(recording, RATE, block_s=0.0973)))
    np.testing.assert_allclose(small, whole, atol=1e-6)
    for start, stop in [(0, 10), (1, 9000), (9001, 15000), (19990, len(whole))]:
        part = list(stream(recording, RATE, start=start, stop=stop))
        np.testing.assert_allclose(np.concatenate(part), whole[start:stop], atol=1e-6)


@pytest.mark.parametrize("rate", [2000, 8000, 48000])
def test_resampling_does_not_shift_times(tmp_path, rate):
    seconds = np.arange(4 * rate) / rate
    path = write(tmp_path / "a.wav", np.sin(2 * np.pi * 25 * seconds), rate, subtype="FLOAT")
    expected = np.sin(2 * np.pi * 25 * np.arange(4 * RATE) / RATE)
    np.testing.assert_allclose(read(path, RATE)[RATE:-RATE], expected[RATE:-RATE], atol=1e-3)
    np.testing.assert_allclose(read(path, RATE, 1.5, 0.5), expected[6000:8000], atol=1e-3)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty"),
        (b"Monday: changed the batteries\n" * 20, "text file"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
        (bytes(4096), "zeros"),
        (b"RIFF\xff\xff\x00\x00WAVEfmt \x10\x00\x00\x00\x01", "not audio"),
    ],
)
def test_files_without_audio_raise_one_line(tmp_path, content, fault):
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=fault) as caught:
        probe(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_missing_file_a_folder_and_a_header_without_samples_raise(tmp_path):
    with pytest.raises(RecordingError, match="cannot be opened"):
        probe(tmp_path / "none.wav")
    with pytest.raises(RecordingError, match="folder"):
        probe(tmp_path)
    with pytest.raises(RecordingError, match="no samples"):
        probe(write(tmp_path / "a.wav", np.zeros(0), RATE))


@pytest.mark.parametrize(
    ("options", "frame_bytes"),
    [
        ({"format": "WAV", "subtype": "PCM_16"}, 2),
        ({"format": "WAV", "subtype": "PCM_24"}, 3),
        ({"format": "RF64", "subtype": "PCM_16"}, 2),
        ({"format": "W64", "subtype": "PCM_16"}, 2),
        ({"format": "AIFF", "subtype": "PCM_16"}, 2),
    ],
)
def test_a_cut_off_file_has_the_number_of_missing_frames(tmp_path, options, frame_bytes):
    path = write(tmp_path / "a.wav", noise(10.0, RATE), RATE, **options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 10000 * frame_bytes - 1])
    recording = probe(path)
    assert recording.frames + recording.missing_frames == 40000
    assert 10000 <= recording.missing_frames <= 10001
    assert "cut off" in recording.fault and "10.0 s" in recording.fault
    assert len(np.concatenate(list(stream(recording, RATE)))) == recording.frames


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_flac_is_read_up_to_the_damage(tmp_path, damage):
    samples = noise(10.0, 8000)
    path = write(tmp_path / "a.flac", samples, 8000)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    path.write_bytes(data)
    blocks = stream(probe(path), RATE)
    given = np.concatenate(list(blocks))
    assert 15000 < len(given) == blocks.samples < 20001
    assert "decoding stopped at" in blocks.fault
    np.testing.assert_allclose(given[:14000], soundfile_reference(samples)[:14000], atol=1e-3)
    with pytest.raises(RecordingError, match="decoding stopped"):
        read(path, RATE)
    assert len(read(path, RATE, 0.5, 1.0)) == RATE


def soundfile_reference(samples: np.ndarray) -> np.ndarray:
    import soxr

    return soxr.resample(samples[:, 0], 8000, RATE)


def test_cut_off_ogg_and_mp3_have_a_fault(tmp_path):
    for name in ("a.ogg", "a.mp3"):
        path = write(tmp_path / name, noise(20.0, 8000), 8000)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        recording = probe(path)
        blocks = stream(recording, RATE)
        assert 0 < sum(map(len, blocks)) < 80000
        assert recording.fault or blocks.fault


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_without_a_declared_length_is_read_to_the_end(tmp_path, length):
    samples = noise(3.0, RATE, channels=2)
    path = write(tmp_path / "a.wav", samples, RATE, subtype="PCM_24")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 4, length)
    struct.pack_into("<I", data, data.index(b"data") + 4, length)
    path.write_bytes(data)
    recording = probe(path)
    assert (recording.frames, recording.fault) == (12000, None)
    assert "does not state the duration" in recording.note
    np.testing.assert_allclose(read(path, RATE, channel=0), samples[:, 0], atol=1e-6)
    np.testing.assert_allclose(read(path, RATE, 1.0, 1.0, channel=1), samples[4000:8000, 1], atol=1e-6)


def test_non_finite_samples_become_zero_and_are_counted(tmp_path):
    samples = noise(1.0, RATE)
    samples[[10, 20], 0] = np.nan, np.inf
    blocks = stream(probe(write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")), RATE)
    given = np.concatenate(list(blocks))
    assert blocks.zeroed == 2 and given[10] == given[20] == 0 and np.isfinite(given).all()


def test_read_stops_at_the_end_and_raises_for_a_start_outside(tmp_path):
    path = write(tmp_path / "a.wav", noise(2.0, RATE), RATE)
    assert len(read(path, RATE, 1.5, 10.0)) == 2000
    for start in (-0.1, 2.0, 5.0):
        with pytest.raises(RecordingError, match="does not lie within"):
            read(path, RATE, start)


def test_find_recordings_searches_folders_and_reports_problems(tmp_path):
    for name in ("b/x.WAV", "b/._x.WAV", "a/y.flac", ".hidden/z.wav", "a/notes.txt", "c/.keep", "odd.dat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, problems = find_recordings([tmp_path, tmp_path / "b", tmp_path / "odd.dat", tmp_path / "no", tmp_path / "c"])
    assert found == [tmp_path / "a/y.flac", tmp_path / "b/x.WAV", tmp_path / "odd.dat"]
    assert [path.name for path, _ in problems] == ["no", "c"]
    assert "no such file" in problems[0][1] and "contains no recordings" in problems[1][1]


def test_recordings_behind_links_are_found_once(tmp_path):
    for name in ("r/a.wav", "r/sub/b.wav", "other/c.wav", "empty/x.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    links = {"r/card2": "../other", "r/again": "../other", "r/up": "..", "r/sub/loop": ".", "r/gone": "nowhere"}
    links |= {"r/x.wav": "nowhere.wav", "only": "r", "empty/link": "../other"}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    own = [tmp_path / "r/a.wav", tmp_path / "r/sub/b.wav"]
    found, problems = find_recordings([tmp_path / "r"])
    assert found == [own[0], tmp_path / "r/again/c.wav", own[1]]
    assert [path.name for path, _ in problems] == ["gone", "x.wav"]
    assert all(sentence.startswith(f"{path}: this link leads nowhere") for path, sentence in problems)
    assert find_recordings([tmp_path / "r", tmp_path / "other"])[0] == [tmp_path / "other/c.wav", *own]
    assert find_recordings([str(tmp_path / "r/**/*.wav")])[0] == found  # a pattern does not run in circles either
    assert find_recordings([tmp_path / "only/a.wav", tmp_path / "r"])[0][0] == tmp_path / "only/a.wav"
    assert len(find_recordings([tmp_path / "only/a.wav", tmp_path / "r"])[0]) == 3
    assert find_recordings([tmp_path / "empty"])[0] == [tmp_path / "empty/link/c.wav"]
    (path, sentence) = find_recordings([tmp_path / "r/gone"])[1][0]
    assert path == tmp_path / "r/gone" and "leads nowhere" in sentence


def test_two_names_with_the_same_code_in_tables_are_a_problem(tmp_path):
    for name in ("a\tb.wav", "a<09>b.wav", "a<09>c.wav"):
        (tmp_path / name).touch()
    found, ((path, sentence),) = find_recordings([tmp_path])
    assert [path.name for path in found] == ["a\tb.wav", "a<09>c.wav"] and path.name == "a<09>b.wav"
    assert sentence.startswith(f"{path}: in tables, this name is the same")


@pytest.mark.parametrize("value", [1e6, 1e10, 1e19, 1e20, 3e38, -1e12, np.nan, np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_wild_sample_is_silence(tmp_path, value, channels):
    samples = noise(3.0, RATE, channels)
    wild = samples.copy()
    samples[5000, -1], wild[5000, -1] = 0.0, value
    blocks = stream(probe(write(tmp_path / "a.wav", wild, RATE, subtype="FLOAT")), RATE)
    given = np.concatenate(list(blocks))
    assert blocks.zeroed == 1 and np.array_equal(given, samples.mean(axis=1, dtype=np.float32))


@pytest.mark.parametrize("scale", [1, 2.0**15, 2.0**23, 2.0**31])
@pytest.mark.parametrize("background", [0.0, 1e-5, 0.3])
def test_loud_samples_of_any_scale_are_no_wild_ones(tmp_path, scale, background):
    samples = background * noise(10.0, RATE)
    samples[20000:21000] = np.random.default_rng(1).uniform(-1, 1, (1000, 1))  # a shot of 0.25 s
    path = write(tmp_path / "a.wav", (samples * scale).astype(np.float32), RATE, subtype="FLOAT")
    blocks = stream(probe(path), RATE)
    given = np.concatenate(list(blocks))
    assert blocks.zeroed == 0 and np.array_equal(given, (samples[:, 0] * scale).astype(np.float32))


def test_the_recording_with_one_sample_of_1e20_is_read_whole(shared):
    path = shared / "cases/recordings/one-sample-1e20.wav"
    if not path.is_file():
        pytest.skip("this input is not in ../shared/cases")
    expected, rate = soundfile.read(path, dtype="float32")
    expected[np.abs(expected) > 1e19] = 0
    blocks = stream(probe(path), rate)
    assert np.array_equal(np.concatenate(list(blocks)), expected) and blocks.zeroed == 1 and blocks.fault is None
