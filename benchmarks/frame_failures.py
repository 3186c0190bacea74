"""Where frame scores are high and no event is, in a survey that was searched: the curve, and the worst stretches.

    python benchmarks/frame_failures.py --run RUN --survey SURVEY [--label rumble] [--out DIR]

Prints score, precision and false frames at several recalls, and how many stretches of frames are false at a recall of
0.8. Writes DIR/frames-LABEL.png: precision and recall of frames, and the longest false stretches, one a recording, with
the frame score over the spectrogram. A frame is positive when an event covers half of it, as in evaluation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from failures import draw_around
from loxo.evaluation.inputs import read_truth
from loxo.evaluation.metrics import Curve, average_precision, curve
from loxo.evaluation.segments import positive_frames
from loxo.evaluation.spans import Bools, Floats
from loxo.runs.record import read_record
from loxo.runs.scores import read_scores

RECALLS = (0.5, 0.6, 0.7, 0.8, 0.9)
LISTED = 0.8  # the recall at which false stretches are counted and drawn
SHOWN = 3  # of them
Scored = dict[str, tuple[Floats, Bools]]  # by recording: the frames' scores, and which of them are positive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="of loxo detect --keep-scores")
    parser.add_argument("--survey", type=Path, required=True, help="of loxo simulate: recordings and their tables")
    parser.add_argument("--label", default="rumble", choices=("rumble", "gunshot"))
    parser.add_argument("--out", type=Path, default=Path("runs/failures"))
    options = parser.parse_args()
    scored, hop_s = frames_of(options.run, options.survey, options.label)
    scores, positive = (np.concatenate(parts) for parts in zip(*scored.values(), strict=True))
    points = curve(scores, positive, int(positive.sum()))
    share = points.events / len(scores)
    print(f"{options.label}: {share:.2%} of {len(scores)} frames are positive, AP {average_precision(points):.3f}")
    for least in RECALLS:
        k = at_recall(points, least)
        print(f"  recall {least}: precision {points.precision[k]:.3f}, {points.false[k]} false frames")
    stretches = false_stretches(scored, float(points.threshold[at_recall(points, LISTED)]))
    lengths = [length for found in stretches.values() for length, _ in found]
    median_s = np.median(lengths) * hop_s
    print(f"  at a recall of {LISTED}: {sum(lengths)} in {len(lengths)} stretches, median {median_s:.1f} s")
    longest = sorted(((*max(found), name) for name, found in stretches.items() if found), reverse=True)
    figure = Figure(figsize=(4.2 * (SHOWN + 1), 2.6), layout="constrained")
    first, *others = figure.subplots(1, SHOWN + 1)
    first.step(points.recall, points.precision, where="post")
    first.set(xlabel="recall of frames", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    for axis, (length, begin, name) in zip(others, longest, strict=False):
        draw(axis, name, options.label, scored[name][0], hop_s, begin, length)
    options.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out / f"frames-{options.label}.png", dpi=70)


def frames_of(run: Path, survey: Path, label: str) -> tuple[Scored, float]:
    """The kept frame scores of a class with the truth about each, and the length of a frame in s."""
    truth = read_truth([survey])
    truth = truth[truth["label"] == label]
    files = truth["recording"].map(lambda path: Path(path).name)
    scored, hop_s = {}, 0.0
    for name in read_record(run).names:
        kept = read_scores(run, name)
        scores, hop_s = kept.scores[kept.labels.index(label)].astype(float), kept.hop_s
        own = truth[files == Path(name).name]
        scored[name] = scores, positive_frames(zip(own["start_s"], own["end_s"], strict=True), len(scores), hop_s)
    return scored, hop_s


def at_recall(points: Curve, least: float) -> int:
    """The first point that reaches a recall."""
    return int(np.searchsorted(points.recall, least))


def false_stretches(scored: Scored, threshold: float) -> dict[str, list[tuple[int, int]]]:
    """By recording: length and first frame of each stretch of frames that score so much where no event is."""
    found = {}
    for name, (scores, positive) in scored.items():
        borders = np.flatnonzero(np.diff((scores >= threshold) & ~positive, prepend=False, append=False))
        found[name] = [(int(end - begin), int(begin)) for begin, end in borders.reshape(-1, 2)]
    return found


def draw(axis: Axes, name: str, label: str, scores: Floats, hop_s: float, begin: int, length: int) -> None:
    start = begin * hop_s
    first, last, top = draw_around(axis, Path(name), label, start, start + length * hop_s)
    steps = np.arange(int(first / hop_s), min(int(last / hop_s), len(scores)))
    axis.plot((steps + 0.5) * hop_s, scores[steps] * top, color="white", lw=1.2)
    axis.set_title(f"{Path(name).stem}, {start:.0f} s", fontsize=8, loc="left")


if __name__ == "__main__":
    main()
