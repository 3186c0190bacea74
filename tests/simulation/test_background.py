"""Backgrounds: reading, tiling and splitting real recordings, synthetic noise, and error messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from loxo.errors import LoxoError
from loxo.simulation.background import Backgrounds, site_of, synthetic_background

RATE = 4000


def write_noise(path: Path, seconds: float, rate: int = RATE, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * rate)), rate)
    return path


def test_a_folder_a_list_and_paths_give_the_same_excerpts(tmp_path: Path) -> None:
    a, b = write_noise(tmp_path / "x" / "a.wav", 5), write_noise(tmp_path / "x" / "b.flac", 3, rate=8000, seed=1)
    listed = tmp_path / "list.txt"
    listed.write_text("# two recordings\nx/a.wav\n\nx/b.flac\n")
    folder, text, paths = Backgrounds(tmp_path / "x"), Backgrounds(listed), Backgrounds([a, b])
    assert len(folder) == len(text) == len(paths) == 2
    assert folder.seconds == pytest.approx(8, abs=0.01)
    drawn = [source.draw(np.random.default_rng(1), 8000).tobytes() for source in (folder, text, paths)]
    assert drawn[0] == drawn[1] == drawn[2]


def test_short_recordings_are_tiled_without_gaps(tmp_path: Path) -> None:
    source = Backgrounds([write_noise(tmp_path / "short.wav", 1.2)])
    drawn = source.draw(np.random.default_rng(0), 20 * RATE)
    assert drawn.shape == (20 * RATE,)
    assert drawn.dtype == np.float32
    blocks = np.sqrt(np.mean(drawn.reshape(-1, RATE // 10) ** 2, axis=1))
    assert blocks.min() > 0.5
    assert blocks.max() < 1.6


def test_a_manifest_is_filtered_and_grouped_by_site(tmp_path: Path) -> None:
    for k in range(4):
        write_noise(tmp_path / "background" / f"r{k}.wav", 2, seed=k)
    write_noise(tmp_path / "rumble" / "call.wav", 2)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(
        "file,part,label,note\n"
        'background/r0.wav,train,rain,"gain 3 dB; site north"\n'
        "background/r1.wav,train,wind,site north\n"
        "background/r2.wav,train,wind,site south\n"
        "background/r2.wav,train,rain,second row of one file\n"
        "background/r3.wav,measure,wind,site east\n"
        "rumble/call.wav,train,rumble,\n"
    )
    chosen = Backgrounds(manifest)
    assert chosen.sites == ["north", "south"]
    assert len(chosen) == 3
    rest, held_out = chosen.split(0.4, seed=0)
    assert not set(rest.sites) & set(held_out.sites)
    assert len(rest) + len(held_out) == 3
    manifest.write_text("file\nbackground/r0.wav\nbackground/r3.wav\n")
    assert len(Backgrounds(manifest)) == 2
    manifest.write_text("file,part\nbackground/r0.wav,measure\n")
    with pytest.raises(LoxoError, match="No row"):
        Backgrounds(manifest)


def test_a_single_site_is_split_by_recording_and_a_single_recording_is_refused(tmp_path: Path) -> None:
    source = Backgrounds([write_noise(tmp_path / "a_1.wav", 2), write_noise(tmp_path / "a_2.wav", 2)])
    assert source.sites == ["a"]
    rest, held_out = source.split(0.2)
    assert len(rest) == len(held_out) == 1 and rest.recordings[0].path != held_out.recordings[0].path
    with pytest.raises(LoxoError, match="A single background"):
        rest.split(0.2)
    with pytest.raises(LoxoError, match="No background"):
        Backgrounds([])


def test_the_site_is_the_file_name_without_counters() -> None:
    assert site_of("congo_0_20200205_184848_22.080114.flac") == "congo"
    assert site_of("esc10_dog_1-100032-A.flac") == "esc10_dog"
    assert site_of("20190522_000000.wav") == "20190522"


def test_errors_name_the_background_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"not audio")
    with pytest.raises(LoxoError, match=r"broken\.wav"):
        Backgrounds([tmp_path / "broken.wav"])
    with pytest.raises(LoxoError, match="do not exist"):
        Backgrounds(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LoxoError, match="contains no recordings"):
        Backgrounds(tmp_path / "empty")
    (tmp_path / "list.txt").write_text("missing.wav\n")
    with pytest.raises(LoxoError, match=r"missing\.wav"):
        Backgrounds(tmp_path / "list.txt")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE * 3), RATE)
    with pytest.raises(LoxoError, match="silent"):
        Backgrounds([tmp_path / "silent.wav"])
    (tmp_path / "bad.csv").write_text("name,part\nx,train\n")
    with pytest.raises(LoxoError, match="the column file"):
        Backgrounds(tmp_path / "bad.csv")


def test_synthetic_backgrounds_are_finite_and_have_unit_rms() -> None:
    for seed in range(25):
        noise = synthetic_background(np.random.default_rng(seed), 5 * RATE, RATE)
        assert noise.shape == (5 * RATE,)
        assert np.isfinite(noise).all()
        assert np.sqrt(np.mean(noise**2)) == pytest.approx(1, rel=1e-3)
    again = synthetic_background(np.random.default_rng(24), 5 * RATE, RATE)
    assert again.tobytes() == noise.tobytes()
