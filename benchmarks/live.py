"""What is measured of `loxo watch` and `loxo listen`.

    python benchmarks/live.py delay [--hours 2]                 recall and false positives over the delay
    python benchmarks/live.py floor [--hours 1]                 events with a noise floor of minutes and hours
    python benchmarks/live.py soak [--hours 60] [--speed 60]    memory, samples and events of a long stream
    python benchmarks/live.py memory [--hours 1]                highest memory of listen and watch, with alerts
    python benchmarks/live.py latency [--minutes 20]            from the end of a shot to its alert, on a busy core
    python benchmarks/live.py kills [--kills 100]               SIGKILLs of a watch with alerts: none lost, none twice
    python benchmarks/live.py waiting [--files 10000]           recordings that wait at the start

Sound is simulated. `soak` and `latency` run the command itself in a process of its own, on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile

from loxo.detection.decode import decode_rows
from loxo.detection.detect import analyse
from loxo.detection.scores import WindowSums, probabilities, rounded
from loxo.engine.engine import load_engine
from loxo.engine.filters import FLOOR_BLOCK
from loxo.engine.frontend import Levels
from loxo.engine.windows import WINDOW_OVERLAP, hop_steps
from loxo.events.reader import read_events
from loxo.live.detector import StreamDetector
from loxo.live.matching import unmatched
from loxo.live.watch import watch
from loxo.machine import use_one_thread
from loxo.runs.journal import DONE
from loxo.simulation.simulate import simulate
from loxo.survey.survey import survey
from toy import ToyModel, write_recording

RATE = 4000
DELAYS_S = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0)
SINK = '[sink.log]\ntype = "file"\nattachments = {attachments}\npath = "{path}"\n[[rule]]\nname = "all"\n'


def simulated(folder: Path, hours: float, seed: int = 7) -> Path:
    """One recording with its truth in truth.txt."""
    simulate(folder, hours=hours, file_hours=hours, seed=seed, rumbles_per_hour=60, gunshots_per_hour=30)
    return next(folder.glob("*.flac"))


def command(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """`loxo` in a process of its own, on one thread."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS")}
    return subprocess.Popen([sys.executable, "-m", "loxo", *arguments], env={**os.environ, **threads}, **options)


def scene(folder: Path, hours: float) -> tuple[Any, list[dict[str, Any]], Any, list[dict[str, Any]]]:
    """Samples of simulated sound, its true events, an engine on one thread, and the events of the whole file."""
    path = simulated(folder, hours)
    samples = soundfile.read(path, dtype="float32")[0]
    truth = read_events(folder / "truth.txt").to_dict("records")
    use_one_thread()
    engine = load_engine(runtime="onnxruntime")
    print(f"{hours:g} h simulated, {Counter(row['label'] for row in truth)}; events that overlap by half are the same")
    return samples, truth, engine, analyse(path, engine).event_rows


# ---------------------------------------------------------------- delay


