"""All commands but `train` and `convert` need nothing but the core dependencies: no package of an extra, no PyTorch."""

import json
import os
import subprocess
import sys

import pytest

EXTRAS = (
    *("torch", "lightning", "tensorboard", "yaml", "onnx", "onnxscript"),  # train
    *("openvino", "dask", "distributed", "s3fs", "aiohttp", "av", "pyarrow", "paho", "sounddevice"),
)
WITHOUT_EXTRAS = f"import sys\nfor name in {EXTRAS}: sys.modules[name] = None\n"  # in worker processes too
IMPORT_ALL = """
import importlib, pkgutil, loxo
for module in pkgutil.walk_packages(loxo.__path__, "loxo."):
    room = module.name.split(".")[1]
    if room not in ("network", "training", "__main__") and module.name not in ("loxo.audio.s3", "loxo.audio.web"):
        importlib.import_module(module.name)
"""
COMMANDS = """
import json, sys
from loxo import cli
for args in json.loads(sys.argv[1]):
    sys.argv = ["loxo", *args]
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            sys.exit(f"loxo {args}: exit code {end.code}")
"""


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory):
    """Every Python process that these tests start imports sitecustomize, and thus lacks the packages of extras."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(WITHOUT_EXTRAS)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        yield


def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)


@pytest.fixture(scope="module")
def detected(tmp_path_factory):
    """A folder with a recording of 108 s, its truth and a run."""
    folder = tmp_path_factory.mktemp("core")
    commands = (
        "simulate --hours 0.03 --file-hours 0.03 --seed 4 --rumbles-per-hour 600 --gunshots-per-hour 300 "
        "--out recordings",
        "detect recordings --out run --keep-scores --workers 1",
    )
    loxo(folder, *commands)
    return folder


def loxo(folder, *commands: str) -> str:
    """Runs commands in `folder`, in one process without the packages of extras; returns what they print."""
    code = f"import os\nos.chdir({str(folder)!r})\n" + COMMANDS
    done = run(code, json.dumps([command.split() for command in commands]))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_room_but_network_and_training_can_be_imported():
    done = run(IMPORT_ALL)
    assert done.returncode == 0, done.stderr


def test_help():
    names = ("detect", "train", "convert", "info")
    text = loxo(".", "--help", *(f"{name} --help" for name in names))
    assert text.count("Usage: loxo") == 5 and text.count("Example:") == 4


def test_events_are_found_and_drawn(detected):
    record = json.loads((detected / "run" / "run.json").read_text())
    assert record["status"] == "finished" and record["recordings"][0]["events"] > 0
    (recording,) = (detected / "recordings").glob("*.flac")
    loxo(detected, "demo --out demo", f"show {recording} --out picture.png")
    assert (detected / "picture.png").stat().st_size > 10_000 and (detected / "demo" / "demo.png").is_file()


def test_a_run_is_decoded_again_reviewed_reported_and_evaluated(detected):
    printed = loxo(
        detected,
        "decode run --threshold 0.3 --out again",
        "review run --export",
        "report run",
        "evaluate --truth recordings/truth.txt --detections run --recordings recordings",
        "score recordings/truth.txt recordings --out scored",
    )
    for name in ("again/events.csv", "run/reviewed", "run/report.html", "scored/truth.txt"):
        assert (detected / name).exists(), name
    assert "rumble" in printed


def test_a_model_is_calibrated_and_described(detected):
    calibrate = "calibrate recordings --truth recordings/truth.txt --out mine.safetensors --workers 1"
    printed = loxo(detected, calibrate, "info mine.safetensors")
    assert "gunshot" in printed and "256 steps" in printed
    assert "PyTorch counts parameters" in printed and '[train]"' in printed
    assert "multiply-accumulates" not in printed


def test_training_conversion_and_the_runtime_state_what_is_missing(detected):
    commands = (
        "train --out model",
        "convert some.ckpt --out some.safetensors",
        "detect recordings --out other --runtime torch",
    )
    for command in commands:
        done = run(f"import os\nos.chdir({str(detected)!r})\n" + COMMANDS, json.dumps([command.split()]))
        assert done.returncode == 1 and "exit code 2" in done.stderr, done.stderr
        assert '[train]"' in done.stderr and "Traceback" not in done.stderr
