"""The logs of accuracy and speed have fixed fields, newest first, and one line in an index for each entry.

Each section of the present figures names its make target, and the benchmark of that target can replace it.
"""

import re
import shutil
import sys
from pathlib import Path

import pytest

import reporting

ROOT = Path(__file__).resolve().parents[1]
FIELDS = (
    "Date", "Commit", "Question", "Change", "Data and seeds", "Metric", "n", "Before", "After", "Kept", "Command"
)  # fmt: skip
LOGS = ("experiments.md", "performance.md")
SECTION = re.compile(r"<!-- (bench-[^>]*) -->\n(.*?)<!-- end -->", re.DOTALL)
ORIGIN = re.compile(
    r"Measured \d{4}-\d\d-\d\d at commit [0-9a-f]{7,}\b.* on \S.*, "
    r"by `make (bench-[a-z-]+)`, here `python benchmarks/(\w+\.py)\b.*`"
)


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def faults(page: str) -> list[str]:
    """What is wrong with a log: its entries, their order, and its index."""
    index, entries = (page.partition(f"\n## {name}\n")[2].partition("\n## ")[0] for name in ("Index", "Entries"))
    rows = re.findall(r"^\| (\S+) \| \[[^\]]+\]\(#([^)]+)\) \| [^|]+ \| [^|]+ \|$", index, re.MULTILINE)
    found, listed = [], []
    for heading, body in re.findall(r"^### (.*)\n((?:(?!^### ).*\n?)*)", entries, re.MULTILINE):
        fields = re.findall(r"^- \*\*([^*]+):\*\*(?: |\n  )(\S.*)$", body, re.MULTILINE)
        if tuple(name for name, _ in fields) != FIELDS:
            found.append(f"{heading}: fields {[name for name, _ in fields]}")
            continue
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", fields[0][1]):
            found.append(f"{heading}: date {fields[0][1]!r}")
        listed.append((fields[0][1], anchor(heading)))
    dates = [date for date, _ in listed]
    if dates != sorted(dates, reverse=True):
        found.append("entries are not newest first")
    if rows != listed:
        found.append(f"index and entries differ: {set(rows) ^ set(listed) or 'another order, or one twice'}")
    return found


@pytest.mark.parametrize("name", LOGS)
def test_entries_have_all_fields_newest_first_and_one_line_in_the_index(name):
    page = (ROOT / "docs" / name).read_text()
    assert page.count("\n### ") > 30
    assert faults(page) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"- \*\*Metric:\*\*.*\n", ""),  # a field is missing
        (r"- \*\*Kept:\*\*", "- **Result:**"),  # another field
        (r"- \*\*Date:\*\* .*", "- **Date:** 2019-01-01"),  # an old date at the top
        (r"- \*\*Date:\*\* .*", "- **Date:** November"),
        (r"- \*\*Before:\*\* .*(\n  .*)*", "- **Before:**"),  # an empty field
        (r"\(#[ep]\d\d-[^)]*\) \|", "(#elsewhere) |"),  # a wrong anchor in the index
        (r"\n(\| 20.*)", r"\n\1\n\1"),  # a line twice in the index
        (r"\n\| 20.*", ""),  # an entry without a line in the index
    ],
)
@pytest.mark.parametrize("name", LOGS)
def test_a_broken_log_is_reported(name, old, new):
    broken, count = re.subn(old, new, (ROOT / "docs" / name).read_text(), count=1)
    assert count == 1
    assert faults(broken)


def test_each_section_of_the_benchmarks_names_a_make_target_and_its_benchmark():
    page = reporting.PAGE.read_text()
    sections = SECTION.findall(page)
    assert len(sections) == page.count("<!-- bench-") == len({name for name, _ in sections})
    for name, body in sections:
        target, script = ORIGIN.match(body.strip()).groups()
        assert target == name.partition(":")[0]
        recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
        assert f"benchmarks/{script}" in recipe
        assert f'"{target}"' in (ROOT / "benchmarks" / script).read_text()
        assert "|---|" in body or "\n- " in body


def test_a_benchmark_replaces_its_own_section_only(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    shutil.copy(reporting.PAGE, page)
    before = dict(SECTION.findall(page.read_text()))
    monkeypatch.setattr(sys, "argv", ["benchmarks/one_day.py", "--hours", "1", "--base", "/somewhere/else/src"])
    with reporting.section("bench-day", page):
        reporting.print_table(["runtime", "CPU seconds"], [("none", 1)])
    after = dict(SECTION.findall(page.read_text()))
    assert {name for name in before if after[name] != before[name]} == {"bench-day"}
    assert "by `make bench-day`, here `python benchmarks/one_day.py --hours 1 --base src`" in after["bench-day"]
    assert "| none | 1 |" in after["bench-day"]
    assert "| none | 1 |" in capsys.readouterr().out


def test_a_benchmark_that_fails_leaves_the_page_as_it_is(tmp_path):
    page = tmp_path / "page.md"
    shutil.copy(reporting.PAGE, page)
    with pytest.raises(ZeroDivisionError), reporting.section("bench-day", page):
        print(1 / 0)
    with (
        pytest.raises(ValueError, match="has 0 sections <!-- bench-nothing -->"),
        reporting.section("bench-nothing", page),
    ):
        print("a figure")
    assert page.read_text() == reporting.PAGE.read_text()