def delay(hours: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        samples, truth, engine, whole = scene(Path(folder), hours)
        print(
            "| delay (s) | recall of rumbles | of shots | false positives an hour | as in the file "
            "| wait (s): median, max | share of a core |"
        )
        print("|---|---|---|---|---|---|---|")
        report("the file", whole, truth, whole, hours, [0.0], float("nan"))
        for delay_s in DELAYS_S:
            detector, found, waits = StreamDetector(engine, delay_s=delay_s), [], []
            began = time.process_time()
            for k in range(0, len(samples), RATE // 4):
                for event in detector.push(samples[k : k + RATE // 4]):
                    found.append(event)
                    waits.append(detector.samples / RATE - event["end_s"])
            share = (time.process_time() - began) / (len(samples) / RATE)
            report(f"{delay_s:g}", found + detector.end(), truth, whole, hours, waits, share)


def report(
    name: str,
    found: list[dict[str, Any]],
    truth: list[dict[str, Any]],
    whole: list[dict[str, Any]],
    hours: float,
    waits: list[float],
    share: float,
) -> None:
    spans = [(row["label"], row["start_s"], row["end_s"]) for row in found]
    recall = []
    for label in ("rumble", "gunshot"):
        own = [row for row in truth if row["label"] == label]
        recall.append(1 - len(unmatched(own, spans)) / max(len(own), 1))
    false = len(unmatched(found, [(row["label"], row["start_s"], row["end_s"]) for row in truth]))
    same = 1 - len(unmatched(whole, spans)) / max(len(whole), 1)
    print(
        f"| {name} | {recall[0]:.3f} | {recall[1]:.3f} | {false / hours:.1f} | {same:.3f} | "
        f"{np.median(waits):.1f}, {max(waits):.1f} | {share:.2%} |",
        flush=True,
    )


# ---------------------------------------------------------------- floor


def floor(hours: float) -> None:
    """The floor of each band is taken over the time before the end of a window, longer than the window."""
    with tempfile.TemporaryDirectory() as folder:
        samples, truth, engine, whole = scene(Path(folder), hours)
        config = engine.config
        hop = hop_steps(WINDOW_OVERLAP, config.steps, config.stride_steps)
        print("| floor over | recall of rumbles | of shots | false positives an hour | as in the file | | |")
        print("|---|---|---|---|---|---|---|")
        report("the window, `loxo detect`", whole, truth, whole, hours, [0.0], float("nan"))
        inside = Levels._floor
        for seconds in (20, 60, 300, 1200, 3600):
            blocks = round(seconds * config.sample_rate / (config.hop_length * FLOOR_BLOCK))
            # Not fewer blocks than the window: the first one is then the floor of detection.
            Levels._floor = lambda self, first, end, blocks=blocks: inside(self, min(first, max(end - blocks, 0)), end)
            sums = WindowSums(engine, hop)
            sums.add(0, samples)
            Levels._floor = inside
            total = sums.covered
            scores = rounded(probabilities(sums.sums[:, :total], sums.weights[:total]))
            report(f"{seconds} s", decode_rows(scores, config), truth, whole, hours, [0.0], float("nan"))


# ---------------------------------------------------------------- soak


def soak(hours: float, speed: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sound = soundfile.read(simulated(folder / "sound", 1.0), dtype="int16")[0]
        out = folder / "run"
        process = command("listen", "-", "--out", str(out), "--site", "soak", stdin=subprocess.PIPE)
        assert process.stdin is not None
        watched = psutil.Process(process.pid)
        resident: list[tuple[float, float]] = []  # hours of sound, MB
        began, cpu, block, total = time.monotonic(), 0.0, 10 * RATE, round(hours * 3600 * RATE)
        for k in range(0, total, block):
            at = k % len(sound)
            process.stdin.write(sound[at : min(at + block, at + total - k)].tobytes())
            time.sleep(max(began + k / RATE / speed - time.monotonic(), 0))
            resident.append((k / RATE / 3600, watched.memory_info().rss / 1e6))
            cpu = sum(watched.cpu_times()[:2])
            if k // RATE // 3600 != (k + block) // RATE // 3600:
                print(f"{(k + block) / RATE / 3600:.0f} h: {resident[-1][1]:.1f} MB", flush=True)
        print(f"highest resident memory of the whole time: {highest(process.pid)}")
        process.stdin.close()
        if process.wait():
            raise SystemExit("loxo listen failed")
        recordings = sorted((out / "recordings").glob("*.wav"))
        lost = total - sum(soundfile.info(path).frames for path in recordings)
        survey([out / "recordings"], "default", folder / "whole", runtime="onnxruntime")
        names = ["events.csv", *(str(path.relative_to(out)) for path in out.glob("tables/*"))]
        same = all((out / each).read_bytes() == (folder / "whole" / each).read_bytes() for each in names)
        state = json.loads((out / "live.json").read_text())
        levels = np.array([level for _, level in resident])
        # The level between searches; the first tenth is the start.
        quarters = [np.percentile(part, 10) for part in np.array_split(levels[len(levels) // 10 :], 4)]
        print(f"{hours:g} h of sound in {(time.monotonic() - began) / 60:.1f} minutes")
        print(f"resident while it listens, by quarter: {', '.join(f'{level:.1f}' for level in quarters)} MB")
        print(f"resident: median {np.median(levels):.1f}, highest sample {levels.max():.1f} MB")
        print(f"samples lost: {lost}; gaps: {state['gaps']}; announced events: {state['announced']}")
        print(f"tables equal to those of loxo detect: {same}, {len(names)} files")
        print(f"share of a core at real time: {cpu / (hours * 3600):.2%}, search of the recordings included")


# ---------------------------------------------------------------- memory


def memory(hours: float) -> None:
    """The highest resident memory that the system has counted (VmHWM) for each process, since its start, so no peak is
    missed. One thread, ONNX Runtime, alerts with pictures and clips. The recordings are as long as the sound, and are
    searched while the stream goes on. Linux only."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sound = soundfile.read(simulated(folder / "sound", hours), dtype="int16")[0]
        alerts = folder / "alerts.toml"
        rule = SINK.format(path=folder / "alerts.jsonl", attachments="true")
        alerts.write_text(f"{rule}max_age_hours = 1e9\n")
        run = ("--out", str(folder / "run"), "--site", "a", "--alerts", str(alerts))
        process = command("listen", "-", *run, "--recording-minutes", str(60 * hours), stdin=subprocess.PIPE)
        assert process.stdin is not None
        for part in np.array_split(np.concatenate([sound, sound[: 120 * RATE]]), 100):
            process.stdin.write(part.tobytes())
        wait_for(lambda: json.loads((folder / "run" / "live.json").read_text())["searched"] > 0)
        print(f"loxo listen, {hours:g} h of sound and a recording of this length: {highest(process.pid)}")
        process.stdin.close()
        process.wait()
        process = command("watch", str(folder / "sound"), "--out", str(folder / "watched"), "--alerts", str(alerts))
        wait_for(lambda: f'"{DONE}"' in (folder / "watched" / "run.json").read_text())
        print(f"loxo watch, a recording of {hours:g} h: {highest(process.pid)}")
        print(f"shared pages counted once, at rest: {shared_once(process.pid):.1f} MB")
        process.send_signal(signal.SIGINT)
        process.wait()
        print(f"{len((folder / 'alerts.jsonl').read_text().splitlines())} alerts")


def highest(pid: int) -> str:
    """VmHWM of a process and its children, in MB of 1,000,000 bytes."""
    levels = {}
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        status = Path(f"/proc/{process.pid}/status").read_text()
        levels["process" if process.pid == pid else f"worker {len(levels)}"] = (
            int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
        )
    return ", ".join(f"{name} {level:.1f} MB" for name, level in levels.items())


def shared_once(pid: int) -> float:
    processes = (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
    return sum(process.memory_full_info().pss for process in processes) / 1e6


def wait_for(condition: Callable[[], bool]) -> None:
    while True:
        time.sleep(0.5)
        with suppress(OSError, ValueError):
            if condition():
                return


# ---------------------------------------------------------------- latency


def latency(minutes: float) -> None:
    """Real time. Another process computes on the same core all the time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sound = soundfile.read(simulated(folder / "sound", minutes / 60), dtype="int16")[0]
        alerts = folder / "alerts.toml"
        alerts.write_text(SINK.format(path=folder / "alerts.jsonl", attachments="false"))
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        process = command(
            *("listen", "-", "--out", str(folder / "run"), "--site", "a", "--alerts", str(alerts)),
            stdin=subprocess.PIPE,
        )
        assert process.stdin is not None
        if hasattr(os, "sched_setaffinity"):
            core = min(os.sched_getaffinity(0))
            for each in (busy.pid, process.pid):
                os.sched_setaffinity(each, {core})
        try:
            time.sleep(10)  # the model is loaded
            began, block = time.monotonic(), RATE // 4
            for k in range(0, len(sound), block):
                time.sleep(max(began + (k + block) / RATE - time.monotonic(), 0))
                process.stdin.write(sound[k : k + block].tobytes())
                process.stdin.flush()
        finally:
            process.stdin.close()
            process.wait()
            busy.kill()
        waits = []
        for line in map(json.loads, (folder / "alerts.jsonl").read_text().splitlines()):
            end = datetime.fromisoformat(line["time"]).timestamp() + line["end_s"] - line["start_s"]
            wait = datetime.fromisoformat(line["noticed"]).timestamp() - end
            if line["label"] == "gunshot" and wait < 60:  # not those of the end of the stream
                waits.append(wait)
        print(f"{len(waits)} shots; seconds to the alert: median {np.median(waits):.1f}, highest {max(waits):.1f}")


# ---------------------------------------------------------------- watch


def watch_card(card: str, out: str, config: str, files: int) -> None:
    """A watch with alerts, until all files are searched; it runs in a process of its own."""
    from loxo.live.alerts import Alerts
    from loxo.live.rules import read_alert_config

    made = []

    def alerter(run: Any) -> Any:
        made.append(Alerts(run, read_alert_config(config), print))
        return made[0]

    watch(
        *(card, "toy", out),
        load=partial(ToyModel, 0.01),
        settle_s=0.5,
        complete_after_s=60,
        poll_s=0.1,
        alerter=alerter,
        stop=lambda status: status.finished >= files and not made[0].outbox.waiting(),
    )
    made[0].close()


def kills(count: int, files: int | None = None) -> None:
    """A folder into which files grow while the watch is killed again and again. SystemExit on any fault."""
    import multiprocessing

    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), random.Random(0)
        card, out, got, config = folder / "card", folder / "run", folder / "got.jsonl", folder / "alerts.toml"
        rule = f"{SINK.format(path=got, attachments='true')}max_age_hours = 1e9\n"
        config.write_text(rule)
        card.mkdir()
        files, done = files or max(count // 2, 10), 0

        def copy() -> None:
            """Files appear in steps as long as processes are killed."""
            for k in range(files):
                while done < count * k / (files - 1):
                    time.sleep(0.05)
                data = write_recording(folder / ".new.wav", 30 + k % 5 * 10, seed=k).read_bytes()
                with (card / f"site_20240101_{k // 60:02d}{k % 60:02d}00.wav").open("ab") as file:
                    for at in range(0, len(data), 20_000):
                        file.write(data[at : at + 20_000])
                        file.flush()
                        time.sleep(0.1)

        copier = threading.Thread(target=copy, daemon=True)
        copier.start()
        while True:
            arguments = (str(card), str(out), str(config), files)
            process = multiprocessing.get_context("spawn").Process(target=watch_card, args=arguments)
            process.start()
            if done < count:
                process.join(rng.uniform(1.5, 3.5))  # Python needs about a second to start
            else:
                process.join()
            if not process.is_alive():
                if process.exitcode != 0:
                    raise SystemExit(f"the watch ended with exit code {process.exitcode}")
                break
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            done += 1
        copier.join()
        survey([card], "toy", folder / "whole", load=ToyModel)
        same = (out / "events.csv").read_bytes() == (folder / "whole" / "events.csv").read_bytes()
        messages = [json.loads(line) for line in got.read_text().splitlines()]
        first: dict[str, dict[str, Any]] = {message["id"]: message for message in messages}
        events = read_events(folder / "whole" / "events.csv").to_dict("records")
        lost = 0
        for recording in {row["recording"] for row in events}:
            spans = [
                (one["label"], one["start_s"], one["end_s"]) for one in first.values() if one["recording"] == recording
            ]
            lost += len(unmatched([row for row in events if row["recording"] == recording], spans))
        order = [
            message["id"] for k, message in enumerate(messages) if message["id"] not in {m["id"] for m in messages[:k]}
        ]
        print(f"{done} kills, {files} recordings; tables equal to those of loxo detect: {same}")
        print(
            f"{len(events)} events, {len(order)} alerts, {lost} lost, {len(messages) - len(order)} sent again, same id"
        )
        if lost or not same or len(order) != len(events):
            raise SystemExit(1)


def waiting(files: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_recording(folder / "one.wav", 8).read_bytes()
        for k in range(files):
            path = (
                folder
                / "card"
                / f"site{k % 7}"
                / f"s_20240{1 + k % 9}01_{k // 3600 % 24:02d}{k // 60 % 60:02d}{k % 60:02d}_{k}.wav"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, (1.7e9 + k, 1.7e9 + k))
        began = time.monotonic()
        levels: list[str] = []

        class Times:
            """Receives the events, and notes when the first recording is finished."""

            first_s = 0.0

            def events(self, recording: str, rows: Any, searched_s: float | None) -> None:
                self.first_s = self.first_s or time.monotonic() - began

            def tick(self) -> None:
                pass

            def waiting(self) -> int:
                return 0

        times = Times()

        def stop(status: Any) -> bool:
            if status.finished == files:
                levels.append(highest(os.getpid()))
            return bool(levels)

        watch(folder / "card", "toy", folder / "run", load=partial(ToyModel, 0.0), stop=stop, alerter=lambda _: times)
        spent = time.monotonic() - began
        print(f"first recording finished after {times.first_s:.1f} s; {levels[0]}, with the imports of this script")
        began = time.monotonic()
        survey([folder / "card"], "toy", folder / "whole", load=ToyModel)
        same = (folder / "run" / "events.csv").read_bytes() == (folder / "whole" / "events.csv").read_bytes()
        print(
            f"{files} recordings: {spent:.0f} s, loxo detect {time.monotonic() - began:.0f} s; the same events: {same}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("delay", "floor", "soak", "memory", "latency", "kills", "waiting"))
    parser.add_argument("--hours", type=float)
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--files", type=int, default=10_000)
    args = parser.parse_args()
    if args.what == "delay":
        delay(args.hours or 2.0)
    elif args.what == "floor":
        floor(args.hours or 1.0)
    elif args.what == "soak":
        soak(args.hours or 60.0, args.speed)
    elif args.what == "memory":
        memory(args.hours or 1.0)
    elif args.what == "latency":
        latency(args.minutes)
    elif args.what == "kills":
        kills(args.kills)
    else:
        waiting(args.files)


if __name__ == "__main__":
    main()
