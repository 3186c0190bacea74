"""The documentation site. `make docs` builds it strictly; here are its links and its rule that nothing is requested."""

import docs_site


def test_links_between_pages_of_the_site_are_changed():
    text = "[a](../SECURITY.md#what) [b](training.md) [c](../src/loxo/files.py) [d](https://x.org/)"
    changed = docs_site.published(text, "docs/review.md")
    assert changed == "[a](project/security.md#what) [b](training.md) [c](../src/loxo/files.py) [d](https://x.org/)"
    card = docs_site.published("[e](../../../docs/review.md)", "src/loxo/weights/default.md")
    assert card == "[e](../review.md)"


def test_pages_that_request_another_host_are_found(tmp_path):
    (tmp_path / "good.html").write_text('<a href="https://x.org/"><img src="a.png"><link rel="icon" href="i.png">')
    (tmp_path / "good.css").write_text("a { background: url(data:image/png;base64,AA) }")
    assert docs_site.requests(tmp_path) == []
    bad = (
        '<script src="https://x.org/a.js">',
        '<link rel="stylesheet" href="//x.org/a.css">',
        "<img alt=a src=//x.org/a>",
    )
    for text in bad:
        (tmp_path / "bad.html").write_text(text)
        assert len(docs_site.requests(tmp_path)) == 1, text
    (tmp_path / "bad.html").write_text("<script></script>" + docs_site.WORKER)
    assert docs_site.requests(tmp_path) == []
    (tmp_path / "bad.css").write_text("@import 'https://fonts.googleapis.com/a'")
    assert len(docs_site.requests(tmp_path)) == 1
