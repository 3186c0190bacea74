"""The same bits whatever the shards, batches and processes; and nothing finished is done again."""

import signal
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import CHUNK_S, RATE, FakeConfig, FakeModel, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loxo.audio.recording import RecordingError, probe
from loxo.detection import shards
from loxo.detection.scores import frame_scores
from loxo.detection.shards import Shards, join, make_grid, score_recording, score_shard
from loxo.engine.windows import WINDOW_OVERLAP
from loxo.errors import LoxoError
from loxo.survey.schedule import JOIN, Counted, Options, Schedule
from loxo.survey.survey import survey
from loxo.survey.tasks import perform


def model_of(stride: int) -> FakeModel:
    return FakeModel(FakeConfig(stride_steps=stride), weight_of_place=3.0)


def scores_in_shards(
    path: Path,
    minutes: float,
    order: int = 1,
    window_overlap: float = WINDOW_OVERLAP,
    batch_size: int = 8,
    stride: int = 1,
):
    model, recording = model_of(stride), probe(path)
    grid = make_grid(recording, model.config, window_overlap)
    pieces = grid.shards(minutes)
    numbers = range(len(pieces))[::order]
    parts = {k: score_shard(model, recording, grid, pieces, k, batch_size=batch_size) for k in numbers}
    return join(recording, grid, [parts[k] for k in range(len(pieces))]), len(pieces)


@pytest.mark.parametrize(
    ("name", "rate"), [("a.wav", 1000), ("a.wav", 8000), ("a.flac", 8000), ("a.ogg", 44100), ("a.mp3", 16000)]
)
def test_shards_of_any_length_in_any_order_give_the_same_bits(tmp_path, name, rate):
    path = write(tmp_path / name, 5.3 * CHUNK_S, rate)
    whole, count = scores_in_shards(path, 1440)
    assert count == 1
    for minutes, order, batch_size in [(0.01, -1, 1), (2.2 * CHUNK_S / 60, 1, 16)]:
        joined, count = scores_in_shards(path, minutes, order, batch_size=batch_size)
        assert count > 1 and joined.samples == whole.samples
        assert joined.scores.tobytes() == whole.scores.tobytes()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 60_000), st.sampled_from([0.0, 0.3, 0.5, 0.9]), st.sampled_from([1, 4]))
def test_they_are_the_scores_of_the_whole_waveform(tmp_path, samples, overlap, stride):
    path = tmp_path / "a.wav"
    noise = (0.2 * np.random.default_rng(samples).standard_normal(samples)).astype(np.float32)
    soundfile.write(path, noise, RATE, subtype="FLOAT")
    joined, _ = scores_in_shards(path, 0.01, window_overlap=overlap, stride=stride)
    expected = frame_scores(model_of(stride), [noise], window_overlap=overlap)
    assert joined.samples == samples and joined.scores.shape == expected.shape
    np.testing.assert_allclose(joined.scores, expected, atol=1e-3)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
@pytest.mark.parametrize("kept", [0.4, 0.5, 0.83])
def test_a_cut_recording_ends_at_the_same_place_in_shards(tmp_path, name, kept):
    path = write(tmp_path / name, 4 * CHUNK_S)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    whole, _ = scores_in_shards(path, 1440)
    pieces, _ = scores_in_shards(path, 0.01)
    assert pieces.scores.tobytes() == whole.scores.tobytes() and pieces.samples == whole.samples
    pages = {"a.wav": 0.01, "a.flac": 0.08, "a.ogg": 0.25}[name]  # what is lost with the last page or block
    assert abs(whole.samples / (4 * CHUNK_S * RATE) - kept) < pages


def test_a_recording_that_changes_is_noticed(tmp_path):
    path = write(tmp_path / "a.wav", 3 * CHUNK_S)
    model, recording = FakeModel(), probe(path)
    grid = make_grid(recording, model.config, WINDOW_OVERLAP)
    part = score_shard(model, recording, grid, grid.shards(0.01), 0)
    write(path, 4 * CHUNK_S)
    with pytest.raises(RecordingError, match="changed"):
        join(probe(path), make_grid(probe(path), model.config, WINDOW_OVERLAP), [part])
    for options in ({"window_overlap": 1.0}, {"window_overlap": -0.1}):
        with pytest.raises(LoxoError):
            make_grid(recording, model.config, **options)
    assert score_recording(model, recording, grid).samples == grid.samples


class Memory:
    """Parts in memory."""

    def __init__(self):
        self.parts = {}

    def known(self, index):
        return {shard: part for (k, shard), part in self.parts.items() if k == index}

    def keep(self, index, part):
        self.parts[index, part.shard] = part

    def load(self, index, shard):
        return self.parts[index, shard]


def drain(schedule, model, take_last=False, begun=()):
    """All outcomes; `take_last` does the tasks that are ready in the opposite order. And the tasks done.

    `begun`: tasks that the schedule has given already."""
    outcomes, done = [], []
    options = Options(None, 0.5, 8, False)
    while True:
        ready = [*begun, *iter(schedule.next, None)]
        begun = ()
        if not ready:
            return outcomes, done
        for task in reversed(ready) if take_last else ready:
            done.append((task.index, task.shard))
            outcomes += schedule.take(task, perform(task, model, options))


def count(schedule, task, model, options):
    """What a worker reports when it has opened a recording."""
    reported = []
    perform(task, model, options, lambda done, total, shards: reported.append(Counted(shards)))
    for message in reported[:1]:
        assert not list(schedule.take(task, message))


