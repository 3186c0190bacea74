"""The command as a user meets it: exit codes, one line for each fault, nothing half-written."""

import inspect
import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import typer

from loxo import cli, read_raven
from loxo.cli.app import app
from loxo.engine.model_file import find_model
from loxo.simulation.rumble import draw_rumble, synthesise_rumble
from loxo.training.config_io import KEYS

RATE = 4000
COMMANDS = (
    "demo",
    "detect",
    "decode",
    "score",
    "review",
    "report",
    "show",
    "evaluate",
    "train",
    "calibrate",
    "fetch",
    "simulate",
    "info",
    "convert",
    "doctor",
    "completion",
)


def rumble(seconds: float = 8.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Noise with a gliding 20 Hz line and its harmonics in the middle."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    noise = 0.01 * rng.standard_normal(len(t))
    middle = (t > 0.3 * seconds) & (t < 0.8 * seconds)
    rise = np.clip((t / seconds - 0.3) / 0.5, 0, 1)  # through the call: a line that stood still would be a machine's
    phase = 2 * np.pi * np.cumsum(18 + 4 * np.sin(np.pi * rise)) / rate
    return (noise + middle * 0.05 * (np.sin(phase) + np.sin(2 * phase) + 0.5 * np.sin(3 * phase))).astype(np.float32)


def test_help_and_version(loxo):
    code, out, _ = loxo("--help")
    assert code == 0 and all(name in out for name in COMMANDS)
    for name in COMMANDS:
        code, out, _ = loxo(name, "--help")
        assert code == 0 and "Example:" in out and f"loxo {name}" in out
    assert loxo("--version")[1].startswith("loxo 0.")


def test_every_kind_of_recording_and_of_fault_in_one_run(loxo, tmp_path):
    card = tmp_path / "card"
    card.mkdir()
    sound = rumble()
    for name, subtype in (("pcm8", "PCM_U8"), ("pcm16", "PCM_16"), ("pcm24", "PCM_24"), ("float", "FLOAT")):
        soundfile.write(card / f"{name}.wav", sound, RATE, subtype=subtype)
    soundfile.write(card / "stereo.wav", np.stack((sound, sound), 1), RATE)
    soundfile.write(card / "fast.wav", rumble(rate=48000), 48000)
    soundfile.write(card / "short.flac", sound[: RATE // 2], RATE)
    works = 7
    (card / "zero.wav").touch()
    (card / "text.wav").write_text("this is not audio\n" * 50)
    soundfile.write(card / "nothing.wav", np.zeros(0, np.float32), RATE)
    whole = (card / "pcm16.wav").read_bytes()
    (card / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").mkdir()
    run = tmp_path / "run"
    code, out, err = loxo("detect", card, tmp_path / "empty", tmp_path / "lost.wav", "--out", run, "--workers", 1)
    assert code == 1 and "Traceback" not in err
    problems = [line for line in err.splitlines() if line.startswith("problem: ")]
    for name in ("zero.wav", "text.wav", "nothing.wav", "cut.wav", "empty", "lost.wav"):
        assert sum(f"/{name}:" in line for line in problems) == 1, name
    assert len(problems) == 6 and "6 problems" in out
    record = json.loads((run / "run.json").read_text())
    status = {item["recording"].rsplit("/", 1)[1]: item["status"] for item in record["recordings"]}
    assert sorted(name for name, value in status.items() if value == "failed") == [
        "nothing.wav",
        "text.wav",
        "zero.wav",
    ]
    assert status["cut.wav"] == "truncated" and sum(value == "done" for value in status.values()) == works
    tables = sorted(path.name for path in (run / "tables").iterdir())
    assert len(tables) == works + 1 and all(name.endswith(".selections.txt") for name in tables)
    assert not [path for path in run.rglob("*") if path.name.startswith(".")]
    events = pd.read_csv(run / "events.csv")
    assert set(events["recording"].map(os.path.basename)) >= {"pcm16.wav", "pcm24.wav", "float.wav", "stereo.wav"}
    table = read_raven(run / "tables" / "pcm16.selections.txt")
    assert list(table["label"]) == ["rumble"] and 1 < table["start_s"][0] < 4 < table["end_s"][0] < 7.9


def test_a_run_folder_of_other_parameters_is_refused_and_the_same_resumed(loxo, tmp_path):
    soundfile.write(tmp_path / "a.wav", rumble(), RATE)
    run = ("detect", tmp_path / "a.wav", "--out", tmp_path / "run", "--workers", 1)
    assert loxo(*run)[0] == 0
    before = (tmp_path / "run" / "events.csv").read_bytes()
    code, _, err = loxo(*run, "--threshold", 0.1)
    assert code == 2 and err.count("error: ") == 1 and "threshold" in err
    assert (tmp_path / "run" / "events.csv").read_bytes() == before
    assert loxo(*run)[0] == 0 and (tmp_path / "run" / "events.csv").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    code, _, err = loxo("detect", tmp_path / "a.wav", "--out", tmp_path / "mine")
    assert code == 2 and "not empty" in err and len(list((tmp_path / "mine").iterdir())) == 1


def test_the_threshold_selects_and_does_not_move(loxo, tmp_path):
    rng = np.random.default_rng(6)  # of a call that is beyond doubt
    call = synthesise_rumble(draw_rumble(rng), RATE, rng).samples
    sound = np.pad(0.3 * call / np.abs(call).max(), 2 * RATE) + 0.01 * rng.standard_normal(len(call) + 4 * RATE)
    soundfile.write(tmp_path / "a.wav", sound, RATE)
    found = {}
    for threshold in (0, 0.5, 1):
        out = tmp_path / f"run{threshold}"
        assert loxo("detect", tmp_path / "a.wav", "--out", out, "--threshold", threshold, "--workers", 1)[0] == 0
        table = pd.read_csv(out / "events.csv")
        found[threshold] = {tuple(row) for row in table[["start_s", "end_s", "label", "score"]].to_numpy()}
    assert found[1] <= found[0.5] <= found[0] and found[0.5] and len(found[0]) > len(found[1])
    assert loxo("detect", tmp_path / "a.wav", "--out", tmp_path / "x", "--threshold", 1.5)[0] == 2


def test_nothing_to_do_is_an_error(loxo, tmp_path):
    code, _, err = loxo("detect", tmp_path / "lost", "--out", tmp_path / "run")
    assert code == 2 and "lost" in err and not (tmp_path / "run").exists()
    code, _, err = loxo("detect", tmp_path, "--out", tmp_path / "run", "--model", "gpt")
    assert code == 2 and not (tmp_path / "run").exists()


def unwritable(tmp_path) -> Path:
    """A folder nobody may write to; root may write to any ordinary one, so it gets a folder of the kernel's."""
    if os.geteuid() == 0:
        if not Path("/sys/kernel").is_dir():
            pytest.skip("root may write everywhere on this system")
        return Path("/sys")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    return locked


def test_no_permission_to_write(loxo, tmp_path):
    soundfile.write(tmp_path / "a.wav", rumble(), RATE)
    train = [("train", "--iterations", 1)] if find_spec("lightning") else []
    for command in (("detect", tmp_path / "a.wav"), ("simulate", "--hours", 0.01), ("demo",), *train):
        code, _, err = loxo(*command, "--out", unwritable(tmp_path) / "run")
        assert code == 2 and err.count("error: ") == 1 and "run" in err and "Traceback" not in err, command


def test_a_place_that_cannot_hold_a_folder(loxo, tmp_path):
    soundfile.write(tmp_path / "a.wav", rumble(), RATE)
    code, _, err = loxo("detect", tmp_path / "a.wav", "--out", tmp_path / "a.wav" / "run")
    assert code == 2 and err.count("error: ") == 1 and "Traceback" not in err


def test_simulate_then_detect(loxo, tmp_path):
    code, out, _ = loxo(
        "simulate",
        "--hours",
        0.05,
        "--file-hours",
        0.05,
        "--rumbles-per-hour",
        120,
        "--seed",
        3,
        "--out",
        tmp_path / "sim",
    )
    assert code == 0 and "rumbles" in out
    assert loxo("detect", tmp_path / "sim", "--out", tmp_path / "run", "--workers", 1)[0] == 0
    code, _, err = loxo("simulate", "--hours", 0.05, "--out", tmp_path / "sim")
    assert code == 2 and "empty" in err


def test_the_demo_finds_most_of_what_it_made(loxo, tmp_path):
    folder = tmp_path / "demo"
    code, out, err = loxo("demo", "--out", folder)
    assert code == 0 and f"loxo review {folder / 'run'}" in out and "4/4" not in out, err
    truth, found = read_raven(folder / "truth.selections.txt"), pd.read_csv(folder / "run" / "events.csv")
    assert len(truth) == 7 and (folder / "demo.png").stat().st_size > 10_000
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert len(found) == 5 and "3 rumbles and 2 gunshots" in page
    missed = [line for line in out.splitlines() if line.startswith("missed")]
    assert len(missed) == 2 and "fainter than the background: score" in missed[1] and "hides it" in missed[0]
    assert "5 of 7 events found, 2 missed, 0 false positives" in out
    code, _, err = loxo("demo", "--out", folder)  # again, in the same place
    assert code == 0, err
    run = folder / "run"
    recording = next(folder.glob("*.flac"))
    shutil.rmtree(run)
    assert loxo("detect", recording, "--out", run, "--window-overlap", "0.5")[0] == 0
    code, _, err = loxo("demo", "--out", folder)  # after a run with other parameters
    assert code == 0 and len(pd.read_csv(run / "events.csv")) == 5, err
    shutil.rmtree(run)
    assert loxo("detect", recording, "--out", run, "--window-overlap", "0.5")[0] == 0
    (run / "review").mkdir()
    code, _, err = loxo("demo", "--out", folder)
    assert code == 2 and "other parameters" in err and (run / "review").is_dir()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_scripts(loxo, shell):
    code, out, _ = loxo("completion", shell)
    assert code == 0 and "_LOXO_COMPLETE" in out and f"complete_{shell}" in out


def test_completion_knows_all_commands_and_options(loxo, monkeypatch):
    def completed(words: str) -> set[str]:
        monkeypatch.setenv("_LOXO_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        code, out, _ = loxo()
        assert code == 0
        return set(out.split())

    group = typer.main.get_command(app)
    assert completed("loxo ") == set(group.commands)
    for name, command in group.commands.items():
        options = {text for option in command.params for text in (*option.opts, *option.secondary_opts)}
        expected = {text for text in options if text.startswith("--")}
        assert completed(f"loxo {name} --") == {*expected, "--help"}, name
    assert completed("loxo completion f") == {"fish"}


def test_the_bundled_model_is_small_and_comes_with_its_card():
    path = find_model("default")
    assert path.stat().st_size < 15e6
    card = " ".join(path.with_name("default.md").read_text().split())
    for word in ("Elephant Listening Project", "licence", "recordings.md", "Limits"):
        assert word in card
    recordings = path.with_name("recordings.md").read_text()
    assert "licence and attribution" in recordings and "10.17632/x48cwz364j.3" in recordings


def test_ctrl_c_says_how_to_go_on(loxo, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("loxo.survey.survey.survey", interrupted)
    code, _, err = loxo("detect", tmp_path, "--out", tmp_path / "run")
    assert code == 130 and "the same command resumes" in err and "Abort" not in err


def test_info_and_convert(loxo, tmp_path):
    torch = pytest.importorskip("torch")
    from loxo.network.registry import build

    code, out, _ = loxo("info")
    assert code == 0 and "0.08 s: 256 steps" in out and "rumble, gunshot" in out
    page = tmp_path / "page.ckpt"
    page.write_text("<html>not found</html>")
    code, _, err = loxo("convert", page, "--out", tmp_path / "model.safetensors")
    assert code == 2 and "web page" in err and not (tmp_path / "model.safetensors").exists()
    network = build("audioset", embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), classes=("a", "b"))
    state = {f"sed_model.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "official.ckpt")
    code, out, _ = loxo("convert", tmp_path / "official.ckpt", "--out", tmp_path / "model.safetensors")
    assert code == 0 and "weights found" in out
    code, out, _ = loxo("info", tmp_path / "model.safetensors")
    assert code == 0 and "htsat" in out and "official.ckpt" in out


def test_options_of_train_have_the_defaults_of_the_training_config():
    """Only the dataclasses in training/config.py contain defaults."""
    command = {name: option.default for name, option in inspect.signature(cli.train.train).parameters.items()}
    defaults = {name: KEYS[key].default for name, key in cli.train.OPTION_KEYS.items()}
    assert len(defaults) >= 8 and {name: command[name] for name in defaults} == defaults


def test_a_missing_extra_is_told(loxo, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "loxo.training.train", None)
    code, _, err = loxo("train", "--out", tmp_path / "run")
    assert code == 2 and "pip install" in err and "[train]" in err
    shutil.rmtree(tmp_path / "run", ignore_errors=True)


def test_a_fault_of_loxo_is_one_sentence_and_a_file(monkeypatch, tmp_path, capsys):
    import loxo.cli

    monkeypatch.setenv("LOXO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(loxo.cli, "app", lambda **_: {}["missing"])
    with pytest.raises(SystemExit) as end:
        loxo.cli.main()
    err = capsys.readouterr().err
    assert end.value.code == 70  # the app shows such a job as failed
    assert "KeyError" in err and "fault.txt" in err and "loxo doctor" in err and "Traceback" not in err
    assert "Traceback" in (tmp_path / "home" / "fault.txt").read_text()
