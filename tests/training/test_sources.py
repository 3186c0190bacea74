"""Training and validation windows never share a background site."""

import numpy as np
import pytest
import soundfile
from fakerun import make_run

from loxo.engine.architectures import preset_config
from loxo.review.output import export
from loxo.review.session import Session
from loxo.training.config import AugmentConfig, DataConfig, TrainingConfig
from loxo.training.sources import build_sources, read_annotations

RATE = 4000
# Each site is a pure tone, so that the spectrum of a window names the sites in it. Prime frequencies, so that no
# harmonic of one is another.
TONES_HZ = (307, 419, 523, 641, 757, 877, 997, 1109)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One recording of 30 s for each site: longer than a window, so that a line stays narrow."""
    path = tmp_path_factory.mktemp("backgrounds")
    for k, hz in enumerate(TONES_HZ):
        tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(30 * RATE) / RATE)
        soundfile.write(path / f"site{chr(97 + k)}.wav", tone, RATE)
    return path


def sources(folder, seed=0, split_seed=0, **augment):
    data = DataConfig(backgrounds=str(folder), validation_windows=48, validation_share=0.3, split_seed=split_seed)
    config = TrainingConfig(data=data, seed=seed, augment=AugmentConfig(**augment))
    return build_sources(config, preset_config("default"), 100)


def sites_in(windows):
    """The tones that are narrow lines in any of the windows (samples,). A window whose background is played faster or
    slower shows none of them; neither do made-up backgrounds."""
    found = set()
    for samples in windows:
        power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
        hz = np.fft.rfftfreq(len(samples), 1 / RATE)
        for tone in TONES_HZ:
            line, around = (power[np.abs(hz - tone) < width].sum() for width in (0.25, 15.0))
            if line > 0.5 * around:
                found.add(tone)
    return found


def validation_sites(folder, seed, split_seed):
    return sites_in(sources(folder, seed, split_seed).validation.samples)


def training_sites(folder, count=40, **augment):
    windows = sources(folder, **augment).training
    return sites_in(windows[k][0].numpy() for k in range(count))


@pytest.mark.parametrize("augment", [{"background": 0.0}, {"background": 1.0}], ids=["windows", "mixed in"])
def test_no_validation_window_has_a_background_of_the_training_windows(folder, augment):
    validation, training = validation_sites(folder, seed=0, split_seed=0), training_sites(folder, **augment)
    assert len(validation) == 3 and len(training) >= 5
    assert not validation & training


def test_the_split_does_not_depend_on_the_seed_of_the_run(folder):
    """So that a run which starts from the weights of another run never trains on the validation sites of that run."""
    first = validation_sites(folder, seed=1, split_seed=3)
    assert len(first) == 3 and validation_sites(folder, seed=2, split_seed=3) == first
    assert {frozenset(validation_sites(folder, seed=1, split_seed=seed)) for seed in (3, 4)} != {frozenset(first)}


def test_the_split_in_the_record_is_that_of_the_windows(folder):
    made = sources(folder)
    listed = {path.rsplit("site", 1)[1][0] for path in made.about["backgrounds"]["validation"]}
    assert {chr(97 + TONES_HZ.index(hz)) for hz in sites_in(made.validation.samples)} == listed
    assert not set(made.about["backgrounds"]["training"]) & set(made.about["backgrounds"]["validation"])


def test_the_folder_of_a_partial_review_gives_calls_hard_negatives_and_searched_spans(tmp_path):
    run = make_run(tmp_path)
    session = Session(run, "Ana")
    session.act([{"row": 0, "verdict": "yes"}, {"row": 2, "verdict": "yes"}, {"row": 4, "verdict": "no"}])
    session.close()
    export(run)
    data = DataConfig(tables=(str(run / "reviewed"),), recordings=(str(tmp_path / "recordings"),))
    first, second = read_annotations(TrainingConfig(data=data), preset_config("default")).recordings
    spans = [(label, start / 4000, stop / 4000) for label, start, stop in first.events]
    assert spans == [("rumble", 12, 17), ("gunshot", 80, 80.6)] and not second.events
    assert second.hard_negatives == ((32000, 50000),) and second.searched
    searched = {(label, start, stop) for label, start, stop in second.ignored if label == "rumble"}
    assert searched == {("rumble", 0, 32000), ("rumble", 50000, second.samples)}  # all but the rejected event
