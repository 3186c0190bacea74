"""The commands `loxo watch` and `loxo listen`."""

import json

import numpy as np
import soundfile

from loxo.runs.record import read_record


def test_watch_refuses_and_tests_alerts(loxo, tmp_path):
    assert "Give the folder to watch" in loxo("watch")[2]
    assert "needs the file of receivers" in loxo("watch", "--test-alerts")[2]
    assert "there is no such folder" in loxo("watch", tmp_path / "none", "--out", tmp_path / "run")[2]
    alerts = tmp_path / "alerts.toml"
    alerts.write_text(
        f'[sink.log]\ntype = "file"\npath = "{tmp_path}/got"\n'
        f'[sink.bad]\ntype = "file"\npath = "{tmp_path}/alerts.toml/x"'
    )
    code, out, err = loxo("watch", "--test-alerts", "--alerts", alerts)
    assert code == 1 and "1 of 2 receivers" in out and "'bad'" in err
    assert json.loads((tmp_path / "got").read_text())["kind"] == "test"


def test_listen(loxo, tmp_path, monkeypatch):
    """A named file of samples, with the default model."""
    monkeypatch.chdir(tmp_path)
    (0.01 * 32767 * np.random.default_rng(0).standard_normal(4000 * 45)).astype("<i2").tofile("raw")
    code, out, err = loxo("listen", "raw", "--out", "run", "--site", "bai", "--recording-minutes", "0.5")
    assert code == 0 and "0.01 hours, 0 announced events, 0 gaps" in out, err
    files = read_record("run").recordings
    assert [file.analysed_s for file in files] == [30.0, 15.0] and read_record("run").status == "finished"
    assert soundfile.info(files[0].recording).subtype == "PCM_16"
    assert "part of file names" in loxo("listen", "raw", "--out", "other", "--site", "a/b")[2]
