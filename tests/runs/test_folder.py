"""A run resumes only from results of the same recording and of the same grid of shards."""

import os
from functools import partial

import numpy as np
import pytest
from fakes import CHUNK_S, FakeModel, write

from loxo.detection.part import Part
from loxo.errors import LoxoError
from loxo.runs.folder import RunFolder
from loxo.runs.journal import FAILED, Entry
from loxo.survey.survey import survey

PARAMETERS = {"formats": ["raven"], "keep_scores": False}


def entry(**fields):
    values = {"path": "/sd/a.wav", "recording": "a.wav", "name": "a", "size": 100, "version": "7", "status": FAILED}
    return Entry(**{**values, **fields})


def part(**fields):
    values = {"shard": 0, "of": 2, "samples": 10, "first_step": 0, "sums": np.ones((1, 3)), "weights": np.ones(3)}
    return Part(**{**values, "end": 10, "zeroed": False, "fault": None, "seconds": 1.0, "whole_s": 2.0, **fields})


def test_a_recording_of_the_same_size_with_another_modification_time_is_analysed_again(tmp_path):
    card, out = tmp_path / "card", tmp_path / "run"
    paths = [write(card / f"{k}.wav", 20, seed=k) for k in range(2)]
    run = partial(survey, [card], "fake", load=FakeModel)
    run(out)
    assert run(out).resumed == 2
    before, stat = (out / "events.csv").read_bytes(), paths[0].stat()
    content = bytearray(paths[0].read_bytes())
    content[44:] = bytes(len(content) - 44)  # another recording of the same length: silence
    paths[0].write_bytes(content)
    os.utime(paths[0], ns=(stat.st_atime_ns, stat.st_mtime_ns + 10_000_000))
    assert paths[0].stat().st_size == stat.st_size
    assert run(out).resumed == 1
    assert (out / "events.csv").read_bytes() != before
    run(tmp_path / "new")
    assert (out / "events.csv").read_bytes() == (tmp_path / "new/events.csv").read_bytes()


@pytest.mark.parametrize("fields", [{"size": 101}, {"version": "8"}, {"path": "/sd/b.wav"}])
def test_shards_of_another_recording_are_not_found(tmp_path, fields):
    with RunFolder(tmp_path / "run", PARAMETERS, []) as folder:
        folder.parts([entry()], 10.0).keep(0, part())
        assert list(folder.parts([entry()], 10.0).known(0)) == [0]
        assert folder.parts([entry(**fields)], 10.0).known(0) == {}


def test_shards_of_another_length_are_not_found(tmp_path):
    with RunFolder(tmp_path / "run", PARAMETERS, []) as folder:
        folder.parts([entry()], 10.0).keep(0, part())
        assert folder.parts([entry()], 20.0).known(0) == {}


def test_a_run_that_is_resumed_with_another_shard_length_has_the_same_events(tmp_path):
    write(tmp_path / "card/a.wav", 4.5 * CHUNK_S)
    out = tmp_path / "run"

    class Stopping(FakeModel):
        def logits(self, windows):
            if len(list((out / "parts").rglob("*.npz"))) == 2:
                raise KeyboardInterrupt
            return super().logits(windows)

    with pytest.raises(KeyboardInterrupt):
        survey([tmp_path / "card"], "fake", out, load=Stopping, shard_minutes=CHUNK_S / 60)
    survey([tmp_path / "card"], "fake", out, load=FakeModel, shard_minutes=2 * CHUNK_S / 60)
    survey([tmp_path / "card"], "fake", tmp_path / "whole", load=FakeModel)
    assert (out / "events.csv").read_bytes() == (tmp_path / "whole/events.csv").read_bytes()


def test_two_runs_cannot_write_into_one_folder_at_the_same_time(tmp_path):
    message = f"another run is writing into this folder .process {os.getpid()} on"
    with RunFolder(tmp_path / "run", PARAMETERS, []), pytest.raises(LoxoError, match=message):
        RunFolder(tmp_path / "run", PARAMETERS, []).__enter__()
    with RunFolder(tmp_path / "run", PARAMETERS, []):
        pass
