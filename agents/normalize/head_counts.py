"""Numbers of employees as people type them."""

import math
import re
import unicodedata
from decimal import Decimal
from numbers import Real

# No company has had more than some three million employees: beyond is a phone number or money.
MAX_HEAD_COUNT = 10_000_000
_MAX_CHARS = 400

_SCALES = {"k": 1_000, "thousand": 1_000, "m": 1_000_000, "mn": 1_000_000, "million": 1_000_000}
_NUMBER = re.compile(
    r"(?<![0-9A-Za-z])(?<![0-9][.,])"
    r"(?P<whole>[0-9]{1,3}(?:(?P<sep>[,.'’ ])[0-9]{3}(?:(?P=sep)[0-9]{3}){0,2})(?![0-9])"
    r"|[0-9]{1,9}(?![0-9]))"
    r"(?P<fraction>[.,][0-9]{1,2}(?![0-9]))?"
    r"\s?(?P<scale>(?:k|m|mn|thousand|million)\b)?",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(r"\s*[-−][\s]?[0-9]")
_YEAR = re.compile(r"(?:1[89]|20)[0-9]{2}")
_MONTH_OR_DATE_BEFORE = re.compile(
    r"(?:\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?(?:\s[0-9]{1,2},?)?"
    r"|\b(?:in|as of|since|fy|year|during)|[0-9]{1,2}[./-])\s*$",
    re.IGNORECASE,
)
_FISCAL_YEAR_BEFORE = re.compile(r"\bfy\s?$", re.IGNORECASE)
# What stands right before a number is looked at, and not all before it, number by number.
_LOOK_BACK = 40
_PARENTHESES = re.compile(r"\(([^()]*)\)")
_WHOLE_GROUP = re.compile(
    r"(?<!non)(?<!non-)(?<!non )\b(?:consolidated|group|total)\b", re.IGNORECASE
)


def parse_head_count(value: object) -> int | None:
    """Read a number of employees out of a record's value; None when it says none.

    Text around it, approximations ("c. 3,500", "360,000+"), scales ("2.5k", "~1.2 million") and
    dates in parentheses are understood. Of a range ("10-50") the lower end is taken, so that a
    lead never claims more people than its source does; of several numbers, the one of the whole
    group, else the first. Zero, negative numbers and more than ten million mean unknown.
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, Decimal | Real):
        number = float(value)
        return _plausible(math.floor(number)) if math.isfinite(number) else None
    # Cut again: a ligature may stand for eighteen letters.
    text = unicodedata.normalize("NFKC", str(value)[:_MAX_CHARS])[:_MAX_CHARS].replace("’", "'")
    return None if _NEGATIVE.match(text) else _parse_text(text)


def _parse_text(text: str) -> int | None:
    outside = _PARENTHESES.sub(lambda found: " " * len(found[0]), text)
    numbers = [
        (found.start(), found.end(), count)
        for found in _NUMBER.finditer(outside)
        if (count := _count_of(found, outside)) is not None
    ]
    if not numbers:
        return _labelled_inside(text)
    if len(numbers) == 1:
        return _labelled_inside(text) or numbers[0][2]
    for position, (start, end, count) in enumerate(numbers):
        before = text[numbers[position - 1][1] if position else 0 : start]
        after = text[end : numbers[position + 1][0] if position + 1 < len(numbers) else None]
        label = re.match(r"\s*\(([^()]*)\)", after)
        if label and _WHOLE_GROUP.search(label[1]):
            return count
        if re.search(r":\s*$", before) and _WHOLE_GROUP.search(before):
            return count
    return numbers[0][2]


def _labelled_inside(text: str) -> int | None:
    """Find a number that stands in parentheses beside its label: "8,056 (44,495 consolidated)"."""
    for found in _PARENTHESES.finditer(text):
        inside = found[1]
        label = _WHOLE_GROUP.search(inside)
        if label is None:
            continue
        for number in _NUMBER.finditer(inside):
            count = _count_of(number, inside)
            gap = inside[number.end() : label.start()] or inside[label.end() : number.start()]
            if count is not None and not gap.strip(" :"):
                return count
    return None


def _count_of(found: re.Match[str], text: str) -> int | None:
    whole, fraction, scale = found["whole"], found["fraction"], found["scale"]
    is_year = _YEAR.fullmatch(whole) and not fraction and not scale
    look_back = max(0, found.start() - _LOOK_BACK)
    if is_year and _MONTH_OR_DATE_BEFORE.search(text, look_back, found.start()):
        return None
    if _FISCAL_YEAR_BEFORE.search(text, look_back, found.start()):
        return None
    digits = re.sub(r"[^0-9]", "", whole)
    number = Decimal(digits)
    if scale and found["sep"] in {".", ","} and len(digits) <= 6:
        # "1.250 million": with a scale the mark is a decimal one.
        number = Decimal(re.sub(r"[^0-9]", ".", whole, count=1))
    if fraction:
        number += Decimal("0." + fraction[1:])
    if scale:
        number *= _SCALES[scale.lower()]
    return _plausible(math.floor(number))


def _plausible(count: int) -> int | None:
    return count if 0 < count <= MAX_HEAD_COUNT else None
