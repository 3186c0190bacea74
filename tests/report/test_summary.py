"""The sentence at the top of a report, figures only where they show something, months, day and night."""

import re
from datetime import date, datetime

import numpy as np
import pytest
from report_runs import event, recording, review_run, write_run

from loxo.report import page
from loxo.report.daylight import daylight
from loxo.report.report import report

NAME = "a_20200101_000000.wav"


def lead(run) -> str:
    text = report(run).page.read_text()
    return text.partition('<p class="lead">')[2].partition("</p>")[0]


@pytest.mark.parametrize(
    ("labels", "verdicts", "sentence"),
    [
        (["rumble"], None, "Loxo lists 1 rumble and no gunshot in 1 recording (24.0 h of sound) of 1 site, 1 Jan 2020; "
         "nobody has checked it, so the true number is not known."),
        (["rumble", "rumble", "gunshot"], ["yes", "no", "yes"], "reviewers decided on 3 of them, which gives 1 true "
         "rumble and 1 true gunshot."),
        (["rumble", "rumble", "gunshot"], ["yes", "no", ""], "reviewers decided on 2 of them, which gives 1 true "
         "rumble; how many gunshots are true is not known, because none was reviewed."),
        (["rumble"] * 3, ["yes", "", ""], "reviewers decided on 1 of them; how many rumbles are true is not known, "
         "because too few were reviewed."),
    ],
)  # fmt: skip
def test_the_summary_says_what_was_listed_and_what_a_review_shows(tmp_path, labels, verdicts, sentence):
    events = [event(NAME, 100.0 * k, label) for k, label in enumerate(labels, 1)]
    run = write_run(tmp_path / "run", [recording(NAME)], events)
    if verdicts is not None:
        review_run(run, verdicts)
    assert lead(run).endswith(sentence)


def test_the_summary_states_the_interval_of_an_estimate(tmp_path):
    scores = np.linspace(0.1, 0.99, 60).round(3)
    events = [event(NAME, 100.0 * k, score=score) for k, score in enumerate(scores, 1)]
    run = write_run(tmp_path / "run", [recording(NAME)], events)
    review_run(run, ["" if k % 2 else "yes" if score > 0.5 else "no" for k, score in enumerate(scores)])
    assert "reviewers decided on 30 of them, which gives about 3" in lead(run) and " to " in lead(run)


def test_few_dated_hours_give_bars_or_nothing_in_place_of_maps(tmp_path):
    parts = [recording(f"a_2020010{day}_{hour:02d}0000.wav", 1) for day in (1, 2) for hour in (3, 5, 7, 9)]
    events = [event(row["recording"], 60.0) for row in parts]
    made = report(write_run(tmp_path / "bars", parts, events), figures=tmp_path / "figures")
    assert {path.stem for path in made.figures} == set()
    whole = [recording(f"a_2020010{day}_000000.wav") for day in (1, 2)]
    made = report(write_run(tmp_path / "two", whole, [event(NAME, 60.0)]), figures=tmp_path / "figures")
    assert {path.stem for path in made.figures} == {"hours-rumble"}  # no gunshot, no figure of gunshots
    mostly = [recording(f"clip{k}.wav") for k in range(6)] + whole
    made = report(write_run(tmp_path / "clips", mostly, [event(NAME, 60.0)]), figures=tmp_path / "figures")
    assert not made.figures and "so nothing is shown by date or hour" in made.page.read_text()


def test_rates_in_24_h_are_shown_from_24_h_of_sound(tmp_path):
    run = write_run(tmp_path / "run", [recording("a_20200101_000000.wav", 0.1)], [event(NAME, 100.0)])
    review_run(run, ["yes"])
    text = report(run).page.read_text()
    assert "A rate in 24 h needs 24 h of analysed sound." in text and '<td class="n">–</td></tr>' in text


def test_an_hour_with_the_sunrise_is_day_in_part():
    days = [(date(2020, 1, 1), datetime(2020, 1, 1, 6, 15), datetime(2020, 1, 1, 18, 0))]
    times = np.array(["2020-01-01T05:00", "2020-01-01T06:00", "2020-01-01T17:00", "2020-01-01T18:00", "2020-01-02"])
    found = daylight(times.astype("datetime64[us]"), 1.0, days)
    assert found[:4].tolist() == [0, 0.75, 1, 0] and np.isnan(found[4])
    assert daylight(times.astype("datetime64[us]"), 0.0, days)[:4].tolist() == [0, 0, 1, 0]
    far = [
        (date(2020, 1, 1), datetime(2020, 1, 1, 20, 0), datetime(2020, 1, 1, 8, 30))
    ]  # a clock in UTC, far in the east
    times = np.array(["2020-01-01T08:00", "2020-01-01T12:00", "2020-01-01T21:00"], "datetime64[us]")
    assert daylight(times, 1.0, far).tolist() == [0.5, 0, 1]


def test_an_offset_is_not_written_as_a_clock():
    assert [page.offset(second) for second in (0.4, 59, 764, 34608.9)] == [
        "0 s",
        "59 s",
        "12 min 44 s",
        "9 h 36 min 48 s",
    ]


def test_the_colours_of_all_pages_have_one_source_and_print_is_light():
    light, _, dark = page.colours().partition("@media screen and (prefers-color-scheme: dark)")
    names = [set(re.findall(r"(--[a-z]+):", part)) for part in (light, dark)]
    assert names[0] - names[1] == {"--font", "--mono"} and names[1] < names[0]
    assert page.colours() in page.page("t", "", "", [], "")
