"""Files that released versions wrote are read for ever: each folder of tests/files is one release (docs/versions.md).

helpers/release_files.py has written them. A test that fails here is mended in the code, never in the files.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from release_files import LOW_THRESHOLD, sine

from loxo.engine.engine import load_engine
from loxo.engine.model_file import read_model_file
from loxo.runs.read import read_run

RELEASES = sorted(path for path in (Path(__file__).parent / "files").iterdir() if path.is_dir())


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def release(request, tmp_path, monkeypatch) -> Path:
    """A copy, in the current folder: runs name recordings relative to it."""
    folder = Path(shutil.copytree(request.param, tmp_path / "release"))
    monkeypatch.chdir(folder)
    return folder


def test_there_is_a_release():
    assert "0.1.0" in {path.name for path in RELEASES}


def test_a_run_is_read_and_decoded_again(release, loxo):
    run = read_run(release / "run")
    assert run.status == "finished" and run.labels == ["rumble", "gunshot"] and not run.problems
    assert run.recordings["duration_s"].tolist() == [24.0] and run.recordings["site"].tolist() == ["nn01a"]
    assert run.events["label"].tolist() == ["rumble", "gunshot", "rumble", "gunshot"]
    assert str(run.events["start_time"].iloc[0]).startswith("2026-03-01 18:00:03.04")
    code, _, err = loxo("decode", release / "run", "--threshold", LOW_THRESHOLD, "--out", release / "again")
    assert code == 0, err
    expected, again = (pd.read_csv(release / name) for name in ("events.csv", "again/events.csv"))
    columns = ["start_s", "end_s", "label", "low_hz", "high_hz", "site"]
    pd.testing.assert_frame_equal(again[columns], expected[columns], check_exact=True)
    np.testing.assert_allclose(again["score"], expected["score"], atol=1e-5)


def test_a_review_is_continued_and_reported(release, loxo):
    shutil.move(release / "run" / "reviewed", release / "reviewed")
    code, out, err = loxo("review", release / "run", "--export")
    assert code == 0 and "1 true event of 2 reviewed" in out, err
    old, new = (pd.read_csv(path / "reviewed" / "decisions.csv") for path in (release, release / "run"))
    pd.testing.assert_frame_equal(new[old.columns], old)
    code, _, err = loxo("report", release / "run")
    assert code == 0 and "nn01a" in (release / "run" / "report.html").read_text(encoding="utf-8"), err


def test_a_model_file_gives_its_numbers(release):
    expected = json.loads((release / "model.json").read_text())
    model = read_model_file(release / "model.safetensors")
    assert model.config.classes == ("rumble", "gunshot") and model.provenance["written by"].startswith("loxo ")
    logits, latent = load_engine(model.path, runtime="onnxruntime").read(sine(model.config)).outputs([0])
    np.testing.assert_allclose(logits[0, :, ::16], expected["logits"], atol=1e-3)
    np.testing.assert_allclose(latent[0], expected["latent"], atol=1e-3)


def test_weights_of_a_release_give_the_numbers_of_its_graph(release):
    torch = pytest.importorskip("torch")
    from loxo.network.loading import load_model

    model = load_model(release / "model.safetensors")
    with torch.no_grad():
        logits = model(torch.from_numpy(sine(model.config))[None])["framewise_logits"][0].numpy()
    expected = json.loads((release / "model.json").read_text())["logits"]
    np.testing.assert_allclose(logits[:, ::16], expected[: len(logits)], atol=1e-2)  # another front end
