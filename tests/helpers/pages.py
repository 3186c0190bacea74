"""A page as a browser reads it, and what it loads."""

import re
from html.parser import HTMLParser

LOADS = {"src", "href", "xlink:href", "data", "poster", "srcset", "action"}


class Page(HTMLParser):
    """Whatever a page would load, and what a reader reads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.loads += [value or "" for name, value in attributes if name in LOADS]

    def handle_data(self, data):
        self.words.append(data)


def assert_self_contained(path):
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert all(load.startswith(("#", "data:")) for load in page.loads)
    assert not re.search(r"url\((?!\s*['\"]?(#|data:))|@import", text)
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "img"}
    assert "default-src 'none'" in text  # and a browser is told so
    return page
