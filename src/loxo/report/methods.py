"""A paragraph for the methods section of a paper: how this run was made, and how its numbers were estimated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loxo.audio.filenames import base_name
from loxo.report.reviewed import ESTIMATED, threshold_of
from loxo.report.sentences import plural

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
        f"We searched {plural(len(run.recordings), 'recording')} ({hours:,.1f} h of analysed sound) with Loxo "
        f"{given.get('version', '(version unknown)')}, a detector based on HTS-AT (Chen et al. 2022), and its model "
        f"{base_name(str(given.get('model', 'unknown')))} (SHA-256 {given.get('model_sha256', 'unknown')})."
    ]
    overlap = given.get("window_overlap")
    if overlap is not None:
        said.append(f"Consecutive windows overlapped by {100 * overlap:.0f} %.")
    thresholds = {label: threshold_of(run, label) for label in found.labels}
    named = [f"{value:g} for {label}s" for label, value in thresholds.items() if value is not None]
    if named:
        said.append(f"Events were listed from a score of {' and '.join(named)}.")
    for label in found.labels:
        listed = int((reviewed.labels == label).sum())
        decided = reviewed.reviewed(label)
        confirmed = int((reviewed.confirmed & (reviewed.labels == label)).sum())
        if not decided:
            said.append(
                f"{plural(listed, label or 'event')} {'was' if listed == 1 else 'were'} listed and not reviewed."
            )
            continue
        said.append(f"Reviewers decided on {decided:,} of {listed:,} listed {label}s and confirmed {confirmed:,}.")
        if reviewed.state(label) == ESTIMATED and label in reviewed.fits:
            row = found.rates[found.rates["label"] == label].iloc[-1]  # all sites, if there are several
            said.append(
                f"From these decisions, {row['estimate']:,.0f} of the listed {label}s were estimated to be true (95 % "
                f"interval {row['low']:,.0f} to {row['high']:,.0f})."
            )
    if reviewed.fits:
        said.append(
            "The probability that an undecided event is true was estimated by logistic regression on the logit of its "
            "score, with a ceiling, and with deviations of score strata and of sites; intervals are the shortest ones "
            "with 95 % of 1,000 draws from the posterior distribution."
        )
    said.append("Calls that the run does not list are not counted.")
    return [*said, f"Reference: {HTSAT}"]
