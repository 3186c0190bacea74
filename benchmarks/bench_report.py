"""Time and memory of `loxo report` for a survey of 2,000 recordings.

    python benchmarks/bench_report.py [--sites 20] [--days 105]

The survey has 20 sites, 2,040 recordings of 24 h and about 63,000 listed events, of which 200 of each class were
reviewed. There is no sound, so no example is drawn: 24 examples of a run take about 5 s more.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from loxo.report.report import report
from reporting import print_table, write_result

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
from report_runs import review_run, season


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=20)
    parser.add_argument("--days", type=int, default=105)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = season(Path(folder) / "run", sites=options.sites, days=options.days, rate=60)
        events = pd.read_csv(run / "events.csv")
        rng = np.random.default_rng(0)
        verdicts = np.full(len(events), "", object)
        for label in events["label"].unique():
            rows = rng.choice(np.flatnonzero(events["label"] == label), 200, replace=False)
            verdicts[rows] = np.where(rng.random(200) < events["score"].to_numpy()[rows], "yes", "no")
        review_run(run, list(verdicts))
        start, cpu = time.perf_counter(), time.process_time()
        made = report(run, coordinates="2.2,16.5", time_zone="Africa/Brazzaville")
        found = {
            "recordings": len(pd.read_json(run / "run.json", typ="series")["recordings"]),
            "events": len(events),
            "seconds": round(time.perf_counter() - start, 1),
            "cpu_s": round(time.process_time() - cpu, 1),
            "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "page_mb": round(made.page.stat().st_size / 1e6, 1),
        }
    print_table(list(found), [list(found.values())])
    write_result("report", found)


if __name__ == "__main__":
    main()
