"""Files around the package agree with it: citation, changelog, conda environment, container images, issue forms."""

import json
import re
import tomllib
from pathlib import Path

import pytest

import loxo

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {  # names on conda-forge that differ from those on PyPI
    "soundfile": "pysoundfile",
    "soxr": "python-soxr",
    "matplotlib": "matplotlib-base",
    "tzdata": "python-tzdata",
}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_one_version_everywhere():
    changelog = re.findall(r"^## \[([^]]+)\](.*)$", text("CHANGELOG.md"), re.MULTILINE)
    assert changelog[0] == ("Unreleased", "") and changelog[1][0] == loxo.__version__
    citation = text("CITATION.cff")
    assert f"\nversion: {loxo.__version__}\n" in citation
    assert f"date-released: {changelog[1][1].removeprefix(' - ')}" in citation
    assert json.loads(text("codemeta.json"))["version"] == loxo.__version__
    assert f"version = {{{loxo.__version__}}}" in text("docs/cite.md")


def test_conda_environment_has_the_core_with_its_bounds():
    project = tomllib.loads(text("pyproject.toml"))["project"]
    conda = dict(re.findall(r"^  - ([\w-]+) (\S+)$", text("environment.yml"), re.MULTILINE))
    for requirement in project["dependencies"]:
        name, bounds = re.fullmatch(r"([\w-]+)(.*)", requirement).groups()
        assert conda.pop(CONDA_NAMES.get(name, name)) == bounds, name
    assert conda.keys() == {"python"} and project["requires-python"] in conda["python"]


def test_container_stages():
    container = text("Containerfile")
    stages = re.findall(r"^FROM \S+ AS (\S+)$", container, re.MULTILINE)
    assert {"live", "train"} < set(stages) and stages[-1] == "core"  # the last stage is the default
    sent = {line.removeprefix("!") for line in text(".dockerignore").splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.*)$", container, re.MULTILINE):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists() and name.split("/")[0] in sent, name
    extras = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]
    for named in re.findall(r"'\.\[([\w,]+)\]'", container):
        assert set(named.split(",")) <= set(extras)
    for stage in container.split("\nFROM ")[-3:]:
        assert stage.rstrip().endswith("USER 1000"), "an image runs as root"


def test_issue_forms_ask_for_what_helps():
    yaml = pytest.importorskip("yaml")
    for name, wanted in (("fault", {"doctor", "run"}), ("detection", {"doctor", "run"}), ("wish", {"task"})):
        form = yaml.safe_load(text(f".github/ISSUE_TEMPLATE/{name}.yml"))
        assert form["name"] and form["description"]
        ids = [item["id"] for item in form["body"]]
        assert wanted <= set(ids) and len(ids) == len(set(ids))
    assert "loxo doctor" in text(".github/PULL_REQUEST_TEMPLATE.md")


def test_workflow_mirrors_the_check_on_three_systems():
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load(text(".github/workflows/ci.yml"))
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert "bash .ci/run" in commands and "loxo doctor" in commands
    systems = workflow["jobs"]["core"]["strategy"]["matrix"]["os"]
    assert {name.partition("-")[0] for name in systems} == {"ubuntu", "macos", "windows"}


def test_links_of_the_pages_around_the_package():
    pages = ["CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "CHANGELOG.md"]
    for page in [*pages, "docs/versions.md", "docs/roadmap.md", "docs/cite.md", "docs/containers.md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text(page)):
            assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"
