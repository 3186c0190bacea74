"""Search by example: exact similarity, hits, heads, and bad inputs in one sentence each."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from recordings import fixture_recording

from loxo import LoxoError, load_engine, read_raven, search
from loxo.survey import embeddings as files
from loxo.survey.embeddings import embed_recordings, embedding_writer
from loxo.survey.search import read_head

SHA = "a" * 64


def write(path, features, *, hop=1.0, labels=None, sha=SHA, per_recording=1000):
    features = np.asarray(features, np.float32)
    with embedding_writer(path, sha, labelled=labels is not None) as writer:
        for k, row in enumerate(features):
            start = k % per_recording * hop
            writer.add(f"r{k // per_recording}.wav", [start], [start + 2.0], row[None], labels[k] if labels else "")
    return path


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """40 windows of noise in two recordings; windows 5, 6 and 25 of a call like `direction`."""
    folder = tmp_path_factory.mktemp("survey")
    rng = np.random.default_rng(0)
    features, direction = rng.normal(size=(40, 16)), rng.normal(size=16) * 3
    features[[5, 6, 25]] = direction + rng.normal(size=(3, 16)) * 0.3
    write(folder / "survey.npz", features, per_recording=20)
    write(folder / "examples.npz", direction + rng.normal(size=(5, 16)) * 0.3, labels=["call"] * 5)
    write(folder / "negatives.npz", rng.normal(size=(10, 16)))
    return folder


def test_scores_are_the_cosine_to_the_nearest_example(survey, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK", 7)  # several blocks
    found = search(survey / "survey.npz", [survey / "examples.npz"], scores_out=tmp_path / "all.csv", threshold=0.9)
    with np.load(survey / "survey.npz") as whole, np.load(survey / "examples.npz") as examples:
        a, b = whole["features"], examples["features"]
    exact = (a @ b.T / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)).max(1).clip(0)
    scores = np.loadtxt(tmp_path / "all.csv", delimiter=",", skiprows=1, usecols=3)
    np.testing.assert_allclose(scores, exact, atol=1e-6)
    assert (
        (tmp_path / "all.csv").read_text().startswith("recording,start_s,end_s,score call\nr0.wav,0.000000,2.000000,")
    )
    events = found.events
    assert events["recording"].tolist() == ["r0.wav", "r1.wav"] and events["label"].tolist() == ["call"] * 2
    assert events["start_s"].tolist() == [5, 5] and events["end_s"].tolist() == [8, 7]  # windows 5 and 6 are one hit
    np.testing.assert_allclose(events["score"], [exact[[5, 6]].max(), exact[25]], atol=1e-6)
    assert found.windows == 40 and found.durations == {"r0.wav": 21.0, "r1.wav": 21.0}


def test_windows_that_only_touch_stay_two_hits(tmp_path):
    survey = write(tmp_path / "s.npz", np.ones((6, 4)), hop=2.0)
    found = search(survey, [write(tmp_path / "e.npz", np.ones((1, 4)))])
    assert len(found.events) == 6 and set(found.events["label"]) == {"example"}
    assert len(search(survey, [tmp_path / "e.npz"], hits=4).events) == 4
    assert search(survey, [tmp_path / "e.npz"], threshold=1.0).events["score"].min() > 0.999999


def test_a_head_is_fitted_saved_and_used_again(survey, tmp_path):
    head = tmp_path / "head.json"
    given = {"negatives": [survey / "negatives.npz"], "save_head": head, "scores_out": tmp_path / "1.csv"}
    found = search(survey / "survey.npz", [survey / "examples.npz"], threshold=0.5, **given)
    assert [(row.recording, row.start_s, row.end_s) for row in found.events.itertuples()] == [
        ("r0.wav", 5, 8),
        ("r1.wav", 5, 7),
    ]
    assert read_head(head).examples == {"call": 5, "negatives": 10}
    search(survey / "survey.npz", head=head, scores_out=tmp_path / "2.csv")
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_each_label_has_scores_of_its_own(tmp_path):
    rng = np.random.default_rng(1)
    centres = np.eye(3, 8) * 6
    kinds = rng.integers(0, 3, 60)
    survey = write(tmp_path / "s.npz", centres[kinds] + rng.normal(size=(60, 8)) * 0.5, hop=5.0)
    examples = write(tmp_path / "e.npz", centres[[0, 0, 1, 1]] + 0.1, labels=["a", "a", "b", "b"])
    negatives = write(tmp_path / "n.npz", centres[[2, 2]] + 0.1)
    found = search(survey, [examples], negatives=[negatives], threshold=0.5)
    labels = {int(row.start_s // 5): row.label for row in found.events.itertuples()}
    assert labels == {k: "ab"[kind] for k, kind in enumerate(kinds) if kind < 2}


def test_bad_inputs_are_refused_in_one_sentence(survey, tmp_path):
    whole, examples = survey / "survey.npz", [survey / "examples.npz"]
    other = write(tmp_path / "other.npz", np.ones((2, 16)), sha="b" * 64)
    short = write(tmp_path / "short.npz", np.ones((2, 7)))
    (tmp_path / "no.json").write_text("[1]")
    (tmp_path / "nan.json").write_text(
        json.dumps(
            {
                "loxo_head": 1,
                "model_sha256": SHA,
                "labels": ["a"],
                "examples": {},
                "constants": [0.0],
                "weights": [[1e999]],
            }
        )
    )
    cases = [
        ({}, "No examples were given"),
        ({"examples": [other]}, "is not that of .*survey.npz"),
        ({"examples": [short]}, "has 7 features, but .*survey.npz has 16"),
        ({"examples": [tmp_path / "gone.wav"]}, "no example could be used.*gone.wav"),
        ({"examples": examples, "head": tmp_path / "h.json"}, "but not both"),
        ({"examples": examples, "save_head": tmp_path / "h.json"}, "give negatives too"),
        ({"head": tmp_path / "gone.json"}, "gone.json: the head cannot be read"),
        ({"head": tmp_path / "no.json"}, "no.json: this is not a head"),
        ({"head": tmp_path / "nan.json"}, "nan.json: this is not a head"),
        ({"examples": examples, "hits": 0}, "at least one hit"),
        ({"examples": examples, "scores_out": tmp_path / "s.xlsx"}, "s.xlsx: the scores .* as .csv"),
    ]
    for given, words in cases:
        with pytest.raises(LoxoError, match=words):
            search(whole, **given)


def test_the_command_finds_rumbles_by_a_table_and_by_clips(loxo, tmp_path):
    recording = fixture_recording(tmp_path)
    engine = load_engine(runtime="onnxruntime")
    embed_recordings([(recording, None)], engine, tmp_path / "s.npz", window_overlap=0.75)
    (table,) = recording.parent.glob("*.selections.txt")
    calls = read_raven(table)
    options = ("--recordings", recording.parent, "--runtime", "onnxruntime", "--hits", "3")
    out = tmp_path / "hits.txt"
    code, words, _ = loxo("search", tmp_path / "s.npz", "--example", table, *options, "--out", out)
    assert code == 0 and "in 9 windows" in words
    hits = read_raven(out)
    assert set(hits["label"]) <= set(calls["label"]) and hits["score"].max() > 0.98
    assert set(hits["recording"]) == {str(recording)}
    samples, rate = soundfile.read(recording)
    soundfile.write(tmp_path / "clip.wav", samples[: 5 * rate], rate)
    soundfile.write(tmp_path / "long.wav", samples[: 30 * rate], rate)
    clips = ("--example", tmp_path / "clip.wav", "--example", tmp_path / "long.wav")
    code, words, faults = loxo("search", tmp_path / "s.npz", *clips, *options, "--out", tmp_path / "h.csv")
    assert code == 1 and "long.wav: this example is 30.0 s long" in faults
    assert "example" in (tmp_path / "h.csv").read_text()
    code, _, faults = loxo("search", tmp_path / "s.npz", *clips, "--out", tmp_path / "h.xlsx")
    assert code == 2 and "written as .txt" in faults


def test_a_search_needs_no_pytorch():
    code = "import sys; sys.modules['torch'] = None\nimport loxo, loxo.survey.search; loxo.search"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
