"""The split of the data into training and validation."""

import numpy as np
import soundfile

from loxo.engine.architectures import preset_config
from loxo.training.config import DataConfig, TrainingConfig
from loxo.training.sources import build_sources


def validation_backgrounds(folder, seed, split_seed):
    data = DataConfig(backgrounds=str(folder), validation_windows=24, validation_share=0.3, split_seed=split_seed)
    config = TrainingConfig(data=data, seed=seed)
    about = build_sources(config, preset_config("default"), 100).about["backgrounds"]
    assert not set(about["training"]) & set(about["validation"])
    return tuple(about["validation"])


def test_the_split_does_not_depend_on_the_seed_of_the_run(tmp_path):
    """A run that continues from the weights of another run can keep the same validation data."""
    for k in range(8):
        noise = 0.1 * np.random.default_rng(k).standard_normal(12000)
        soundfile.write(tmp_path / f"site{chr(97 + k)}.wav", noise, 4000)
    assert validation_backgrounds(tmp_path, seed=1, split_seed=3) == validation_backgrounds(
        tmp_path, seed=2, split_seed=3
    )
    assert len({validation_backgrounds(tmp_path, seed=1, split_seed=seed) for seed in range(5)}) > 1
