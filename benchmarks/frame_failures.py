"""Where frame scores are high and no event is, in a survey that was searched: the curve, and the worst stretches.

    python benchmarks/frame_failures.py --run RUN --survey SURVEY [--label rumble] [--out DIR]

Prints score, precision and false frames at several recalls, and how many stretches of frames are false at a recall of
0.8. Writes DIR/frames-LABEL.png: precision and recall of frames, and the longest false stretch of each recording, with
the frame score over its spectrogram. A frame is positive when an event covers half of it, as in evaluation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from loxo.audio.recording import probe, read
from loxo.detection.scorefile import read_scores, recordings_with_names
from loxo.evaluation import figures
from loxo.evaluation.inputs import read_truth
from loxo.evaluation.segments import frame_truth
from loxo.report.plots import WINDOW_S, band_top_hz, draw_spectrogram

RECALLS = (0.5, 0.6, 0.7, 0.8, 0.9)
SHOWN = 3  # recordings
BAND = {"rumble": "low", "gunshot": "full"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="of loxo detect --keep-scores")
    parser.add_argument("--survey", type=Path, required=True, help="of loxo simulate: recordings and their tables")
    parser.add_argument("--label", default="rumble", choices=BAND)
    parser.add_argument("--out", type=Path, default=Path("runs/failures"))
    options = parser.parse_args()
    truth = read_truth([options.survey])
    truth = truth[truth["label"] == options.label]
    names, scores, positive, hop_s = sorted(recordings_with_names(options.run)), [], [], 0.0
    for name in names:
        kept = read_scores(options.run, name)
        own = truth[[Path(other).name == Path(name).name for other in truth["recording"]]]
        scores.append(kept.scores[kept.labels.index(options.label)])
        spans = zip(own["start_s"], own["end_s"], strict=True)
        positive.append(frame_truth(spans, len(scores[-1]), kept.hop_s) >= 0.5)
        hop_s = kept.hop_s
    every, right = np.concatenate(scores), np.concatenate(positive)
    order = np.argsort(-every, kind="stable")
    hits = np.cumsum(right[order])
    recall, precision = hits / hits[-1], hits / np.arange(1, len(hits) + 1)
    area = float((np.diff(recall, prepend=0.0) * precision).sum())
    print(
        f"{options.label}: {hits[-1]} of {len(every)} frames are positive ({hits[-1] / len(every):.2%}), AP {area:.3f}"
    )
    for least in RECALLS:
        k = int(np.searchsorted(recall, least))
        false = k + 1 - hits[k]
        print(f"  recall {least}: score {every[order[k]]:.3f}, precision {precision[k]:.3f}, {false} false frames")
    threshold = every[order[int(np.searchsorted(recall, 0.8))]]
    figure = Figure(figsize=(4.2 * (SHOWN + 1), 2.6), layout="constrained")
    axes = figure.subplots(1, SHOWN + 1)
    axes[0].step(recall[::50], precision[::50], where="post")
    axes[0].set(xlabel="recall of frames", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    lengths, worst = [], []
    for name, values, there in zip(names, scores, positive, strict=True):
        borders = np.flatnonzero(np.diff(((values >= threshold) & ~there).astype(int), prepend=0, append=0))
        firsts, lasts = borders[::2], borders[1::2]
        lengths += (lasts - firsts).tolist()
        k = int(np.argmax(lasts - firsts))
        worst.append((int(lasts[k] - firsts[k]), name, int(firsts[k]), values))
    median_s = np.median(lengths) * hop_s
    print(f"  at a recall of 0.8: {sum(lengths)} false frames in {len(lengths)} stretches, median {median_s:.1f} s")
    for axis, (length, name, first, values) in zip(axes[1:], sorted(worst, key=lambda row: -row[0]), strict=False):
        band = BAND[options.label]
        rate, around = figures.READ_RATE[band], figures.AROUND_S[band]
        start = max(first * hop_s - around, 0.0)
        samples = read(probe(name), rate, start, length * hop_s + 2 * around)
        top = band_top_hz(band, rate)
        draw_spectrogram(axis, samples, rate, round(WINDOW_S[band] * rate), top, start)
        steps = np.arange(int(start / hop_s), min(int((start + len(samples) / rate) / hop_s), len(values)))
        axis.plot((steps + 0.5) * hop_s, values[steps] * top, color="white", lw=1.2)
        axis.set_title(f"{Path(name).stem}, {first * hop_s:.0f} s", fontsize=8, loc="left")
        axis.set_ylabel("")
        axis.tick_params(labelsize=7)
    options.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out / f"frames-{options.label}.png", dpi=70)


if __name__ == "__main__":
    main()
