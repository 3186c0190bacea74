"""Backgrounds of simulated windows from a user's annotated recordings: the spans without events of any label."""

from __future__ import annotations

import logging

import numpy as np

from loxo.audio.recording import stream
from loxo.simulation.background import Backgrounds
from loxo.training.annotations import Annotations
from loxo.training.recording_windows import free_spans

MIN_SPAN_S = 2.0  # a shorter span would be repeated too often in a window
EXCERPT_S = 30.0  # long spans are divided, so that the excerpts come from all times of long recordings
MAX_TOTAL_S = 1800.0  # 30 minutes at 4 kHz need 14 MB

log = logging.getLogger(__name__)


def own_backgrounds(annotations: Annotations, channel: int | None, seed: int) -> Backgrounds | None:
    """At most MAX_TOTAL_S of the searched time without events, chosen at random by `seed`. None if there is none.

    An excerpt that cannot be decoded is left out and logged. Raises RecordingError when a server does not answer.
    """
    rate = annotations.sample_rate
    size = round(EXCERPT_S * rate)
    spans = free_spans(annotations.recordings, round(MIN_SPAN_S * rate), whole=False).tolist()
    excerpts = [
        (number, first, min(first + size, stop)) for number, start, stop in spans for first in range(start, stop, size)
    ]
    order = np.random.default_rng(seed).permutation(len(excerpts))
    chosen = sorted(excerpts[k] for k in order[: round(MAX_TOTAL_S / EXCERPT_S)])
    sounds = []
    for number, start, stop in chosen:
        one = annotations.recordings[number]
        blocks = stream(one.recording, rate, start=start, stop=stop, channel=channel)
        samples = np.concatenate([np.zeros(0, np.float32), *blocks])
        if blocks.fault:
            log.warning("%s This excerpt is not used as a background.", blocks.fault)
            continue
        sounds.append((one.path, one.site or one.path, samples))
    return Backgrounds.from_sounds(sounds, rate) if any(samples.any() for _, _, samples in sounds) else None
