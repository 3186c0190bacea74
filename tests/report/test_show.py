"""One stretch of a recording as a picture."""

import sys
from dataclasses import dataclass, field

import matplotlib.image
import numpy as np
import pytest
import soundfile
from fakes import FakeModel

from loxo import cli
from loxo.audio.recording import probe
from loxo.detection.detect import analyse
from loxo.engine.config import Calibration, Decoding
from loxo.errors import LoxoError
from loxo.events.raven import write_raven
from loxo.events.table import events_frame
from loxo.report.show import show, stretch_scores

SECONDS = 200


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    path = tmp_path_factory.mktemp("show") / "nn01a_20200101_000000.wav"
    soundfile.write(path, 0.02 * np.random.default_rng(0).standard_normal(SECONDS * 4000), 4000)
    return path


@dataclass(frozen=True)
class Config:
    """Steps of 0.25 s, windows of 10 s."""

    sample_rate: int = 2000
    window_samples: int = 20000
    steps: int = 40
    step_samples: int = 500
    stride_steps: int = 1
    classes: tuple[str, ...] = ("rumble", "gunshot")
    rows: tuple[str, ...] = ("rumble", "gunshot")
    decoding: dict[str, Decoding] = field(default_factory=lambda: {"rumble": Decoding(threshold=0.0)})
    calibration: dict[str, Calibration] = field(default_factory=dict)


class Model(FakeModel):
    """Scores from the level of each step, and from where in the window it lies: a shifted grid would show."""

    def __init__(self) -> None:
        super().__init__(Config())

    def logits(self, windows):
        level = 100 * np.abs(windows.reshape(len(windows), self.config.steps, -1)).mean(2) - 2
        return (np.stack((level, -level), 1) + np.linspace(-1, 1, self.config.steps)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return Model()


@pytest.mark.parametrize("stretch", [(0, 30), (61.3, 95.0), (150, SECONDS)])
def test_scores_are_those_of_the_whole_recording(noise, model, stretch):
    step_s = model.config.step_samples / model.config.sample_rate
    whole = analyse(noise, model).scores
    scores, first = stretch_scores(probe(noise), model, *stretch)
    inside = slice(int(stretch[0] / step_s), int(stretch[1] / step_s))
    part = scores[:, inside.start - first : inside.stop - first]
    np.testing.assert_allclose(part, whole[:, inside], atol=1e-3)  # stored with 11 bits


def test_pictures(noise, model, tmp_path):
    shown = show(noise, tmp_path / "a.png", start=60, duration=40, model=model)
    picture = matplotlib.image.imread(shown.picture)
    assert picture.shape[1] > 1000 and picture.std() > 0.05 and (shown.start_s, shown.end_s) == (60, 100)
    assert show(noise, tmp_path / "b.svg", model="none", band="low").end_s == 120  # of 200: no longer unless asked for
    text = (tmp_path / "b.svg").read_text()
    assert "<svg" in text and "score" not in text


def test_events_of_a_table(noise, tmp_path):
    rows = [{"recording": str(noise), "start_s": s, "end_s": s + 4, "label": "rumble"} for s in (5, 70, 190)]
    write_raven(events_frame(rows), tmp_path / "t.selections.txt")
    shown = show(noise, tmp_path / "a.png", start=60, duration=30, events=tmp_path / "t.selections.txt", model="none")
    assert shown.events == 1
    lone = events_frame([{**rows[0], "recording": "other.wav"}])
    write_raven(lone, tmp_path / "o.selections.txt")
    with pytest.raises(LoxoError, match=r"no event in it is of nn01a_20200101_000000\.wav, but of other\.wav"):
        show(noise, tmp_path / "a.png", events=tmp_path / "o.selections.txt", model="none")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"start": 300.0}, "does not lie within"),
        ({"duration": 7200.0}, "at most 3600 s"),
        ({"duration": 0.0}, "more than 0"),
        ({"band": "middle"}, "no band 'middle'"),
        ({"out": "a.jpg"}, "png, svg, pdf"),
        ({"events": "nowhere.txt"}, "nowhere.txt"),
    ],
)
def test_bad_options(noise, options, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoxoError, match=sentence):
        show(noise, model="none", **options)
    assert not list(tmp_path.iterdir())


def test_the_command(noise, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["loxo", "show", str(noise), "--duration", "10", "--model", "none"])
    cli_code = _run()
    assert cli_code == 0 and "0-10 of 200 s, 0 events" in capsys.readouterr().out
    assert (tmp_path / "nn01a_20200101_000000.png").is_file()


def _run() -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main()
        raise SystemExit(0)
    return int(stopped.value.code or 0)
