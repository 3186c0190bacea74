"""The documentation site in build/site: `python benchmarks/docs_site.py` (make docs).

The pages of docs/ link to files beside them (SECURITY.md, the model card), which a site generator does not publish.
So docs/ is copied to build/docs with these files under project/, and their links are changed. Zensical then builds
strictly: a link or anchor without a target is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
PROJECT = {  # published files that are not in docs/: path in the repository -> page
    "src/loxo/weights/default.md": "project/model_card.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "CONTRIBUTING.md": "project/contributing.md",
}
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)]*)?\))")


def page_of(file: str) -> str | None:
    """The page of a file of the repository, if it has one."""
    return file.removeprefix("docs/") if file.startswith("docs/") else PROJECT.get(file)


def published(text: str, file: str) -> str:
    """The text of a file of the repository with links between pages of the site."""
    here = PurePosixPath(page_of(file) or "")

    def link(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        if "://" in target:
            return match[0]
        page = page_of(os.path.normpath(PurePosixPath(file).parent / target).replace(os.sep, "/"))
        return match[0] if page is None else before + PurePosixPath(os.path.relpath(page, here.parent)).as_posix() + after

    return LINK.sub(link, text)


def copy_pages(out: Path) -> None:
    """All pages and pictures of the site, with changed links."""
    shutil.rmtree(out, ignore_errors=True)
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*") if path.is_file()]
    for file in [*files, *PROJECT]:
        target = out / str(page_of(file))
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".md":
            target.write_text(published((ROOT / file).read_text(encoding="utf-8"), file), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / file, target)


def main() -> None:
    copy_pages(ROOT / "build" / "docs")
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict", "--clean"]
    raise SystemExit(subprocess.run(command, cwd=ROOT).returncode)


if __name__ == "__main__":
    main()