def test_the_order_of_tasks_does_not_matter_and_kept_shards_are_not_done_again(tmp_path):
    paths = [str(write(tmp_path / f"{k}.wav", seconds)) for k, seconds in enumerate((3, 3.1 * CHUNK_S, 2 * CHUNK_S))]
    cut = write(tmp_path / "cut.flac", 4 * CHUNK_S)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 3])
    paths += [str(cut), str(tmp_path / "none.wav")]
    model = FakeModel()
    forth, _ = drain(Schedule(paths, Memory(), 0.01), model)
    store = Memory()
    back, done = drain(Schedule(paths, store, 0.01), model, take_last=True)
    forth, back = sorted(forth, key=lambda o: o[0]), sorted(back, key=lambda o: o[0])
    assert [index for index, _ in back] == [0, 1, 2, 3, 4] and done.count((1, JOIN)) == 1
    for (_, one), (_, other) in zip(forth, back, strict=True):
        assert one == other if isinstance(one, str) else one.events == other.events and one.fault == other.fault
    assert isinstance(back[4][1], str) and "decoding stopped" in back[3][1].fault

    ahead = Schedule(paths, Memory(), 0.01)
    begun = list(iter(ahead.next, None))
    for task in list(begun):  # opened, but nothing is done yet
        count(ahead, task, model, Options(None, 0.5, 8, False))
    begun += iter(ahead.next, None)
    tasks = [(task.index, task.shard) for task in begun]
    assert len(tasks) == len(set(tasks)) and {index for index, shard in tasks if shard > 0} == {1, 2, 3}
    assert {task for task in tasks if task[0] in (1, 2)} == {task for task in done if task[0] in (1, 2)} - {
        (1, JOIN),
        (2, JOIN),
    }
    counted, _ = drain(ahead, model, begun=begun)
    for (_, one), (_, other) in zip(forth, sorted(counted, key=lambda o: o[0]), strict=True):
        assert one == other if isinstance(one, str) else one.events == other.events and one.fault == other.fault

    del store.parts[1, 1]
    _, again = drain(Schedule(paths, store, 0.01), model)
    assert [task for task in again if task[0] == 1] == [(1, 1), (1, JOIN)]


class Interrupting(FakeModel):
    """Ends the process's run, as `how` says, after some batches."""

    def __init__(self, batches: int, how) -> None:
        super().__init__()
        self.batches, self.how = batches, how

    def logits(self, windows):
        self.batches -= 1
        if self.batches == 0:
            self.how()
        return super().logits(windows)


def ctrl_c():
    raise KeyboardInterrupt


def test_a_run_goes_on_inside_a_long_recording(tmp_path):
    write(tmp_path / "card" / "day.wav", 6 * CHUNK_S)
    run = partial(survey, [tmp_path / "card"], "fake", shard_minutes=CHUNK_S / 60)
    run(tmp_path / "whole", load=FakeModel)
    calls = []

    class Counting(FakeModel):
        def logits(self, windows):
            calls.append(len(windows))
            return super().logits(windows)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", load=lambda: Interrupting(4 * 4 + 2, ctrl_c))
    assert len(list((tmp_path / "run/parts").rglob("*.npz"))) == 4
    (next((tmp_path / "run/parts").rglob("0002.npz"))).write_bytes(b"torn")
    run(tmp_path / "run", load=Counting)
    assert sum(calls) == 3 * shards.CHUNK  # windows: the torn shard, and the two that were not done
    assert not (tmp_path / "run/parts").exists()
    for name in ("events.csv", "tables/day.selections.txt"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_sigterm_ends_like_ctrl_c(tmp_path):
    for k in range(3):
        write(tmp_path / "card" / f"{k}.wav", 10, seed=k)
    before = signal.getsignal(signal.SIGTERM)
    model = Interrupting(5, lambda: (signal.raise_signal(signal.SIGTERM), time.sleep(5)))
    with pytest.raises(KeyboardInterrupt):
        survey([tmp_path / "card"], "fake", tmp_path / "run", load=lambda: model)
    assert signal.getsignal(signal.SIGTERM) is before
    assert '"interrupted"' in (tmp_path / "run/run.json").read_text()
    assert survey([tmp_path / "card"], "fake", tmp_path / "run", load=FakeModel).resumed >= 1


def test_two_runs_cannot_write_one_folder(tmp_path):
    write(tmp_path / "card" / "a.wav", 10)
    inside, leave = threading.Event(), threading.Event()
    model = Interrupting(1, lambda: (inside.set(), leave.wait(60)))
    first = threading.Thread(
        target=survey, args=([tmp_path / "card"], "fake", tmp_path / "run"), kwargs={"load": lambda: model}
    )
    first.start()
    assert inside.wait(60)
    with pytest.raises(LoxoError, match="another run is writing into this folder"):
        survey([tmp_path / "card"], "fake", tmp_path / "run", load=FakeModel)
    leave.set()
    first.join()
    (tmp_path / "run" / ".lock").write_text("process 1 on elsewhere")  # left by a SIGKILL: nobody holds it
    assert survey([tmp_path / "card"], "fake", tmp_path / "run", load=FakeModel).resumed == 1
    assert not (tmp_path / "run" / ".lock").exists()


@pytest.mark.parametrize("size", [1, 2, 3, 12])
def test_shards_cover_all_chunks_and_become_smaller_at_the_end_of_a_long_recording(size):
    for chunks in (1, size, size + 1, 6 * size - 1, 6 * size, 25 * size + 1):
        shards = Shards(chunks, size)
        assert [chunk for shard in shards for chunk in shard] == list(range(chunks)) and shards[-1] == list(shards)[-1]
        lengths = [len(shard) for shard in shards]
        assert max(lengths) <= size and min(lengths) > 0
        if chunks >= 6 * size:
            assert lengths[-2] == max(size // 4, 1) and lengths.count(size) >= 4
        else:
            assert len(shards) == -(-chunks // size)
        with pytest.raises(IndexError):
            shards[len(shards)]
