"""The network by OpenVINO: its numbers against torch's, its cache, and what is said where it cannot be had.

Run by test_openvino.py in a process of its own.
"""

import importlib.util
import json

import numpy as np
import pytest
import soundfile
import torch

from loxo.detection.detect import analyse
from loxo.engine.openvino import CompiledNetwork, choose_runtime
from loxo.engine.windows import GROUP
from loxo.errors import LoxoError
from loxo.machine import user_cache
from loxo.network.loading import load_model
from loxo.simulation.simulate import simulate

pytest.importorskip("openvino")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Six minutes, some 8 rumbles and 6 shots in them."""
    folder = tmp_path_factory.mktemp("recording")
    simulate(folder, 0.1, 5, rumbles_per_hour=80.0, gunshots_per_hour=60.0, format="wav")
    (path,) = folder.glob("*.wav")
    return path


def windows(count: int) -> torch.Tensor:
    return load_model().bands(0.1 * torch.randn(count, 81920, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("count", [1, 4, 5])
def test_float32_is_torchs_but_for_rounding(count):
    model, bands = load_model(), windows(count)
    compiled = CompiledNetwork(model, "weights", "float32")
    for theirs, ours in zip(compiled(bands), model.network(bands), strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)


def test_a_large_network_takes_fewer_windows_at_a_time(monkeypatch):
    model, bands = load_model(), windows(5)
    monkeypatch.setattr("loxo.engine.openvino.LARGE", 1)
    compiled = CompiledNetwork(model, "weights", "float32")
    for theirs, ours in zip(compiled(bands), model.network(bands), strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
    together, _ = compiled(bands)
    torch.testing.assert_close(compiled(bands[3:4])[0][0], together[3], atol=0, rtol=0)
    assert compiled._compiled.input(0).shape[0] == GROUP // 2


def test_a_window_gives_the_same_bits_in_any_company():
    network, bands = load_model(runtime="openvino").network, windows(4)
    together, _ = network(bands)
    for k in range(4):
        torch.testing.assert_close(network(bands[k : k + 1])[0][0], together[k], atol=0, rtol=0)


def test_events_and_probabilities_differ_by_less_than_anyone_sees(recording):
    """In bfloat16 where the processor has it."""
    ours, theirs = (analyse(recording, load_model(runtime=runtime)) for runtime in ("torch", "openvino"))
    assert np.abs(ours.scores.astype(float) - theirs.scores).max() < 0.05
    assert np.abs(ours.scores.astype(float) - theirs.scores).mean() < 0.001
    assert len(ours.events) >= 5 and ours.events["label"].tolist() == theirs.events["label"].tolist()
    for column, most in (("start_s", 0.33), ("end_s", 0.33), ("score", 0.05)):
        assert np.abs(ours.events[column] - theirs.events[column]).max() < most


def test_the_compiled_network_is_kept_and_a_damaged_one_made_anew(cache):
    bands = windows(1)
    first, _ = load_model(runtime="openvino").network(bands)
    (kept,) = user_cache().glob("networks/*.xml")
    made = kept.stat().st_mtime_ns
    load_model(runtime="openvino")
    assert kept.stat().st_mtime_ns == made and user_cache().is_relative_to(cache)
    kept.write_text("<net")
    again, _ = load_model(runtime="openvino").network(bands)
    assert kept.stat().st_mtime_ns != made
    torch.testing.assert_close(first, again, atol=0, rtol=0)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_model(runtime="openvino").network(windows(1))[0].isfinite().all()


def test_the_choice(monkeypatch):
    assert choose_runtime("auto", "cpu") == "openvino" and choose_runtime("torch", "cpu") == "torch"
    assert choose_runtime("auto", "meta") == "torch"
    with pytest.raises(LoxoError, match="no runtime 'tensorflow'"):
        load_model(runtime="tensorflow")
    with pytest.raises(LoxoError, match="for the processor"):
        choose_runtime("openvino", "meta")
    for device in ("gpu", "xla"):
        with pytest.raises(LoxoError, match=f"no device '{device}'"):
            load_model(device=device)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose_runtime("auto", "cpu") == "torch"
    with pytest.raises(LoxoError, match=r"pip install 'loxo\[openvino\]'"):
        choose_runtime("openvino", "cpu")


def test_the_runtime_is_chosen_recorded_and_kept_to(loxo, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 4000)
    for given, runtime in ((), "torch"), (("--runtime", "openvino"), "openvino"):
        out = tmp_path / runtime
        assert loxo("detect", tmp_path / "a.wav", "--out", out, "--workers", 1, *given)[0] == 0
        assert json.loads((out / "run.json").read_text())["parameters"]["runtime"] == runtime
    code, _, err = loxo("detect", tmp_path / "a.wav", "--out", tmp_path / "openvino", "--workers", 1)
    assert code == 2 and "runtime" in err
    code, _, err = loxo("detect", tmp_path / "a.wav", "--out", tmp_path / "no", "--runtime", "tensorflow")
    assert code == 2 and "no runtime 'tensorflow'" in err and not (tmp_path / "no").exists()
