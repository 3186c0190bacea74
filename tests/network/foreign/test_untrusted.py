"""Untrusted checkpoint files give tensors or one clear error. Nothing in them is run."""

import collections
import datetime
import decimal
import fractions
import os
import tracemalloc
import types
import uuid
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from loxo import LoxoError
from loxo.network.foreign import untrusted
from loxo.network.foreign.untrusted import read_tensors


class Malicious:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def weights() -> OrderedDict:
    torch.manual_seed(0)
    return OrderedDict(
        plain=torch.randn(2, 3),
        transposed=torch.randn(4, 5).t(),
        part=torch.randn(10)[3:7],
        parameter=torch.nn.Parameter(torch.randn(3)),
        half=torch.randn(3).half(),
        count=torch.tensor(7),
        empty=torch.empty(0),
    )


def same(ours, theirs) -> bool:
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_tensors_of_every_pickle_protocol_are_read(tmp_path, weights, protocol, wrapper):
    path = tmp_path / "weights.ckpt"
    about = {"epoch": 3, "score": np.float64(0.47), "steps": np.arange(3), "names": {"a", "b"}, "lr": [0.1, None]}
    torch.save({wrapper: weights, **about} if wrapper else weights, path, pickle_protocol=protocol)
    assert same(read_tensors(path)[0], weights)


def test_old_files_and_safetensors_are_read(tmp_path, weights):
    torch.save({"state_dict": weights}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(read_tensors(tmp_path / "old.pth")[0], weights)
    plain = {name: tensor.detach().clone().contiguous() for name, tensor in weights.items()}
    save_file(plain, tmp_path / "weights.bin", metadata={"by": "test"})  # the content gives the format, not the name
    tensors, metadata, _ = read_tensors(tmp_path / "weights.bin")
    assert set(tensors) == set(plain) and metadata == {"by": "test"}


PLAIN = {
    "device": torch.device("cuda", 1),
    "size": torch.Size([2, 3]),
    "types": [torch.float32, torch.bfloat16, torch.int64, torch.complex64],
    "layout": torch.strided,
    "version": torch.__version__,
    "counts": collections.Counter("abb"),
    "lists": collections.defaultdict(list, {"a": [1]}),
    "queue": collections.deque([1, 2], 3),
    "scheduler": {"milestones": collections.Counter([3, 7]), "lrs": [0.1], "range": range(3), "slice": slice(2)},
    "started": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    "took": datetime.timedelta(3),
    "path": Path("a/b"),
    "number": [decimal.Decimal("1.5"), fractions.Fraction(1, 3), 1j, frozenset([1]), bytearray(b"x")],
    "id": uuid.UUID(int=3),
    "options": types.SimpleNamespace(rate=0.1, names=["a"]),
    "numpy": [np.float64(0.5), np.arange(3), np.dtype("f4")],
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_beside_tensors_are_skipped(tmp_path, weights, zipped, protocol):
    path = tmp_path / "weights.ckpt"
    content = {"state_dict": weights | {"size": torch.Size([1])}, **PLAIN}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert same(read_tensors(path).tensors, weights)


def test_an_old_file_cannot_claim_more_memory_than_its_size(tmp_path, weights):
    path = tmp_path / "old.pth"
    torch.save({"w": torch.zeros(5)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    count = content.index(b"cpu") + len("cpu")  # the number of elements follows: K 5, one byte
    where = content.index(b"K\x05", count)
    path.write_bytes(content[:where] + b"J\xff\xff\xff\x7f" + content[where + 2 :])
    with pytest.raises(LoxoError, match="larger than the file"):
        read_tensors(path)


def test_a_dictionary_that_contains_itself_is_read(tmp_path, weights):
    content = {"model": weights}
    content["self"] = content
    torch.save(content, tmp_path / "weights.ckpt")
    assert same(read_tensors(tmp_path / "weights.ckpt").tensors, weights)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_is_refused_and_not_run(tmp_path, weights, zipped, protocol):
    path, mark = tmp_path / "weights.ckpt", tmp_path / "was_run"
    content = {"hook": Malicious(mark), "state_dict": weights}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    with pytest.raises(LoxoError, match=r"weights\.ckpt: .*othing in it was run"):
        read_tensors(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
        b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R}",  # cut off
        b"\x80\x02}q\x00cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x01\x85R.",
        b"\x80\x04\x8c\x08builtins\x8c\x09bytearray\x93J\xff\xff\xff\x7f\x85R.",
        b"\x80\x02J\x01\x00\x00\x00.\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    ],
)
def test_a_small_pickle_takes_little_memory(tmp_path, pickled):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickled)
    tracemalloc.start()
    with pytest.raises(LoxoError, match="Nothing in it was run"):
        read_tensors(path)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "name", ["builtins.eval", "builtins.getattr", "torch.load", "torch.serialization.load", "os.system"]
)
def test_a_pickle_cannot_name_a_function_outside_the_list(tmp_path, name):
    module, function = name.rsplit(".", 1)
    pickled = f"c{module}\n{function}\n(S'1'\ntR.".encode()
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    with pytest.raises(LoxoError, match="contains code"):
        read_tensors(path)


def test_a_pickle_cannot_set_attributes(tmp_path):
    """BUILD sets attributes of the object on the stack of the pickle, also of functions and classes."""
    for name in ("torch._utils\n_rebuild_tensor_v2", "collections\nOrderedDict", "numpy\ndtype"):
        pickled = f"c{name}\n(N(dS'__defaults__'\nNstb.".encode()
        with zipfile.ZipFile(tmp_path / "weights.pth", "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
        with pytest.raises(LoxoError):
            read_tensors(tmp_path / "weights.pth")
    assert untrusted._TensorUnpickler.tensor.__defaults__ is None


def page(path, weights):
    path.write_text("\n<!DOCTYPE html><html>404</html>")


def cut(path, weights):
    torch.save(weights, path)
    path.write_bytes(path.read_bytes()[:-300])


def cut_old(path, weights):
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-30])


def cut_safetensors(path, weights):
    save_file({"a": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-30])


def script(path, weights):
    torch.save(weights, path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/code.py", whole)


def compressed(path, weights):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10_000)


def no_tensors(path, weights):
    torch.save({"epoch": 1}, path)


def a_list(path, weights):
    torch.save([torch.zeros(2)], path)


def too_large_for_its_storage(path, weights):
    torch.save({"w": torch.zeros(1).expand(1000, 1000, 1000)}, path)


def empty(path, weights):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (page, "web page"),
        (cut, "complete"),
        (cut_old, "complete"),
        (cut_safetensors, "complete"),
        (script, "archive without exactly one"),
        (compressed, "compressed"),
        (no_tensors, "no dictionary of tensors"),
        (a_list, "no dictionary of tensors"),
        (too_large_for_its_storage, "storage"),
        (empty, "complete"),
    ],
)
def test_faults_are_named(tmp_path, weights, make, words):
    path = tmp_path / "weights.ckpt"
    make(path, weights)
    with pytest.raises(LoxoError, match=rf"weights\.ckpt: .*{words}"):
        read_tensors(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LoxoError, match=r"none\.ckpt: cannot be read"):
        read_tensors(tmp_path / "none.ckpt")
