"""A paragraph for the methods section of a paper: how this run was made, and how its numbers were estimated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loxo.audio.filenames import base_name
from loxo.languages import plural, text
from loxo.report.reviewed import ESTIMATED, threshold_of
from loxo.report.sentences import counted, nouns

if TYPE_CHECKING:
    from loxo.report.findings import Findings

HTSAT = (
    "Chen, K., Du, X., Zhu, B., Ma, Z., Berg-Kirkpatrick, T. and Dubnov, S. (2022). HTS-AT: A hierarchical "
    "token-semantic audio transformer for sound classification and detection. ICASSP 2022. arXiv:2202.00874."
)


def methods(found: Findings) -> list[str]:
    """The paragraph as sentences; the last one is the reference."""
    run, reviewed = found.run, found.reviewed
    given = run.parameters
    hours = float(run.recordings["analysed_s"].sum()) / 3600
    said = [
        text(
            "We searched {recordings} ({hours:,.1f} h of analysed sound) with Loxo {version}, a detector based on "
            "HTS-AT (Chen et al. 2022), and its model {model} (SHA-256 {sha256}).",
            recordings=plural(len(run.recordings), "{n} recording", "{n} recordings"),
            hours=hours,
            version=given.get("version", text("(version unknown)")),
            model=base_name(str(given.get("model", text("unknown")))),
            sha256=given.get("model_sha256", text("unknown")),
        )
    ]
    overlap = given.get("window_overlap")
    if overlap is not None:
        said.append(text("Consecutive windows overlapped by {percent:.0f} %.", percent=100 * overlap))
    thresholds = {label: threshold_of(run, label) for label in found.labels}
    words = "{score:g} for {events}"
    named = [text(words, score=value, events=nouns(label)) for label, value in thresholds.items() if value is not None]
    if named:
        said.append(text("Events were listed from a score of {scores}.", scores=text(" and ").join(named)))
    for label in found.labels:
        listed = int((reviewed.labels == label).sum())
        decided = reviewed.reviewed(label)
        confirmed = int((reviewed.confirmed & (reviewed.labels == label)).sum())
        if not decided:
            one, other = "{events} was listed and not reviewed.", "{events} were listed and not reviewed."
            said.append(plural(listed, one, other, events=counted(listed, label)))
            continue
        said.append(
            text(
                "Reviewers decided on {decided:,} of {listed:,} listed {events} and confirmed {confirmed:,}.",
                decided=decided,
                listed=listed,
                events=nouns(label),
                confirmed=confirmed,
            )
        )
        if reviewed.state(label) == ESTIMATED and label in reviewed.fits:
            row = found.rates[found.rates["label"] == label].iloc[-1]  # all sites, if there are several
            said.append(
                text(
                    "From these decisions, {estimate:,.0f} of the listed {events} were estimated to be true (95 % "
                    "interval {low:,.0f} to {high:,.0f}).",
                    estimate=row["estimate"],
                    events=nouns(label),
                    low=row["low"],
                    high=row["high"],
                )
            )
    if reviewed.fits:
        said.append(
            text(
                "The probability that an undecided event is true was estimated by logistic regression on the logit of "
                "its score, with a ceiling, and with deviations of score strata and of sites; intervals are the "
                "shortest ones with 95 % of 1,000 draws from the posterior distribution."
            )
        )
    said.append(text("Calls that the run does not list are not counted."))
    return [*said, text("Reference: {paper}", paper=HTSAT)]
