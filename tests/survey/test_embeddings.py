"""Files of embeddings: the command, all formats, blocks, damage, constant memory."""

import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest
import soundfile

from loxo import LoxoError, embed, load_engine
from loxo.survey.embeddings import BLOCK, embedding_writer, open_embeddings

SHA = "a" * 64


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("card") / "a.wav"
    soundfile.write(path, 0.05 * np.random.default_rng(3).standard_normal(100 * 4000), 4000, subtype="FLOAT")
    return path


def write(path, rows=10, dimension=3, labelled=False):
    with embedding_writer(path, SHA, labelled=labelled) as writer:
        for k in range(rows):
            writer.add(
                f"r{k // 6}.wav", [k], [k + 1], np.full((1, dimension), k, np.float32), "call" if labelled else ""
            )
    return path


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_the_command_writes_a_file(loxo, recording, tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"e{suffix}"
    code, words, _ = loxo("embed", recording, "--out", out, "--runtime", "onnxruntime")
    assert code == 0 and "1 recordings, 5 windows" in words
    expected = embed(recording, load_engine(runtime="onnxruntime"))
    if suffix == ".csv":
        pd.testing.assert_frame_equal(pd.read_csv(out), expected, check_dtype=False, rtol=1e-5)
        return
    if suffix == ".parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(out), expected, check_dtype=False)
    else:
        with np.load(out) as file:
            np.testing.assert_array_equal(file["features"], expected.iloc[:, 3:].to_numpy(np.float32))
            assert file["recording"].tolist() == [str(recording)] * 5
    found = open_embeddings(out)
    assert (found.rows, found.dimension) == (5, 128)
    assert found.model_sha256 == load_engine(start=False).sha256
    (rows,) = found.blocks()
    np.testing.assert_array_equal(rows.features, expected.iloc[:, 3:].to_numpy(np.float32))
    assert rows.end_s[-1] == 100.0 and rows.label is None


def test_the_command_embeds_events_of_tables(loxo, recording, tmp_path):
    table = tmp_path / "calls.csv"
    table.write_text(
        "file,start,end,label\na.wav,10,12,rumble\na.wav,300,301,rumble\nb.wav,1,2,rumble\na.wav,50,51,shot\n"
    )
    out = tmp_path / "e.npz"
    code, words, faults = loxo("embed", recording, "--events", table, "--out", out, "--runtime", "onnxruntime")
    assert code == 1 and "1 recordings, 2 events" in words
    assert "300 to 301 s is not in this recording" in faults and "b.wav" in faults
    (rows,) = open_embeddings(out).blocks()
    assert rows.label == ["rumble", "shot"] and rows.start_s.tolist() == [10, 50]
    code, _, words = loxo("embed", tmp_path / "x", "--events", table, "--out", out)
    assert code in (1, 2) and "a.wav" in words


def test_a_recording_that_cannot_be_read_to_its_end_has_no_rows(loxo, recording, tmp_path):
    (tmp_path / "bad.wav").write_text("no sound")
    (tmp_path / "cut.wav").write_bytes(recording.read_bytes()[:1_000_000])
    out = tmp_path / "e.npz"
    given = (tmp_path / "bad.wav", tmp_path / "cut.wav", recording)
    code, _, words = loxo("embed", *given, "--out", out, "--runtime", "onnxruntime")
    assert code == 1 and "bad.wav" in words and "cut.wav" in words
    (rows,) = open_embeddings(out).blocks()
    assert set(rows.recording) == {str(recording)} and len(rows.start_s) == 5
    code, _, words = loxo("embed", *given[:1], "--out", tmp_path / "none.npz", "--runtime", "onnxruntime")
    assert code == 2 and "Nothing could be embedded" in words and not (tmp_path / "none.npz").exists()


def test_another_format_is_refused_before_the_work(loxo, recording, tmp_path):
    code, _, words = loxo("embed", recording, "--out", tmp_path / "e.txt")
    assert code == 2 and "written as .npz, .csv or .parquet" in words


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_rows_are_read_in_blocks_in_constant_memory(tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    rows, dimension = 4 * BLOCK + 5, 512
    path = tmp_path / f"e{suffix}"
    tracemalloc.start()
    with embedding_writer(path, SHA) as writer:
        for first in range(0, rows, 100):
            start = np.arange(first, min(first + 100, rows))
            writer.add("a.wav", start, start + 1, np.repeat(start[:, None], dimension, 1).astype(np.float32))
    found = open_embeddings(path)
    sizes, total = [], 0.0
    for block in found.blocks():
        sizes.append(len(block.features))
        total += float(block.features[:, -1].sum())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(sizes) == rows and max(sizes) == BLOCK and total == pytest.approx(rows * (rows - 1) / 2, rel=1e-4)
    assert peak < 0.8 * rows * dimension * 4  # 3 to 4 times a block of 8 MB, not the 34 MB of all rows


def test_dropped_rows_leave_no_features(tmp_path):
    with embedding_writer(tmp_path / "e.npz", SHA, labelled=True) as writer:
        writer.add("a", [0], [1], np.ones((1, 2), np.float32), "x")
        writer.add("b", [0, 1], [1, 2], 2 * np.ones((2, 2), np.float32), "y")
        writer.drop_after(1)
        writer.add("c", [5], [6], 3 * np.ones((1, 2), np.float32), "z")
    (rows,) = open_embeddings(tmp_path / "e.npz").blocks()
    assert rows.recording == ["a", "c"] and rows.label == ["x", "z"] and rows.features[:, 0].tolist() == [1, 3]


def test_an_error_leaves_the_old_file(tmp_path):
    path = write(tmp_path / "e.npz")
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), embedding_writer(path, SHA) as writer:
        writer.add("a", [0], [1], np.ones((1, 2), np.float32))
        raise KeyboardInterrupt
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["e.npz"]


def test_files_that_are_no_embeddings_are_refused(tmp_path):
    whole = write(tmp_path / "whole.npz", rows=2000).read_bytes()
    cases = {"empty.npz": b"", "text.npz": b"no zip", "cut.npz": whole[: len(whole) // 2], "p.parquet": b"PAR1"}
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    cases["flipped.npz"] = bytes(flipped)
    for name, content in cases.items():
        if name.endswith("parquet"):
            pytest.importorskip("pyarrow")
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LoxoError, match=f"{name}: this is not a complete file of embeddings"):
            list(open_embeddings(tmp_path / name).blocks())
    with pytest.raises(LoxoError, match=r"gone\.npz: the file cannot be read"):
        open_embeddings(tmp_path / "gone.npz")
    with pytest.raises(LoxoError, match=r"e\.csv: a search needs embeddings as \.npz or \.parquet"):
        open_embeddings(tmp_path / "e.csv")
    np.savez(tmp_path / "foreign.npz", recording=["a"], start_s=[0.0], end_s=[1.0], features=np.ones((1, 2)))
    with pytest.raises(LoxoError, match="does not state its model"):
        open_embeddings(tmp_path / "foreign.npz")
    columns = {"start_s": [0.0], "end_s": [1.0], "features": [[1.0]], "model": SHA}
    np.savez(tmp_path / "objects.npz", recording=np.array(["a"], object), **columns)
    with pytest.raises(LoxoError, match="not a complete file of embeddings"):
        list(open_embeddings(tmp_path / "objects.npz").blocks())
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as file:
        file.writestr("x.npy", b"")
    with pytest.raises(LoxoError, match="it has no array recording"):
        open_embeddings(tmp_path / "other.npz")


def test_features_that_are_not_finite_are_refused(tmp_path):
    with embedding_writer(tmp_path / "e.npz", SHA) as writer:
        writer.add("a", [0], [1], np.full((1, 2), np.nan, np.float32))
    with pytest.raises(LoxoError, match="not finite"):
        list(open_embeddings(tmp_path / "e.npz").blocks())


def test_no_cell_of_a_csv_starts_a_formula(tmp_path):
    with embedding_writer(tmp_path / "e.csv", SHA, labelled=True) as writer:
        writer.add("=a.wav", [0], [1], np.zeros((1, 1), np.float32), "+call")
    assert (tmp_path / "e.csv").read_text().splitlines()[1].startswith("'=a.wav,0.0,1.0,'+call,")
