"""Overlap-add: no seams, no dependence on blocks or batches, all of the recording and nothing more."""

import numpy as np
import pytest
from fakes import RATE, STEP, STEPS, BrokenModel, FakeConfig, FakeModel
from hypothesis import given, settings
from hypothesis import strategies as st

from loxo.detection.scores import CHUNK, WindowSums, frame_scores
from loxo.errors import LoxoError

WINDOW = STEP * STEPS


def waveform(samples: int, seed: int = 0) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def expected(samples: np.ndarray) -> np.ndarray:
    """The scores without any windows, which a model without regard for place must give."""
    steps = -(-len(samples) // STEP)
    padded = np.pad(samples, (0, steps * STEP - len(samples)))
    config = FakeModel().config
    model = FakeModel(type(config)(window_samples=steps * STEP, steps=steps))
    return 1 / (1 + np.exp(-model.logits(padded[None])[0]))


@pytest.mark.parametrize("samples", [1, STEP, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + 37, 11 * WINDOW + 350])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("stride", [1, 4])
def test_windows_join_without_seams_and_cover_everything(samples, overlap, stride):
    wave = waveform(samples)
    scores = frame_scores(FakeModel(FakeConfig(stride_steps=stride)), [wave], window_overlap=overlap)
    assert scores.dtype == np.float32 and scores.shape == (2, -(-samples // STEP))
    np.testing.assert_allclose(scores, expected(wave), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9000), st.lists(st.integers(0, 3000), min_size=1, max_size=6), st.integers(1, 9))
def test_neither_blocks_nor_batches_matter(samples, sizes, batch_size):
    wave = waveform(samples)
    model = FakeModel(weight_of_place=3.0)
    blocks, start = [], 0
    while start < samples:
        for size in [*sizes, 1000]:
            blocks.append(wave[start : start + size])
            start += size
    whole = frame_scores(model, [wave], batch_size=4)
    np.testing.assert_array_equal(frame_scores(model, blocks, batch_size=4), whole)
    np.testing.assert_allclose(frame_scores(model, [wave], batch_size=batch_size), whole, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9000), st.sampled_from([0.0, 0.3, 0.6]))
def test_windows_begin_with_a_token(samples, overlap):
    """A front end that works token by token could not be asked for anything else."""
    begun = []

    class Placed(WindowSums):
        def _add(self, stretch, step, offsets):
            begun.extend(step + offset for offset in offsets)
            super()._add(stretch, step, offsets)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loxo.detection.scores.WindowSums", Placed)
        scores = frame_scores(FakeModel(FakeConfig(stride_steps=4)), [waveform(samples)], window_overlap=overlap)
    assert begun and all(step % 4 == 0 for step in begun)
    assert max(begun) + STEPS >= scores.shape[1] > max(begun)


def test_the_whole_waveform_is_never_held(monkeypatch):
    held = []
    whole = WindowSums.add

    def add(self, step, samples, on_group=None):
        held.append(len(samples))
        whole(self, step, samples, on_group)

    monkeypatch.setattr(WindowSums, "add", add)
    frame_scores(FakeModel(), (waveform(997) for _ in range(600)))
    assert len(held) > 5 and max(held) <= CHUNK * WINDOW


def test_a_shift_by_the_hop_shifts_the_scores():
    wave = waveform(6 * WINDOW)
    model = FakeModel(weight_of_place=3.0)
    hop = STEPS // 2
    late = frame_scores(model, [np.zeros(hop * STEP, np.float32), wave], window_overlap=0.5)
    middle = slice(STEPS, -STEPS)
    np.testing.assert_allclose(
        late[:, hop:][:, middle], frame_scores(model, [wave], window_overlap=0.5)[:, middle], atol=1e-6
    )


def test_silence_and_nothing_at_all():
    silent = frame_scores(FakeModel(), [np.zeros(700, np.float32)] * 9)
    assert np.isfinite(silent).all() and silent.max() < 0.02
    assert frame_scores(FakeModel(), []).shape == (2, 0)


def test_bad_options_and_broken_models():
    for options in ({"window_overlap": 1.0}, {"window_overlap": -0.1}, {"batch_size": 0}):
        with pytest.raises(LoxoError):
            frame_scores(FakeModel(), [], **options)
    with pytest.raises(LoxoError, match="scores that are not finite"):
        frame_scores(BrokenModel(), [waveform(RATE)])
