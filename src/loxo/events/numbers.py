"""Numbers in tables, as programs write them in English, German, French, Swiss and Arabic.

1234.5 is also written 1,234.5 or 1.234,5 or 1 234,5 or 1'234.5. A point or a comma is therefore a decimal sign or a
thousands separator, and `12,345` alone has two readings, with a factor of 1,000 between them. These rules decide, in
this order (`ColumnNumbers`):

1. One number with a single reading decides for all columns of its group. Such numbers contain both signs (the last is
   the decimal sign), one sign twice (`1,234,567`), or one sign that does not separate three digits (`12,5`, `0,345`,
   `1234,567`). The time columns are one group, the frequency columns another one.
2. Only with one decimal sign does each event end after its start, agree with its duration, and have a lower
   frequency below the upper one and a score of at most 1.
3. The other groups of the table contain one decimal sign only. A reading as thousands is reported then.
4. Otherwise the sign is read as a decimal sign, and the row is reported as ambiguous.

Spaces of any width and apostrophes separate thousands. Minus signs and dashes of Unicode, and the digits of all
scripts, are accepted. A cell with another form, such as `1_000` or `12 34`, is not a number.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from loxo.events.cells import ParsedTable
from loxo.events.table import COLUMNS

SIGNS = (".", ",")
GROUPS = (("begin", "end", "duration", "offset"), ("low", "high"), ("score",))  # fields with one decimal sign
ROUNDING_S = 0.51  # a duration may be rounded to whole seconds

_SPACES = "\u00a0\u2007\u2008\u2009\u202f"
_EQUIVALENT = str.maketrans(
    {
        **dict.fromkeys(_SPACES, " "),
        **dict.fromkeys("\u2018\u2019\u02bc\uff07", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-"),
        **{"\uff0b": "+", "\uff0c": ",", "\uff0e": "."},
        **dict.fromkeys("\u200e\u200f\u061c", None),  # direction marks around Arabic numbers
    }
)
_WORDS = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}
# A number with one decimal sign. \u066b and \u066c are the Arabic decimal sign and thousands separator. The groups are
# of three digits; Indian groups before the last have two.
_FORMS = {
    sign: re.compile(
        rf"[+-]?(?:(?:\d+(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?"
        rf"|[1-9]\d{{0,2}}(?P<group>[ '\u066c{other}])(?:\d{{2,3}}(?P=group))*\d{{3}}(?:{decimal}\d*)?)"
    )
    for sign, decimal, other in ((".", "[.\u066b]", ","), (",", "[,\u066b]", "."))
}


@lru_cache(maxsize=65536)
def readings(text: str) -> tuple[float | None, float | None]:
    """Returns the number in a cell with a decimal point and with a decimal comma; None where it has no such form."""
    text = text.strip()
    if not text.isascii():
        text = text.translate(_EQUIVALENT).strip()
        text = "".join(str(unicodedata.decimal(mark)) if mark.isdecimal() else mark for mark in text)
    whole, point, fraction = text.partition(".")
    if whole.isdecimal() and (not point or (fraction.isdecimal() and len(fraction) != 3)):  # fast for usual numbers
        return float(text), None if point else float(text)
    word = _WORDS.get(text.lstrip("+-").casefold())
    if word is not None:
        word = -word if text[0] == "-" else word
        return word, word
    return _read(text, "."), _read(text, ",")


def _read(text: str, sign: str) -> float | None:
    match = _FORMS[sign].fullmatch(text)
    if match is None:
        return None
    plain = text.replace(match["group"], "") if match["group"] else text
    return float(plain.replace(sign, ".").replace("\u066b", "."))


def to_number(text: str, sign: str | None = None) -> float | None:
    """Returns the number in a cell, else None. With two readings, `sign` is the decimal sign, by default its own."""
    point, comma = readings(text)
    if point is None or comma is None or point == comma:
        return comma if point is None else point
    if sign is None:
        sign = "," if "," in text else "."
    return point if sign == "." else comma


def has_two_readings(text: str) -> bool:
    """Returns True if a number is 1,000 times larger with the other decimal sign."""
    point, comma = readings(text)
    return point is not None and comma is not None and abs(point - comma) > 0  # NaN has one reading


def decimal_sign(texts: Iterable[str]) -> str | None:
    """Returns the decimal sign of the numbers that have a single reading; None if there is none or there are two."""
    return _only(_decimal_signs(texts))


class ColumnNumbers:
    """The numbers of a table. Its columns decide how numbers with two readings are read."""

    def __init__(self, table: ParsedTable) -> None:
        self.table = table
        groups = [[field for field in group if field in table.columns] for group in GROUPS]
        texts = [
            [text for _, row in table.rows for field in group for text in table.texts(row, field)] for group in groups
        ]
        found = [_decimal_signs(cells) for cells in texts]
        self.sign = _only(set[str]().union(*found))  # of the whole table
        self.own: dict[str, str | None] = {}  # decimal sign of each field; rules 1 and 2
        self.others: dict[str, str | None] = {}  # rule 3
        self.doubtful: list[str] = []  # fields with numbers that these rules may not decide
        for k, group in enumerate(groups):
            own = "." if table.header[: len(COLUMNS)] == list(COLUMNS) else _only(found[k])  # Loxo's events.csv
            if own is None and any(map(has_two_readings, texts[k])):
                if not found[k]:
                    own = _only(sign for sign in SIGNS if not self._contradicts(group, sign))
                self.doubtful += group if own is None else []
            self.own |= dict.fromkeys(group, own)
            self.others |= dict.fromkeys(group, None if found[k] else self.sign)

    def parse(self, row: list[str], field: str, sign: str | None = None) -> float | None:
        """Returns the number in a field of a row: NaN for an empty cell or a missing column, None for other text."""
        text = self.table.text(row, field)
        return to_number(text, sign or self.own[field] or self.others[field]) if text else math.nan

    def ambiguous(self, row: list[str]) -> list[str]:
        """Returns how those numbers of a row are read that have two readings which the table does not decide."""
        texts = {field: self.table.text(row, field) for field in self.doubtful}
        return [
            f"{text!r} is read as {to_number(text, self.others[field]):.10g}"
            for field, text in texts.items()
            if has_two_readings(text) and (self.others[field] or "none") not in text
        ]

    def _contradicts(self, group: list[str], sign: str) -> bool:
        """Returns True if a row has no meaning with this decimal sign."""
        fields = ("begin", "end", "duration", "low", "high", "score")
        for _, row in self.table.rows:
            value = dict.fromkeys(fields, math.nan)
            for field in group:
                number = self.parse(row, field, sign)
                value[field] = math.nan if number is None else number
            begin, end, duration, low, high, score = (value[field] for field in fields)
            if end < begin or abs(end - begin - duration) > ROUNDING_S or low > high or score > 1:
                return True
        return False


def _decimal_signs(texts: Iterable[str]) -> set[str]:
    signs = set()
    for text in texts:
        point, comma = readings(text)
        if (point is None) != (comma is None):
            signs.add("." if comma is None else ",")
    return signs


def _only(signs: Iterable[str]) -> str | None:
    """Returns the sign if there is only one."""
    found = set(signs)
    return found.pop() if len(found) == 1 else None
