"""`loxo doctor`: what is stated, what is a problem, and what is kept private."""

import json
import tempfile
from datetime import UTC, datetime
from importlib import metadata

import pytest

import loxo as package
from loxo import doctor
from loxo.installation import install_package

SECONDS = 3.0  # of sound in the timed detection


@pytest.fixture
def healthy(monkeypatch, tmp_path):
    """A machine without problems, with a home folder of its own."""
    home = tmp_path / "alice"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOXO_HOME", str(home / "loxo"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setattr(doctor, "_packages", lambda problems: {"numpy": "2.0"})
    monkeypatch.setattr(doctor, "_audio", lambda problems: {"reads": ".wav"})
    monkeypatch.setattr(doctor, "_detection", lambda problems, sound_s: {"times_real_time": 2000})
    monkeypatch.setattr(doctor, "MIN_FREE_GB", 0.0)
    monkeypatch.setattr(doctor, "RELEASED", datetime(2020, 1, 1, tzinfo=UTC))
    return home


def test_it_measures_detection_and_reads_what_it_can():
    problems: list[str] = []
    detection, audio = doctor._detection(problems, SECONDS), doctor._audio(problems)
    assert "onnxruntime" in detection["runtimes"] and detection["times_real_time"] > 1
    assert {".wav", ".flac", ".mp3"} <= set(audio["reads"].split(", "))
    packages = doctor._requirements()
    assert "numpy" in packages[""] and "torch" in packages["train"] and "torch" not in packages[""]


def test_text_and_json_of_the_command(loxo, healthy):
    code, out, _ = loxo("doctor")
    assert code == 0 and f"loxo                 {package.__version__} (" in out and out.endswith("problems\n  none\n")
    code, out, _ = loxo("doctor", "--json")
    content = json.loads(out)
    assert code == 0 and content["loxo"] == package.__version__ and content["problems"] == []
    assert content["detection"] == {"times_real_time": 2000}
    assert set(content) >= {"installation", "packages", "extras", "disk", "clock", "audio", "language"}


def test_nothing_personal_is_printed(loxo, healthy, monkeypatch):
    def failing(problems):
        raise OSError(f"{healthy}/secret")

    monkeypatch.setattr(doctor, "_audio", failing)
    monkeypatch.setattr(doctor, "_language", lambda problems: {"system": "alice"})
    for options in ([], ["--json"]):
        code, out, _ = loxo("doctor", *options)
        assert code == 1 and "~/secret" in out and "(~/loxo)" in out and "alice" not in out and "USER" in out


def test_each_problem_names_the_way_out(loxo, healthy, monkeypatch):
    monkeypatch.setattr(doctor, "RELEASED", datetime(2999, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(doctor.zoneinfo, "available_timezones", lambda: set())
    monkeypatch.setattr(doctor, "MIN_FREE_GB", 1e9)
    monkeypatch.setattr(tempfile, "tempdir", "/sys")
    code, out, _ = loxo("doctor")
    problems = [line for line in out.split("problems\n")[1].splitlines() if line]
    assert code == 1 and install_package("tzdata") in out and "Set it" in out
    assert sum("nearly full" in line for line in problems) == 4
    assert all(line.endswith((".", "tzdata")) for line in problems), problems


def test_a_missing_package_of_the_core(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "soxr" else "1.0")
    problems: list[str] = []
    assert doctor._packages(problems)["soxr"] is None
    assert len(problems) == 1 and "missing: soxr" in problems[0] and install_package("--force-reinstall") in problems[0]
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    assert "install" in doctor._extras(problems)["train"] and len(problems) == 1  # an extra is no problem


def test_without_metadata_no_package_is_missing(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "requires", absent)
    problems: list[str] = []
    assert doctor._packages(problems) == {} and doctor._extras(problems) == {} and problems == []


def test_a_slow_machine_is_a_problem(monkeypatch):
    ticks = iter([0.0, 10.0 * SECONDS])
    monkeypatch.setattr(doctor.time, "process_time", lambda: next(ticks))
    problems: list[str] = []
    assert doctor._detection(problems, SECONDS)["times_real_time"] == 0 and "slow" in problems[0]
