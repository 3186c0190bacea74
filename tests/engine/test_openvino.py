"""OpenVINO's tests, in a process of their own: with it loaded, the process of all other tests crashes later."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_openvino_in_a_process_of_its_own():
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    cases = Path(__file__).with_name("runtime_cases.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(cases)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LOXO_TESTS_LOAD_OPENVINO": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
