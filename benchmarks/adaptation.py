"""Adapts the bundled model to a made-up site with few annotated calls, and tests it on another day.

    python benchmarks/adaptation.py [--calls 5 10 20 50] [--seeds 0 1 2] [--work runs/bench-adaptation] [--no-control]

The site has voices and machines of its own. This file generates them, independently of loxo.simulation. For each seed
there is a test day (6 x 20 min, 60 calls) and for each number of calls a training day (3 x 10 min) of the same voices
and machines. `loxo adapt` adapts the bundled model, in one command. Beside it: the bundled model, and `loxo train` with
as many simulated windows alone.

Printed: event AP and recall at 1 false positive per hour on the test day with 95 % intervals, both figures of the
adapted model without the decision, CPU minutes, and the decision. Results in the folder of --work are not computed
again.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

import reporting

RATE = 4000
TRAINING_DAY, TEST_DAY = (3, 600), (6, 1200)  # recordings, seconds of each
TEST_CALLS = 60
MARGIN_S = 12.0  # least time between the starts of two calls
Sound = NDArray[np.float64]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("runs/bench-adaptation"))
    parser.add_argument("--no-control", action="store_true", help="without the training on simulated windows alone")
    options = parser.parse_args()
    print("| seed | calls | AP (95 %) | recall at 1 FP/h (95 %) | without decision | CPU min | decision |")
    print("|---|---|---|---|---|---|---|", flush=True)
    worse = 0
    starts = {}
    for seed in options.seeds:
        site = options.work / f"site{seed}"
        write_day(site / "test", seed, day=1, calls=TEST_CALLS, size=TEST_DAY)
        starts[seed] = measured(site, "default", "default")
        print_row(seed, "default", starts[seed])
        for calls in options.calls:
            day, out = site / f"day{calls}", site / f"adapt{calls}"
            write_day(day, seed, day=0, calls=calls, size=TRAINING_DAY)
            again = ["--resume"] if (out / "fold-1/run.json").is_file() else []
            minutes = run(out / "run.json", "adapt", day, "--recordings", day, "--out", out, *again)
            result = json.loads((out / "run.json").read_text())["result"]
            # both files have the same weights if the adapted model is used, and only model.safetensors has a graph
            name = "model" if result["adapted"] else "candidate"
            trained = measured(site, f"trained{calls}", out / f"{name}.safetensors")
            found = trained if result["adapted"] else starts[seed]
            without = f"{trained['ap']:.3f} / {trained['recall']:.3f}"
            print_row(seed, calls, found, without, minutes, result["decision"].partition(":")[0].partition(",")[0])
            worse += found["ap"] < starts[seed]["ap"] - 1e-9
    if not options.no_control:
        for seed in options.seeds:
            site = options.work / f"site{seed}"
            folds = json.loads((site / f"adapt{options.calls[0]}" / "run.json").read_text())["config"]
            iterations = folds["data"]["folds"] * folds["iterations"]
            keys = ("batch_size", "learning_rate", "init_from")
            words = [f"iterations={iterations}", f"validation_interval={iterations}", "start_share=0.2"]
            words += [f"{key}={folds[key]}" for key in keys]
            minutes = run(site / "control/model.onnx", "train", *words, "--out", site / "control")
            print_row(
                seed, "simulated alone", measured(site, "control", site / "control/model.safetensors"), "", minutes
            )
    print(f"\nworse than the start on the test day: {worse} of {len(options.seeds) * len(options.calls)} runs")
    return int(worse > 0)


def run(result: Path, *words: object) -> float | None:
    """Runs a command of loxo unless its result exists. Returns the CPU minutes of all its processes.

    They are kept beside the result; they are None if a former run of the benchmark was interrupted before it kept them.
    """
    kept = result.with_suffix(".minutes")
    if result.is_file():
        return float(kept.read_text()) if kept.is_file() else None
    before = cpu_seconds()
    command = [sys.executable, "-c", "from loxo.cli import main; main()", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    if not result.is_file():
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stderr}")
    minutes = (cpu_seconds() - before) / 60
    kept.write_text(f"{minutes:.2f}\n")
    return minutes


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measured(site: Path, name: str, model: object) -> dict[str, Any]:
    """The figures of a model on the test day. All its events are judged, whatever its thresholds."""
    found = site / "found" / name
    result = found.with_suffix(".json")
    run(found / "run.json", "detect", site / "test", "--model", model, "--threshold", 0.01, "--out", found)
    run(
        result,
        "evaluate",
        "--truth",
        site / "test",
        "--detections",
        found,
        "--recordings",
        site / "test",
        "--json",
        result,
    )
    figures = json.loads(result.read_text())["detectors"][0]["classes"]["rumble"]["criteria"]["iou30"]
    at_one = next(row for row in figures["at"] if row["rate"] == 1)
    return {
        "ap": figures["ap"],
        "ap_interval": figures["ap_95"],
        "recall": at_one["recall"],
        "recall_interval": at_one["recall_95"],
    }


def print_row(
    seed: int, calls: object, found: dict[str, Any], without: str = "", minutes: float | None = None, words: str = ""
) -> None:
    ap, recall = (
        f"{found[key]:.3f} ({found[f'{key}_interval'][0]:.3f}-{found[f'{key}_interval'][1]:.3f})"
        for key in ("ap", "recall")
    )
    spent = "" if minutes is None else f"{minutes:.1f}"
    print(f"| {seed} | {calls} | {ap} | {recall} | {without} | {spent} | {words} |", flush=True)


# ---------------------------------------------------------------- the site


def write_day(folder: Path, seed: int, day: int, calls: int, size: tuple[int, int]) -> None:
    """Recordings of one day and a table of the calls in them. The voices and machines depend on `seed` only."""
    if (folder / "calls.csv").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    site, rng = Site(np.random.default_rng((seed, 99))), np.random.default_rng((seed, day, calls))
    count, seconds = size
    rows = ["recording,start_s,end_s,label"]
    numbers = np.bincount(rng.permutation(np.arange(calls) % count), minlength=count)
    for k, number in enumerate(numbers):
        sound = site.background(rng, seconds, day)
        name = f"site_202401{10 + day:02d}_{6 + k:02d}0000.wav"
        slots = np.sort(rng.permutation(int(seconds / MARGIN_S) - 1)[:number])
        for slot in slots:
            start_s = (slot + rng.uniform(0.1, 0.5)) * MARGIN_S
            call = site.call(rng)
            at = int(start_s * RATE)
            part = sound[at : at + len(call)]
            level = band_rms(part, 10, 150) * 10 ** (rng.uniform(-9, 9) / 20) / band_rms(call, 10, 150)
            sound[at : at + len(call)] += level * call
            rows.append(f"{name},{start_s:.2f},{start_s + len(call) / RATE:.2f},rumble")
        soundfile.write(folder / name, 0.5 * sound / np.abs(sound).max(), RATE, subtype="PCM_16")
    (folder / "calls.csv").write_text("\n".join(rows) + "\n")


class Site:
    """The voices of a site's elephants, and its machines."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.voices = [
            {
                "f0": rng.uniform(11, 22),
                "bend": rng.uniform(-0.25, 0.35),  # of the fundamental, in the second half
                "harmonics": np.exp(rng.normal(0, 1.0, 9)) * np.arange(1, 10) ** -rng.uniform(0.2, 1.2),
                "tremor_hz": rng.uniform(1.0, 4.0),
                "tremor": rng.uniform(0.0, 0.5),
                "seconds": rng.uniform(2.0, 6.0),
            }
            for _ in range(4)
        ]
        self.engine_hz = rng.uniform(17, 34)
        self.engine_levels = np.exp(rng.normal(0, 0.8, 14)) / np.arange(1, 15) ** 0.5
        self.pump_hz, self.pump_period = rng.uniform(30, 70), rng.uniform(4, 9)
        self.tilt = rng.uniform(0.6, 1.3)

    def call(self, rng: np.random.Generator) -> Sound:
        voice = self.voices[rng.integers(len(self.voices))]
        size = int(voice["seconds"] * rng.uniform(0.75, 1.3) * RATE)
        x = np.linspace(0, 1, size)
        bend = voice["bend"] * np.clip(2 * x - 0.8, 0, None) ** 2 + rng.normal(0, 0.03) * np.sin(2 * np.pi * x)
        hz = voice["f0"] * rng.uniform(0.93, 1.07) * (1 + bend)
        phase = 2 * np.pi * np.cumsum(hz) / RATE
        out = sum(
            level * np.exp(rng.normal(0, 0.25)) * np.sin((k + 1) * phase + rng.uniform(0, 6.3))
            for k, level in enumerate(voice["harmonics"])
        )
        tremor = 1 + voice["tremor"] * np.sin(2 * np.pi * voice["tremor_hz"] * size / RATE * x + rng.uniform(0, 6.3))
        return np.asarray(out * tremor * np.clip(x / 0.15, 0, 1) * np.clip((1 - x) / 0.2, 0, 1))

    def background(self, rng: np.random.Generator, seconds: int, day: int) -> Sound:
        """Noise, gusts, an engine that runs part of the time and strains, a pump, and passing vehicles."""
        size = seconds * RATE
        out = shaped(rng, size, lambda hz: np.maximum(hz, 8) ** -self.tilt)
        t = np.arange(size) / RATE
        gusts = np.interp(t, np.arange(0, seconds + 5, 5), np.exp(rng.normal(-0.5, 1.0, seconds // 5 + 1)))
        out += 0.5 * gusts * shaped(rng, size, lambda hz: 1 / (1 + (hz / 25) ** 2))
        for _ in range(max(1, seconds // 240)):  # the engine starts, strains and stops
            length = int(rng.uniform(15, 90) * RATE)
            at = int(rng.integers(0, size - length))
            x = np.linspace(0, 1, length)
            drift = np.interp(x, np.linspace(0, 1, 9), rng.normal(0, 0.05, 9))
            phase = 2 * np.pi * np.cumsum(self.engine_hz * (1 + 0.08 * day) * (1 + drift)) / RATE
            engine = sum(a * np.sin((k + 1) * phase + k) for k, a in enumerate(self.engine_levels))
            out[at : at + length] += rng.uniform(0.1, 0.7) * engine * np.sin(np.pi * x) ** 0.3
        for start in np.arange(rng.uniform(0, 60), seconds - 5, 90):  # three strokes of the pump
            for stroke in range(3):
                length = int(rng.uniform(1.0, 2.0) * RATE)
                at = min(int((start + stroke * self.pump_period) * RATE), size - length)
                x = np.arange(length) / RATE
                sound = sum(np.sin(2 * np.pi * self.pump_hz * k * x * (1 - 0.05 * x)) / k for k in (1, 2, 3))
                out[at : at + length] += rng.uniform(0.2, 0.9) * sound * np.exp(-2 * x) * np.clip(x / 0.1, 0, 1)
        for _ in range(max(1, seconds // 300)):  # a vehicle passes
            length = int(rng.uniform(8, 25) * RATE)
            at = int(rng.integers(0, size - length))
            x = np.linspace(-1, 1, length)
            band = shaped(rng, length, lambda hz: np.exp(-0.5 * (np.log(np.maximum(hz, 1) / 60) / 0.5) ** 2))
            out[at : at + length] += rng.uniform(0.5, 2.5) * band * np.exp(-4 * x**2)
        return out


def shaped(rng: np.random.Generator, size: int, response: Any) -> Sound:
    """Gaussian noise of unit RMS with this amplitude response."""
    spectrum = np.fft.rfft(rng.normal(size=size)) * response(np.fft.rfftfreq(size, 1 / RATE))
    spectrum[0] = 0
    sound = np.fft.irfft(spectrum, size)
    return np.asarray(sound / sound.std())


def band_rms(sound: Sound, low_hz: float, high_hz: float) -> float:
    spectrum, hz = np.fft.rfft(sound), np.fft.rfftfreq(len(sound), 1 / RATE)
    return float(np.sqrt((np.abs(spectrum[(hz >= low_hz) & (hz < high_hz)]) ** 2).sum()) / len(sound)) + 1e-12


if __name__ == "__main__":
    with reporting.section("bench-adaptation"):
        code = main()
    sys.exit(code)
