"""Do the intervals of reviewed counts contain the truth? Simulated surveys with a known number of calls.

    python benchmarks/counts.py [--surveys 200] [--first 0] [--samples 100 200]

Each survey has one to five sites and 3 to 28 days. Calls come in bouts, and the sites differ. False positives are
frequent at low scores, differ between sites and days, and some of them (thunder) have high scores. A reviewer decides
without errors on a sample of each class, as `loxo review --sample` selects it. The table gives the fraction of the 95 %
intervals that contain the truth:

    count    true events among all listed events of the survey
    site     the same at each site
    rate     the expected number of listed true events in 24 h, on days like those of the survey

A survey or a site with a decision on every event needs no estimate, and is left out of the counts. An interval of a
small whole number contains more than 95 % of the possible truths, because 0 to 1 may have 90 % of them and 0 to 2 99 %.
The table therefore also gives how many the intervals contain, as the mean of all surveys ("should be").
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loxo.report.estimate import count, fit
from loxo.report.rates import rate_interval
from loxo.review.queue import Columns, sampled
from reporting import print_table, write_result

RATES = {"rumble": 6.0, "gunshot": 0.4}  # true calls that are listed, at a site and day
FALSE = {"rumble": 14.0, "gunshot": 10.0}
THRESHOLD = 0.05
TARGETS = ("count", "site", "rate")


@dataclass
class Survey:
    """The listed events of one class, the number of sites and days, and the expected number of true ones a day."""

    scores: NDArray[np.float64]
    true: NDArray[np.bool_]
    site: NDArray[np.int64]
    day: NDArray[np.int64]
    sites: int
    days: int
    per_day: float


def simulate(rng: np.random.Generator, label: str, differs: float = 0.8, bouts: float = 1.5) -> Survey:
    """`differs`: how much the sites differ, as a standard deviation of logarithms. `bouts`: the shape of the gamma
    distribution of a day's rate; lower: more calls come together."""
    sites, days = int(rng.integers(1, 6)), int(rng.integers(3, 29))
    rate = RATES[label] * rng.lognormal(0, differs, sites)
    noise = FALSE[label] * rng.lognormal(0, differs, sites)
    found = []
    for site in range(sites):
        for day in range(days):
            calls = rng.poisson(rate[site] * rng.gamma(bouts) / bouts)
            false = rng.poisson(noise[site] * rng.gamma(1.0))
            thunder = rng.poisson(0.02 * noise[site] * rng.gamma(0.5) / 0.5)
            found += [(score, True, site, day) for score in rng.beta(2.5, 1.2, calls)]
            found += [(score, False, site, day) for score in rng.beta(0.5, 4.0, false)]
            found += [(score, False, site, day) for score in rng.beta(6.0, 3.0, thunder)]
    table = np.array(found, float).reshape(-1, 4)
    listed = table[:, 0] >= THRESHOLD
    share = float((np.random.default_rng(0).beta(2.5, 1.2, 100_000) >= THRESHOLD).mean())
    table = table[listed]
    return Survey(
        table[:, 0].round(6), table[:, 1] == 1, table[:, 2].astype(int), table[:, 3].astype(int), sites, days,
        float(rate.sum()) * share,
    )  # fmt: skip


def review(rng: np.random.Generator, survey: Survey, size: int) -> NDArray[np.bool_]:
    """The sample of `loxo review --sample`."""
    events = len(survey.scores)
    columns = Columns(
        np.full(events, "call", object), survey.site.astype(str).astype(object), np.zeros(events, np.int8),
        survey.scores, rng.integers(0, 2**60, events, np.uint64),
    )  # fmt: skip
    return sampled(columns, np.ones(events, bool), size)


def intervals(survey: Survey, decided: NDArray[np.bool_]) -> dict[str, list[tuple[bool, float]]] | None:
    """For each target, whether its intervals contain the truth, and how many of the possible truths they contain. None
    if there are too few decisions for an estimate."""
    scores, true, site = survey.scores, survey.true, survey.site
    curve = fit(scores[decided], true[decided], scores)
    if curve is None:
        return None
    counted = decided | curve.counted(scores)
    unit = np.where(counted, site * survey.days + survey.day, -1).astype(np.intp)
    sums = curve.truths(scores, site.astype(str), decided, true & decided, unit, survey.sites * survey.days)
    by_day = sums.reshape(len(sums), survey.sites, survey.days)

    def contains(draws: NDArray[np.int32], truth: int) -> tuple[bool, float]:
        found = count(draws)
        return found.low <= truth <= found.high, float(((draws >= found.low) & (draws <= found.high)).mean())

    left = counted & ~decided  # a number is estimated where events are undecided
    _, low, high = rate_interval(by_day.sum(axis=1), np.full(survey.days, 24.0))
    return {
        "count": [contains(sums.sum(axis=1), int((true & counted).sum()))] if left.any() else [],
        "site": [
            contains(by_day[:, k].sum(1), int((true & counted & (site == k)).sum()))
            for k in range(survey.sites)
            if left[site == k].any()
        ],
        "rate": [(24 * low <= survey.per_day <= 24 * high, 0.95)],
    }


def coverage(surveys: range, sample: int) -> dict[str, dict[str, list[tuple[bool, float]]]]:
    """Whether each interval contains the truth, by class and target."""
    found = {}
    for label in RATES:
        held: dict[str, list[tuple[bool, float]]] = {target: [] for target in TARGETS}
        for seed in surveys:
            rng = np.random.default_rng(seed)
            survey = simulate(rng, label)
            for target, values in (intervals(survey, review(rng, survey, sample)) or {}).items():
                held[target] += values
        found[label] = held
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surveys", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first survey")
    parser.add_argument("--samples", type=int, nargs="+", default=[100, 200], help="reviewed events of each class")
    options = parser.parse_args()
    print(f"{options.surveys} surveys\n")
    rows: list[list[str]] = []
    for sample in options.samples:
        for label, held in coverage(range(options.first, options.first + options.surveys), sample).items():
            row = [str(sample), label]
            for target in TARGETS:
                inside, expected = 100 * np.mean(held[target], axis=0)
                row += [f"{inside:.1f} % of {len(held[target])}", f"{expected:.1f} %"]
            rows.append(row)
    columns = ["decisions", "class", *(name for target in TARGETS for name in (target, "should be"))]
    print_table(columns, rows)
    write_result("counts", {"surveys": options.surveys, "first": options.first, "coverage": [columns, *rows]})


if __name__ == "__main__":
    main()
