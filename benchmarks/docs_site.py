"""The documentation site in build/site: `python benchmarks/docs_site.py` (make docs).

The pages of docs/ link to files beside them (SECURITY.md, the model card), which a site generator does not publish.
So docs/ is copied to build/docs with these files under project/, and their links are changed. Zensical then builds
strictly: a link or anchor without a target is an error. Its pages would request one script from another host, for the
search in pages on a disk. That script is replaced by the one below.
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
    "src/loxo/weights/recordings.md": "project/training_recordings.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CODE_OF_CONDUCT.md": "project/code_of_conduct.md",
}
FOREIGN = re.compile(r"<script[^>]*https://unpkg.com/iframe-worker/shim[^>]*></script>")
# A browser starts no worker for a page on a disk. Then the script of the search runs in a hidden frame.
WORKER = """<script>
if (location.protocol === "file:") window.Worker = class {
  constructor(url) {
    this.waiting = [];
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.append(this.frame);
    const inside = this.frame.contentWindow;
    inside.postMessage = data => setTimeout(() => this.onmessage?.({data: structuredClone(data)}));
    const script = inside.document.createElement("script");
    script.src = new URL(url, location.href).href;
    script.onload = () => {
      const waiting = this.waiting;
      this.waiting = null;
      waiting.forEach(one => this.postMessage(one));
    };
    script.onerror = error => this.onerror?.(error);
    inside.document.body.append(script);
  }
  postMessage(data) {
    if (this.waiting) this.waiting.push(data); else this.frame.contentWindow.onmessage({data: structuredClone(data)});
  }
  terminate() { this.frame.remove(); }
};
</script>"""
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
        return (
            match[0] if page is None else before + PurePosixPath(os.path.relpath(page, here.parent)).as_posix() + after
        )

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


REQUEST = re.compile(
    r"(?:<(?:script|img|iframe|source|video|audio)[^>]* src=|<link[^>]* rel=\"?(?!canonical)[^>]* href=|url\(|@import )"
    r"[\"']?(?:https?:)?//[^\"'>)]*"
)


def requests(site: Path) -> list[str]:
    """What pages and style sheets would load from other hosts."""
    files = [*site.rglob("*.html"), *site.rglob("*.css")]
    return [f"{path}: {found}" for path in files for found in REQUEST.findall(path.read_text(encoding="utf-8"))]


def main() -> None:
    copy_pages(ROOT / "build" / "docs")
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict", "--clean"]
    ended = subprocess.run(command, cwd=ROOT).returncode
    for page in (ROOT / "build" / "site").rglob("*.html"):
        page.write_text(FOREIGN.sub(lambda _: WORKER, page.read_text(encoding="utf-8")), encoding="utf-8")
    foreign = requests(ROOT / "build" / "site")
    raise SystemExit(ended or "\n".join(foreign) or 0)


if __name__ == "__main__":
    main()
