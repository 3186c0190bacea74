"""adapt.md: an adaptation in words, its figures before and after, and its learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loxo.training.comparing import HEADER, interval, table
from loxo.training.config import TrainingConfig

COLUMNS = {"annotations": "event_ap", "frame_loss": "frame_loss"}  # figures of a comparison in the learning curve


def adaptation_card(
    about: Mapping[str, Any], config: TrainingConfig, start_share: float, problems: Sequence[str]
) -> str:
    """The text of adapt.md. `about` is the result in run.json."""
    calls = about["calls"]
    numbers = ", ".join(
        f"{' and '.join(str(fold[label]) for fold in calls.values())} in the folds ({label})"
        for label in about["classes"]
    )
    lines = [
        f"# {about['start']['model']}, adapted to {', '.join(about['classes'])} of a site",
        "",
        about["decision"],
        "",
        "| " + " | ".join(HEADER) + " |",
        "|---" * len(HEADER) + "|",
        *("| " + " | ".join(row) + " |" for row in table(about["figures"])),
        "",
        *_curve_in_words(about["learning_curve"]),
        f"- Start model: {about['start']['model']} (SHA-256 {about['start']['sha256']}).",
        f"- Annotated calls: {numbers}. Split by {about['held_back_by']}.",
        f"- Training: {config.iterations} iterations of {config.batch_size} windows in each fold, half of them "
        "simulated calls in the backgrounds of the site. The adapted model is the mean of both folds, with "
        f"{100 * start_share:.0f} % of the start weights. Decoding and calibration are those of the start model.",
        "- Intervals: bootstrap over windows. The held-back windows contain more calls than a survey. Choose "
        "thresholds on a survey (`loxo calibrate`, `loxo evaluate`).",
        *(f"- {sentence}" for sentence in problems),
    ]
    return "\n".join(lines) + "\n"


def _curve_in_words(rows: Sequence[Mapping[str, float]]) -> list[str]:
    if not rows:
        return []
    before, last = rows[-2:]
    gain = last["event_ap"] - before["event_ap"]
    return [
        "| calls in each training | event AP | frame loss |",
        "|---|---|---|",
        *(
            f"| {row['calls']} | "
            + " | ".join(interval([row[name + end] for end in ("", "_low", "_high")]) for name in COLUMNS.values())
            + " |"
            for row in rows
        ),
        "",
        f"From {before['calls']} to {last['calls']} calls, event AP on the held-back annotations changed by "
        f"{gain:+.3f}, and frame loss by {last['frame_loss'] - before['frame_loss']:+.3f}. If both hardly change, more "
        "annotations of this kind will hardly help.",
        "",
    ]
