"""The documentation site, where its generator is installed (the extra docs): it builds strictly and loads nothing from
other hosts."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import docs_site

ROOT = Path(__file__).resolve().parents[1]


def test_links_between_pages_of_the_site_are_changed():
    text = "[a](../SECURITY.md#what) [b](training.md) [c](../src/loxo/files.py) [d](https://x.org/)"
    changed = docs_site.published(text, "docs/review.md")
    assert changed == "[a](project/security.md#what) [b](training.md) [c](../src/loxo/files.py) [d](https://x.org/)"
    card = docs_site.published("[e](../../../docs/review.md)", "src/loxo/weights/default.md")
    assert card == "[e](../review.md)"


@pytest.mark.skipif(find_spec("zensical") is None, reason="the site is built where Zensical is installed: make docs")
def test_the_site_builds_strictly_and_requests_no_other_host():
    subprocess.run([sys.executable, ROOT / "benchmarks" / "docs_site.py"], check=True)
    pages = [*(ROOT / "build" / "site").rglob("*.html")]
    assert len(pages) > 40
    tags = r"<(?:script|img|iframe|source|video|audio)[^>]* src=|<link[^>]* rel=\"?(?!canonical)[^>]* href="
    loaded = re.compile(rf"(?:{tags})\"?(?:https?:)?//")
    for page in pages:
        assert not loaded.search(page.read_text(encoding="utf-8")), page
    for sheet in (ROOT / "build" / "site").rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet
