"""OpenVINO's tests, in a process of their own: with it loaded, the process of all the other tests crashes later on."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_runtime_in_a_process_of_its_own():
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    cases = Path(__file__).with_name("runtime_cases.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(cases)], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
