"""Frames with a high score but without an event in the run of a survey: precision-recall curve and worst spans.

    python benchmarks/frame_failures.py --run RUN --survey SURVEY [--label rumble] [--out DIR]

Prints score, precision and false frames at several recalls, and the number of false spans of frames at a recall of 0.8.
Writes DIR/frames-LABEL.png with precision and recall of frames, and with the longest false spans, one per recording.
The frame score is drawn over the spectrogram. A frame is positive if an event covers at least half of it.
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
SPAN_RECALL = 0.8  # the recall at which false spans are counted and drawn
MAX_DRAWN = 3  # of them in the figure
Scored = dict[str, tuple[Floats, Bools]]  # for each recording: frame scores, and a mask of the positive frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="run folder of loxo detect --keep-scores")
    parser.add_argument("--survey", type=Path, required=True, help="folder of loxo simulate with recordings and tables")
    parser.add_argument("--label", default="rumble", choices=("rumble", "gunshot"))
    parser.add_argument("--out", type=Path, default=Path("runs/failures"))
    options = parser.parse_args()
    scored, hop_s = frames_of(options.run, options.survey, options.label)
    scores, positive = (np.concatenate(parts) for parts in zip(*scored.values(), strict=True))
    points = curve(scores, positive, int(positive.sum()))
    fraction = points.events / len(scores)
    print(f"{options.label}: {fraction:.2%} of {len(scores)} frames are positive, AP {average_precision(points):.3f}")
    for min_recall in RECALLS:
        k = at_recall(points, min_recall)
        print(f"  recall {min_recall}: precision {points.precision[k]:.3f}, {points.false_positives[k]} false frames")
    spans = false_spans(scored, float(points.threshold[at_recall(points, SPAN_RECALL)]))
    lengths = [length for found in spans.values() for length, _ in found]
    median_s = np.median(lengths) * hop_s
    print(f"  at a recall of {SPAN_RECALL}: {sum(lengths)} in {len(lengths)} spans, median length {median_s:.1f} s")
    longest = sorted(((*max(found), name) for name, found in spans.items() if found), reverse=True)
    figure = Figure(figsize=(4.2 * (MAX_DRAWN + 1), 2.6), layout="constrained")
    first, *others = figure.subplots(1, MAX_DRAWN + 1)
    first.step(points.recall, points.precision, where="post")
    first.set(xlabel="recall of frames", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    for axis, (length, start_frame, name) in zip(others, longest, strict=False):
        draw(axis, name, options.label, scored[name][0], hop_s, start_frame, length)
    options.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out / f"frames-{options.label}.png", dpi=70)


def frames_of(run: Path, survey: Path, label: str) -> tuple[Scored, float]:
    """The stored frame scores of a class with the true frames, and the duration of a frame in s."""
    truth = read_truth([survey])
    truth = truth[truth["label"] == label]
    files = truth["recording"].map(lambda path: Path(path).name)
    scored, hop_s = {}, 0.0
    for name in read_record(run).names:
        stored = read_scores(run, name)
        scores, hop_s = stored.scores[stored.labels.index(label)].astype(float), stored.hop_s
        own = truth[files == Path(name).name]
        scored[name] = scores, positive_frames(zip(own["start_s"], own["end_s"], strict=True), len(scores), hop_s)
    return scored, hop_s


def at_recall(points: Curve, min_recall: float) -> int:
    """The first point of the curve with at least this recall."""
    return int(np.searchsorted(points.recall, min_recall))


def false_spans(scored: Scored, threshold: float) -> dict[str, list[tuple[int, int]]]:
    """For each recording (length, first frame) of each span of frames above the threshold without an event."""
    found = {}
    for name, (scores, positive) in scored.items():
        borders = np.flatnonzero(np.diff((scores >= threshold) & ~positive, prepend=False, append=False))
        found[name] = [(int(end - start_frame), int(start_frame)) for start_frame, end in borders.reshape(-1, 2)]
    return found


def draw(axis: Axes, name: str, label: str, scores: Floats, hop_s: float, start_frame: int, length: int) -> None:
    """Draws the spectrogram of a false span with the frame scores."""
    start = start_frame * hop_s
    first, last, top = draw_around(axis, Path(name), label, start, start + length * hop_s)
    frames = np.arange(int(first / hop_s), min(int(last / hop_s), len(scores)))
    axis.plot((frames + 0.5) * hop_s, scores[frames] * top, color="white", lw=1.2)
    axis.set_title(f"{Path(name).stem}, {start:.0f} s", fontsize=8, loc="left")


if __name__ == "__main__":
    main()
