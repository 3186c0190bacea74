"""Damaged and hostile graphs are refused before a runtime reads them, in one sentence, without large allocations."""

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from loxo.engine.graph import read_graph, seal_graph
from loxo.engine.model_file import read_model_file
from loxo.errors import LoxoError

onnx = pytest.importorskip("onnx")
sys.path.insert(0, str(Path(__file__).parent))
import hostile_graphs  # noqa: E402 (it needs onnx)

READER = Path(__file__).with_name("graph_reader.py")


@pytest.fixture
def model(tmp_path):
    """A copy of the bundled model and its graph."""
    bundled = read_model_file("default")
    shutil.copy(bundled.path, tmp_path / "model.safetensors")
    shutil.copy(bundled.graph_path, tmp_path / "model.onnx")
    return read_model_file(tmp_path / "model.safetensors")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The answers to every case from one process, and the growth of its memory."""
    folder = tmp_path_factory.mktemp("graphs")
    bundled = read_model_file("default")
    shutil.copy(bundled.path, folder / "model.safetensors")
    shutil.copy(bundled.graph_path, folder / "model.onnx")
    names = []
    with (folder / "answers.json").open("wb") as answers:
        command = [sys.executable, str(READER), str(folder / "model.safetensors")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=answers) as reader:
            for name, content in hostile_graphs.every_case(bundled):
                names.append(name)
                reader.stdin.write(struct.pack("<Q", len(content)) + content)
            reader.stdin.close()
    assert reader.returncode == 0
    return {**json.loads((folder / "answers.json").read_text()), "names": names}


def test_at_least_300_graphs_are_refused_in_one_sentence_that_names_the_file(report):
    assert len(report["outcomes"]) == len(report["names"]) >= 300
    wrong = [
        (name, answer)
        for name, (answer, _) in zip(report["names"], report["outcomes"], strict=True)
        if "model.onnx: this graph is not run: " not in answer or not answer.endswith("`.") or "\n" in answer
    ]
    assert wrong == []


def test_refused_graphs_reach_no_runtime_and_need_little_memory_and_time(report):
    assert report["runtimes"] == []
    assert report["growth"] < 200 << 20, report["growth"] / 2**20
    slow = [(name, s) for name, (_, s) in zip(report["names"], report["outcomes"], strict=True) if s > 20]
    assert slow == []  # only against hangs


def test_the_shipped_graph_is_accepted_and_written_anew_without_its_metadata(model):
    graph = onnx.load_from_string(read_graph(model))
    onnx.checker.check_model(graph, full_check=True)
    assert [value.name for value in graph.graph.output] == ["logits", "latent"]


def test_a_sealed_graph_with_one_more_harmless_operator_is_accepted(model):
    """The cases above are refused for what each changes, not because any change is refused."""
    graph = onnx.load_from_string(hostile_graphs.body_of(model))
    hostile_graphs.insert(hostile_graphs.node("Relu", ["image"], ["y"]), shape=None)(graph)
    model.graph_path.write_bytes(seal_graph(graph.SerializeToString(), model.weights_sha256))
    assert b"Relu" in read_graph(model)


def test_a_graph_of_other_weights_names_both_files(model):
    model.graph_path.write_bytes(seal_graph(hostile_graphs.body_of(model), "0" * 64))
    with pytest.raises(LoxoError, match=r"model\.onnx.*other weights than those of model\.safetensors"):
        read_graph(model)


def test_a_graph_that_is_too_large_for_its_weights_is_not_read(model):
    with model.graph_path.open("r+b") as file:
        file.truncate(1 << 33)  # a hole: no space on the disk
    with pytest.raises(LoxoError, match="too large for the weights"):
        read_graph(model)


def test_a_missing_graph_names_the_command_that_makes_it(model):
    model.graph_path.unlink()
    with pytest.raises(LoxoError, match=r"model\.onnx, which is not beside it.*`loxo export .*model\.safetensors`"):
        read_graph(model)


def test_a_folder_in_place_of_a_graph_is_one_sentence(model):
    model.graph_path.unlink()
    model.graph_path.mkdir()
    with pytest.raises(LoxoError, match=r"model\.onnx: the graph cannot be read"):
        read_graph(model)
