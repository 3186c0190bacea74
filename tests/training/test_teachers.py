"""Distillation: training on the outputs of other models."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from loxo import LoxoError, load_model
from loxo.engine.architectures import HTSATConfig
from loxo.files import sha256_of
from loxo.network.loading import save_model
from loxo.network.registry import build
from loxo.training.config import AugmentConfig, DataConfig, DistilConfig, LogConfig, TrainingConfig
from loxo.training.module import FrameTraining, overlap_loss, window_loss, with_targets_at_borders
from loxo.training.targets import IGNORED, PAUSE
from loxo.training.teachers import Teachers, load_teachers
from loxo.training.train import train

SIZE = {
    "embed_dim": 8,
    "num_heads": (1, 2, 4),
    "depths": (1, 1, 1),
    "window_samples": 20480,
    "image_frames": 128,
    "call_overlap": False,
}


def tiny(seed, **changes):
    torch.manual_seed(seed)
    return build(HTSATConfig.preset("default", **{**SIZE, "drop_path": 0.0, **changes}))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    waveform = 0.1 * torch.randn(3, 20480, generator=generator)
    targets = torch.rand(3, 2, 8, generator=generator).round().repeat_interleave(8, 2)
    return waveform, targets


def loss_of(student, teachers, waveform, targets, share, **changes):
    config = TrainingConfig(distil=DistilConfig(share=share), augment=AugmentConfig(**changes))
    return FrameTraining(student.eval(), config, teachers)(waveform, targets, np.random.default_rng(1))


def test_the_loss_combines_the_targets_and_the_mean_output_of_the_teachers(batch):
    waveform, targets = batch
    student, models = tiny(1), [tiny(2).eval(), tiny(3, classes=("gunshot", "rumble")).eval()]
    logits = student.eval().logits_and_latent(waveform)[0]
    first, second = (model.logits_and_latent(waveform)[0] for model in models)
    scores = ((first + second.flip(1)) / 2).sigmoid()
    supervised = window_loss(logits, targets, TrainingConfig().loss, "max")
    distilled = F.binary_cross_entropy_with_logits(logits, with_targets_at_borders(scores, targets))
    got = loss_of(student, Teachers(models, student), waveform, targets, 0.3)
    torch.testing.assert_close(got, 0.7 * supervised + 0.3 * distilled)
    assert abs(float(supervised.detach() - distilled.detach())) > 1e-3


def test_at_the_borders_of_events_only_the_targets_count():
    targets = torch.tensor([[[0, 0, 0, 1, 1, 1, PAUSE, 1, 1, 1, IGNORED, IGNORED, IGNORED, 0, 0]]])
    scores = torch.full(targets.shape, 0.3)
    got = with_targets_at_borders(scores, targets)[0, 0]
    expected = [0.3, 0.3, 0, 1, 0.3, 1, 0, 1, 0.3, 1, 0.3, 0.3, 0.3, 0, 0.3]
    torch.testing.assert_close(got, torch.tensor(expected))


def test_a_teacher_may_have_another_front_end_and_its_input_is_not_masked(batch):
    waveform, targets = batch
    student, other = tiny(1), tiny(2, fmin=12.0)
    teachers = Teachers([other], student)
    expected = other.eval().logits_and_latent(waveform)[0].sigmoid()
    torch.testing.assert_close(teachers(waveform, student.frontend(waveform)), expected)
    same = Teachers([student], student)
    image = student.frontend(waveform)
    torch.testing.assert_close(same(waveform, image), same(torch.zeros_like(waveform), image))
    received = []
    same.register_forward_hook(lambda _, inputs, __: received.append(inputs[1]))
    loss_of(student, same, waveform, targets, 0.5, band_masks=3, band_mask_share=0.5)
    torch.testing.assert_close(received[0], image)


def test_teachers_do_not_affect_the_call_overlap_rows(batch):
    """Whether a teacher has such rows or not, only the targets count for them."""
    waveform, targets = batch
    student, teachers = tiny(1, call_overlap=True), [tiny(2), tiny(3, call_overlap=True)]
    rows = torch.cat((targets, targets), 1)
    logits = student.eval().logits_and_latent(waveform)[0]
    scores = torch.stack([model.eval().logits_and_latent(waveform)[0][:, :2] for model in teachers]).mean(0).sigmoid()
    distilled = F.binary_cross_entropy_with_logits(logits[:, :2], with_targets_at_borders(scores, targets))
    got = loss_of(student, Teachers(teachers, student), waveform, rows, 1.0)
    torch.testing.assert_close(got, distilled + overlap_loss(logits[:, 2:], targets))


def test_teachers_are_not_trained(batch):
    waveform, targets = batch
    student, teacher = tiny(1), tiny(2).requires_grad_(False)
    before = [value.clone() for value in teacher.state_dict().values()]
    module = FrameTraining(student, TrainingConfig(distil=DistilConfig(share=1.0)), Teachers([teacher], student))
    module.train()
    optimiser = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(6):
        optimiser.zero_grad()
        loss = module(waveform, targets, np.random.default_rng(1))
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 1e-3
    for old, new in zip(before, teacher.state_dict().values(), strict=True):
        assert torch.equal(old, new)


def test_a_run_with_teachers_stores_their_hashes_and_can_be_resumed(tmp_path, interrupt):
    save_model(tiny(2), tmp_path / "teacher.safetensors")
    config = TrainingConfig(
        model=SIZE,
        distil=DistilConfig(teachers=(str(tmp_path / "teacher.safetensors"),), share=0.7),
        data=DataConfig(validation_windows=4),
        log=LogConfig(plots=0, tensorboard=False),
        iterations=3,
        batch_size=2,
        validation_interval=3,
        checkpoint_interval=1,
        workers=0,
        precision="32-true",
    )

    teacher = tmp_path / "teacher.safetensors"
    interrupt(config, tmp_path / "run", after=1)
    assert json.loads((tmp_path / "run/run.json").read_text())["teachers"] == {str(teacher): sha256_of(teacher)}
    original = teacher.read_bytes()
    save_model(tiny(3), teacher)
    with pytest.raises(LoxoError, match=r"teacher\.safetensors: this is not the model"):
        train(config, tmp_path / "run", resume=True)
    teacher.write_bytes(original)
    path = train(config, tmp_path / "run", resume=True)
    whole = train(config, tmp_path / "whole")
    for (name, one), other in zip(load_model(path).named_parameters(), load_model(whole).parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5, msg=name)
    alone = train(dataclasses.replace(config, distil=DistilConfig()), tmp_path / "alone")
    assert any(
        not torch.allclose(one, other, atol=1e-5)
        for one, other in zip(load_model(path).parameters(), load_model(alone).parameters(), strict=True)
    )
    assert load_model(path).provenance["training"]["distil"] == {"teachers": ["teacher.safetensors"], "share": 0.7}
    assert json.loads((tmp_path / "run/run.json").read_text())["config"]["distil"]["share"] == 0.7


def test_a_teacher_that_does_not_match_the_student_is_an_error(tmp_path):
    student, file = tiny(1), tmp_path / "other.safetensors"
    assert load_teachers(DistilConfig(), student) is None
    config = DistilConfig(teachers=(str(file),))
    with pytest.raises(LoxoError, match="no such model file"):
        load_teachers(config, student)
    save_model(tiny(2, classes=("gunshot",)), file)
    with pytest.raises(LoxoError, match="no class rumble"):
        load_teachers(config, student)
    save_model(tiny(2, window_samples=40960, image_frames=256), file)
    with pytest.raises(LoxoError, match="window_samples is 40960 in this teacher, but 20480 in the model"):
        load_teachers(config, student)
