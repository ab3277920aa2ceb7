"""Numbers in requests: words, dozens, thousands separators."""

import re
from typing import cast

from text_to_num import text2num  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

_UNITS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
_WORD = "|".join(sorted(_UNITS.split(), key=len, reverse=True))
_SCALE = "hundred|thousand|million"
_AFTER_SCALE = r"(?:(?<=hundred)|(?<=thousand)|(?<=million))"
# "And" goes on only after a scale: "between twenty-five and one hundred" are two numbers.
_RUN = re.compile(
    rf"\b(?:(?:{_WORD})|(?:a|an)\s+(?:{_SCALE}))"
    rf"(?:[\s-]+(?:{_WORD}|{_SCALE})|{_AFTER_SCALE}\s+and\s+(?:{_WORD}))*\b(?!s)",
    re.IGNORECASE,
)
_DIGITS_AND_SCALE = re.compile(
    r"\b([0-9]+(?:\.[0-9]+)?)\s+(hundred|thousand|grand)\b", re.IGNORECASE
)
_BARE_SCALE = re.compile(
    r"(?<!of )(?<![0-9] )\b(hundred|thousand)(?=\s*\+|\s+(?:or|and|plus|employees|people|staff))",
    re.IGNORECASE,
)
_DOZEN = re.compile(
    r"\b(half\s+a|half|a\s+couple\s+(?:of\s+)?|couple\s+(?:of\s+)?|a|an|[0-9]+)?[\s-]*dozen\b(?!s)",
    re.IGNORECASE,
)
_COUPLE = re.compile(r"\b(?:a\s+)?couple\s+(?:of\s+)?(hundred|thousand)\b", re.IGNORECASE)
# "One" counts only where something is counted: "the Massachusetts one" is no number.
_COUNTED_ONE = re.compile(
    r"\s*(?:-|\+|or\s+(?:more|two|fewer|less)|to\s|(?:co-?)?founder|person|employee|people|man\b)",
    re.IGNORECASE,
)
_SCALES = {"hundred": 100, "thousand": 1000, "grand": 1000}

NUMBER = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,3}(?![0-9])|[0-9]{1,9}(?![0-9])(?:\.[0-9]{1,3}(?![0-9]))?)"
    r"(?:\s?k\b)?"
)
"""A number in digits, as a part of other patterns: `1,000`, `50`, `2.5k`. Its length is bounded,
so that no text of digits and commas takes long to search."""

_MAX_NUMBER = 100_000_000


def spell_out_numbers(text: str) -> str:
    """Write number words in digits: "fifty" becomes 50, "two dozen" 24, "a thousand" 1000."""
    text = _COUPLE.sub(lambda found: str(2 * _SCALES[found[1].lower()]), text)
    text = _RUN.sub(lambda found: _run_in_digits(found, text), text)
    text = _DIGITS_AND_SCALE.sub(
        lambda found: f"{float(found[1]) * _SCALES[found[2].lower()]:.0f}", text
    )
    text = _BARE_SCALE.sub(lambda found: str(_SCALES[found[1].lower()]), text)
    return _DOZEN.sub(_dozen_in_digits, text)


def read_number(text: str) -> int:
    """Read what `NUMBER` matched; fractions of people are dropped."""
    digits = text.replace(",", "").strip().lower()
    if digits.endswith("k"):
        return min(int(float(digits.removesuffix("k")) * 1000), _MAX_NUMBER - 1)
    return min(int(float(digits)), _MAX_NUMBER - 1)


def _run_in_digits(found: re.Match[str], text: str) -> str:
    words = found[0].lower().replace("-", " ")
    if words == "one" and not _COUNTED_ONE.match(text, found.end()):
        return found[0]
    words = re.sub(r"^(?:a|an)\s+", "one ", words)
    try:
        return str(cast("int", text2num(words, "en")))
    except ValueError:
        # Words in an order that makes no number ("twenty thirty"): leave them as they are.
        return found[0]


def _dozen_in_digits(found: re.Match[str]) -> str:
    amount = (found[1] or "a").strip().lower()
    if amount.startswith("half"):
        return "6"
    if "couple" in amount:
        return "24"
    return str(12 * (int(amount) if amount.isdecimal() else 1))
