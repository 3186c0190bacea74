"""Example events on a page: a spectrogram with the event's box, when it was, and its sound."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loxo.audio.filenames import base_name
from loxo.languages import number, text, when
from loxo.report import page
from loxo.report.examples import Example
from loxo.report.figures import WIDTH, inline_svg, plain, render
from loxo.report.plots import WINDOW_S, band_top_hz, draw_box, draw_spectrogram
from loxo.report.sentences import noun

FASTER = {"low": 8, "full": 1}  # rumbles are audible when they are played faster
CARD = (3.4, 1.9)  # inches


def cards(examples: Iterable[Example], name: str) -> str:
    """The cards of examples. `name` is unique on the page."""
    made = []
    for place, example in enumerate(examples):
        svg = inline_svg(render(lambda shown=example: _card(shown), "svg", f"{name}-{place}"), _words(example))  # type: ignore[misc]
        sound = base64.b64encode(_flac(example)).decode()
        label = page.text(text("sound of the {event}", event=_words(example)))
        audio = f'<audio controls preload="none" aria-label="{label}" src="data:audio/flac;base64,{sound}"></audio>'
        made.append(f'<figure class="sound">{svg}<figcaption>{_caption(example)}</figcaption>{audio}</figure>')
    return f'<div class="cards">{"".join(made)}</div>'


def sheet(examples: Sequence[Example]) -> Figure:
    """Spectrograms for a paper, one row for each kind of example."""
    kinds = list(dict.fromkeys(example.kind for example in examples))
    columns = max(3, *(sum(example.kind == kind for example in examples) for kind in kinds))
    figure = Figure(figsize=(WIDTH, 0.2 + 1.85 * len(kinds)), layout="constrained")
    axes = figure.subplots(len(kinds), columns, squeeze=False)
    for row, kind in zip(axes, kinds, strict=True):
        chosen = [example for example in examples if example.kind == kind]
        for axis, example in zip(row, chosen, strict=False):
            _draw(axis, example)
            name = base_name(example.event["recording"])
            name = name if len(name) <= 30 else f"{name[:14]}…{name[-15:]}"
            score = example.event.get("score", math.nan)
            axis.set_title(plain(f"{number(score, '.2f')} · {name}" if score == score else name), fontsize=7.5)
        for axis in row[len(chosen) :]:
            axis.set_visible(False)
        for axis in row[1:]:
            axis.set_ylabel("")
        row[0].set_ylabel(f"{text(kind)}\nHz")
    return figure


def _card(example: Example) -> Figure:
    figure = Figure(figsize=CARD)  # fixed layout: the constrained layout is slow for many pictures
    axis = figure.add_axes((0.155, 0.2, 0.83, 0.76))
    _draw(axis, example)
    axis.set_ylabel("Hz", labelpad=2)
    axis.set_xlabel(text("seconds"), labelpad=2)
    return figure


def _draw(axis: Axes, example: Example) -> None:
    rate, top = example.sample_rate, band_top_hz(example.band, example.sample_rate)
    draw_spectrogram(axis, example.samples, rate, round(WINDOW_S[example.band] * rate), top, 0.0, "none")
    end = len(example.samples) / rate
    axis.set_xlim(0, end)
    step = next(step for step in (0.5, 1, 2, 5, 10, 20) if end / step <= 5 or step == 20)
    axis.set_xticks(np.arange(0, 0.97 * end, step))
    for event, style in ((example.event, "-"), *((event, "--") for event in example.truth)):
        if style == "--" or example.boxed:
            inside = np.clip((event["start_s"] - example.start_s, event["end_s"] - example.start_s), 0, end)
            draw_box(axis, {**event, "start_s": inside[0], "end_s": inside[1]}, top, ls=style, lw=1.3, named=False)
    axis.tick_params(labelsize=7.5, length=2)


def _words(example: Example) -> str:
    file = base_name(example.event["recording"])
    return text("{event} of {file}", event=noun(example.event["label"]), file=file)


def _caption(example: Example) -> str:
    """Score and wall clock, if it is known; then the place in the recording."""
    event = example.event
    start = event.get("start_time")
    score = event.get("score", math.nan)
    first = [number(score, ".2f")] if score == score else []
    if start is not None and start == start:
        first.append(when(start, f"{start.day} %b %Y, %H:%M:%S"))
    file = base_name(event["recording"])
    place = text("{time} into {file}", time=page.offset(event["start_s"]), file=file)
    lines = [f"<b>{page.text(' · '.join(first))}</b>"] if first else []
    lines += [page.text(line) for line in (example.note, place) if line]
    return "<br>".join(lines)


def _flac(example: Example) -> bytes:
    """The excerpt, as loud as possible; a rumble plays faster."""
    samples: Any = example.samples - example.samples.mean()
    samples = np.clip(samples / max(float(np.quantile(np.abs(samples), 0.999)), 1e-9), -1, 1) * 0.9
    buffer = BytesIO()
    soundfile.write(buffer, samples, example.sample_rate * FASTER[example.band], "PCM_16", format="FLAC")
    return buffer.getvalue()
