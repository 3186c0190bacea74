"""The code in docs/other_programs.md runs as it is written."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recordings import fixture_recording

PAGE = Path(__file__).resolve().parents[1] / "docs" / "other_programs.md"
ALONE, WRAPPER, USE = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_the_wrapper_has_the_protocol_of_opensoundscape(tmp_path, capsys):
    recording = fixture_recording(tmp_path)
    names: dict = {}
    exec(WRAPPER, names)
    model = names["LoxoModel"]()
    assert model.classes == ["rumble", "gunshot"] and model.sample_duration == 20.48
    scores, features = model.predict([recording]), model.embed(recording)
    for table in (scores, features):
        assert table.index.names == ["file", "start_time", "end_time"]
        assert table.index[0] == (str(recording), 0.0, 20.48) and len(table) == 3
        assert table.index.get_level_values("end_time")[-1] == pytest.approx(60.0)
    assert list(scores.columns) == model.classes and scores.to_numpy().max() > 0.5
    assert scores.to_numpy().min() >= 0 and scores.to_numpy().max() <= 1 and features.shape == (3, 128)
    assert isinstance(scores, pd.DataFrame) and np.isfinite(features.to_numpy()).all()
    exec(USE.replace("recordings/nn01a_20180126_000000.wav", str(recording)), names)
    assert "rumble" in capsys.readouterr().out


def test_the_graph_runs_without_loxo(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from loxo.network.whole import export_whole

    monkeypatch.chdir(tmp_path)
    export_whole("default", "loxo-default.onnx")
    names: dict = {}
    exec(ALONE, names)
    assert names["classes"] == ["rumble", "gunshot"]
    assert names["probabilities"].shape == (1, 2) and names["frames"].shape == (1, 2, 256)
    assert names["probabilities"].max() < 0.1
