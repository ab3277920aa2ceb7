"""Numbers of employees in requests."""

import re
from dataclasses import dataclass

from agents.lead_criteria import MAX_HEAD_COUNT
from agents.requests.draft import TAKEN, Draft, MentionKind
from agents.requests.numbers import NUMBER, read_number


@dataclass(frozen=True, slots=True)
class Bounds:
    """An inclusive range; None is no bound."""

    low: int | None = None
    high: int | None = None

    def inverted(self) -> "Bounds | None":
        """Give the range of everything outside; None where that is not one range."""
        if self.low is None and self.high is not None:
            return Bounds(low=self.high + 1)
        if self.high is None and self.low is not None:
            return Bounds(high=max(self.low - 1, 0))
        # "No companies with 1 to 9 people": nobody has fewer than one.
        if self.low is not None and self.low <= 1 and self.high is not None:
            return Bounds(low=self.high + 1)
        return None


_UNIT = (
    r"(?:full[\s-]?time\s+|ft\s+)?(?:employees?|emps?|staff(?:ers)?(?:\s+members)?|people|ppl|peeps|"
    r"heads?(?:count)?|folks|workers?|(?:team\s+)?members|persons?|humans|ftes?|souls|bodies|"
    r"seats|hands|strong|team(?:mates)?|pax)\b"
)
_OF = r"(?:\s+(?:full[\s-]?time|total))?"
_U = rf"(?:\s*-?\s*{_UNIT})?"
# What is counted here is no people.
_OTHER = (
    r"(?![\d,.]{0,12}\d)(?!\s*(?:%|percent|k?\s?(?:m|mm|mn|bn|b)\b|million|billion|years?|yrs?|months?|"
    r"weeks?|days?|hours?|minutes?|dollars|usd|eur|euros|pounds|founders?|co-?founders?|offices|"
    r"locations|countries|customers|clients|users|miles|km|kms|kilomet|leads|results|companies|"
    r"startups|start-ups|accounts|firms|businesses|names|prospects|records|rows|rounds|investors|"
    r"products|patents|orgs|organi[sz]ations)\b)"
)
_SIZE_NOUN = (
    r"(?:(?:head\s?-?counts?|team\s+sizes?|company\s+sizes?|staff\s+(?:size|count|numbers)|workforces?|"
    r"employee\s+(?:counts?|numbers?)|number\s+of\s+(?:employees|people|staff)|sizes?|"
    r"employees|people|staff|teams?)\s*(?:is|are|of|:|=|at|with|in\s+the\s+range(?:\s+of)?|range|"
    r"ranging|from|being|that\s+(?:is|are))?\s*)"
)
_N = rf"(?<![\w.$€£¥])({NUMBER})"
_M = rf"({NUMBER})"
_APPROX_WORD = (
    r"(?:around|about|roughly|approximately|approx\.?|circa|c\.|~|some|near(?:ly)?|almost)"
)
_GE_BEFORE = (
    r"(?:at\s+(?:the\s+very\s+)?least|min(?:imum)?\.?(?:\s+(?:of|head\s?count|size|team\s+size))?"
    r"(?:\s+of)?\s*:?|(?:no|not)\s+(?:fewer|less|smaller)\s+than|not\s+(?:under|below)|>=|≥|=>|"
    r"starting\s+(?:at|from|with)|upwards?\s+of|from)"
)
_GT_BEFORE = (
    r"(?:(?:more|greater|larger|bigger|higher|longer)\s+than|over|above|north\s+of|exceed(?:ing|s)?|"
    r"in\s+excess\s+of|>|beyond|past|surpassing|topping|tops|passes|beats|well\s+over|upper\s+of)"
)
_LE_BEFORE = (
    r"(?:at\s+(?:the\s+)?most|max(?:imum)?\.?(?:\s+(?:of|head\s?count|size|team\s+size))?(?:\s+of)?"
    r"\s*:?|up\s+to|(?:no|not)\s+(?:more|larger|bigger|greater|higher)\s+than|not\s+(?:over|above)|"
    r"(?:not|without)\s+exceed(?:ing)?|<=|≤|=<|capped\s+at|within|no\s+bigger\s+than)"
)
_LT_BEFORE = (
    r"(?:(?:fewer|less|smaller|lower)\s+than|under|below|south\s+of|<|shy\s+of|just\s+under)"
)
_GE_AFTER = (
    r"(?:\s*(?:\+|plus\b)|\s*,?\s*(?:or|and)\s+(?:more|larger|bigger|greater|higher|above|over|up|"
    r"upwards?|beyond|better)\b|\s*,?\s*(?:min(?:imum)?\b|at\s+(?:the\s+)?(?:very\s+)?least|"
    r"upwards?\b))"
)
_LE_AFTER = (
    r"(?:\s*,?\s*(?:or|and)\s+(?:fewer|less|smaller|under|below|lower)\b|\s*,?\s*(?:max(?:imum)?\b|"
    r"tops\b|at\s+(?:the\s+)?most))"
)
_BETWEEN = r"(?:(?:some|any)where\s+)?(?:in\s+)?(?:between|betw\.?|b/w|from)"


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_FIGURES = _compile(
    r"\b(single|1|double|two|2|triple|three|3|four|4|five|5)[\s-]+(?:digit|figure)s?\b(?!\s+(?:rev|"
    r"fund|salar|deal|arr|growth|budget|contract))(?:\s+(?:head\s?counts?|team\s+sizes?|teams?|"
    rf"sizes?|staff|workforces?)|\s+(?:number|count|amount)s?\s+of\s+{_UNIT}|\s+{_UNIT})?"
)
_FIGURE_DIGITS = {"single": 1, "double": 2, "two": 2, "triple": 3, "three": 3, "four": 4, "five": 5}
_VAGUE = _compile(
    r"\b(?:(dozens|hundreds|thousands)\s+of\s+" + _UNIT + r"|in\s+the\s+(dozens|hundreds|thousands)"
    r"\b|(?:several|a\s+few|few)\s+(hundred|thousand)\b" + _U + ")"
)
_VAGUE_BOUNDS = {
    "dozens": Bounds(20, 99),
    "hundreds": Bounds(100, 999),
    "thousands": Bounds(1000, None),
    "hundred": Bounds(200, 999),
    "thousand": Bounds(2000, 9999),
}
_RANGES = (
    _compile(
        rf"(?:{_SIZE_NOUN})?\b{_BETWEEN}\s+{_N}{_U}\s*(?:and|to|through|thru|till|until|-|&|\.\.)"
        rf"\s*{_M}{_OTHER}{_U}"
    ),
    _compile(
        rf"(?:\b{_SIZE_NOUN})?{_N}\s*(?:-|to|through|thru|up\s+to|\.\.)\s*{_M}\s*-?\s*{_UNIT}"
    ),
    _compile(rf"\b{_SIZE_NOUN}{_N}\s*(?:-|to|through|thru|up\s+to|and|\.\.)\s*{_M}{_OTHER}"),
    _compile(rf"{_N}\s*(?:-|to)\s*{_M}(?=\s*(?:[,.;)!?]|$|{_SIZE_NOUN}))"),
)
_HEAD = rf"(?:\b{_SIZE_NOUN})?"
_PREFIXED = tuple(
    (name, _compile(rf"{_HEAD}(?<![\w]){before}\s*(?:{_APPROX_WORD}\s+)?{_N}{_OF}{_OTHER}{_U}"))
    for name, before in (
        ("ge", _GE_BEFORE.replace("|from)", ")")),
        ("le", _LE_BEFORE),
        ("gt", _GT_BEFORE),
        ("lt", _LT_BEFORE),
    )
)
_SUFFIXED = tuple(
    (name, _compile(rf"{_HEAD}{_N}{_U}{after}{_OTHER}{_U}"))
    for name, after in (("ge", _GE_AFTER), ("le", _LE_AFTER))
)
_FROM_UP = _compile(rf"\bfrom\s+{_N}{_U}\s+(?:up|on|onwards?|upwards?)\b{_U}")
_EXACT = _compile(rf"\b(?:exactly|precisely|just)\s+{_N}\s*-?\s*{_UNIT}")
_ABOUT = _compile(
    rf"(?:{_APPROX_WORD}\s*)?{_N}(?:\s+or\s+so)?\s*-?\s*{_UNIT}"
    rf"|\b{_SIZE_NOUN}(?:{_APPROX_WORD}\s*){_N}{_OTHER}"
)

# "Large fintech companies": the industry between has been understood already.
_TAKEN = rf"(?:{TAKEN}+\s+)?"
_SIZE_WORDS: tuple[tuple[re.Pattern[str], Bounds, str], ...] = tuple(
    (_compile(pattern), bounds, name)
    for pattern, bounds, name in (
        (
            r"\bsmbs?\b(?:[\s-]sized?)?|\bsmall\s*(?:-|to|and|&|/|,)\s*(?:to\s*-?\s*)?(?:mid(?:dle)?|"
            r"medium)[\s-]*(?:sized?)?(?:\s+(?:business(?:es)?|compan(?:y|ies)|enterprises?))?",
            Bounds(1, 999),
            "SMB",
        ),
        (r"\bsmes?\b", Bounds(1, 249), "SME"),
        (
            rf"\bsmall[\s-]+{_TAKEN}(?:business(?:es)?|biz|compan(?:y|ies)|firms?|shops?|outfits?|"
            r"teams?|start-?ups?|employers?|players?|accounts?)\b",
            Bounds(1, 99),
            "small business",
        ),
        (
            r"\bmid[\s-]*(?:market|sized?|cap)\b|\bmiddle[\s-]market\b|\bmedium[\s-]*sized?\b|"
            r"\bmedium\s+(?:business(?:es)?|compan(?:y|ies)|firms?)\b",
            Bounds(100, 999),
            "mid-market",
        ),
        (
            r"\benterprise[\s-]*(?:sized?|scale|level|class|tier|segment)\b|\b(?:large|big|major|huge)\s+"
            rf"{_TAKEN}"
            r"(?:enterprises?|compan(?:y|ies)|corporations?|corporates?|corps?|businesses|firms|"
            r"organi[sz]ations|employers|accounts|players)\b|\benterprises\b|\benterprise\s+(?:"
            r"accounts?|customers?|clients?|compan(?:y|ies)|firms?|businesses|prospects|leads|buyers)"
            r"\b|\blarge[\s-]caps?\b",
            Bounds(1000, None),
            "enterprise",
        ),
        (
            r"\b(?:tiny|micro)[\s-]*(?:business(?:es)?|compan(?:y|ies)|teams?|start-?ups?)\b",
            Bounds(1, 9),
            "micro",
        ),
    )
)
_NO_SIZE = _compile(
    r"\b(?:any|whatever|every)\s+(?:company\s+|team\s+)?size\b|\bsize\s+(?:does\s*n[o']?t|is\s+not|"
    r"isn't)\s+(?:matter|important|an?\s+issue)|\b(?:don'?t|do\s+not|doesn'?t)\s+(?:care|mind|matter)"
    r"[^,.;!?]{0,40}|\bregardless\s+of\s+(?:the\s+)?(?:size|head\s?count)|\bno\s+size\s+limits?\b|"
    r"\bno\s+(?:matter|preference)[^,.;!?]{0,40}|\b(?:big|large)\s+(?:or|and)\s+small\b"
)


def take_no_size(draft: Draft) -> None:
    """Take out words that say that size does not matter."""
    for _ in draft.find(_NO_SIZE):
        pass


def take_sizes(draft: Draft) -> None:
    """Find all numbers of employees, in digits first, in words of size then."""
    _take_vague_sizes(draft)
    _take_ranges(draft)
    for found in draft.find(_FROM_UP):
        _add(draft, found, Bounds(low=read_number(found[1])))
    for name, pattern in (*_PREFIXED, *_SUFFIXED):
        for found in draft.find(pattern):
            _add(draft, found, _bounds(name, read_number(found[1])))
    for found in draft.find(_EXACT):
        number = read_number(found[1])
        _add(draft, found, Bounds(number, number))
    for found in draft.find(_ABOUT):
        number = read_number(found[1] or found[2])
        bounds = Bounds(max(number * 3 // 4, 1), min(-(-number * 5 // 4), MAX_HEAD_COUNT))
        _add(draft, found, bounds)
        draft.notes.append(f'"{found[0].strip()}" is read as {show_bounds(bounds)}.')


def _take_vague_sizes(draft: Draft) -> None:
    for found in draft.find(_FIGURES):
        word = found[1].lower()
        digits = _FIGURE_DIGITS.get(word) or int(word)
        _add(draft, found, Bounds(max(10 ** (digits - 1), 1), 10**digits - 1))
    for found in draft.find(_VAGUE):
        word = (found[1] or found[2] or found[3]).lower()
        _add(draft, found, _VAGUE_BOUNDS[word])
        draft.notes.append(f'"{found[0].strip()}" is read as {show_bounds(_VAGUE_BOUNDS[word])}.')


def _take_ranges(draft: Draft) -> None:
    for pattern in _RANGES:
        for found in draft.find(pattern):
            low, high = sorted((read_number(found[1]), read_number(found[2])))
            # "1-2k": the scale is said once for both.
            if found[2].lower().endswith("k") and not found[1].lower().endswith("k"):
                low = low * 1000 if low * 1000 <= high else low
            _add(draft, found, Bounds(low, high))


def take_size_words(draft: Draft) -> None:
    """Find words such as SMB. Comes after industries: "enterprise software" is none."""
    for pattern, bounds, name in _SIZE_WORDS:
        for found in draft.find(pattern):
            _add(draft, found, bounds)
            draft.notes.append(f"{name} is read as {show_bounds(bounds)}.")


def show_bounds(bounds: Bounds) -> str:
    """Write a range of employees for people."""
    low, high = bounds.low, bounds.high
    if low is not None and high is not None:
        return f"exactly {low:,} employees" if low == high else f"{low:,} to {high:,} employees"
    if low is not None:
        return f"at least {low:,} employees"
    return f"at most {high or 0:,} employees"


def _bounds(name: str, number: int) -> Bounds:
    match name:
        case "ge":
            return Bounds(low=number)
        case "gt":
            return Bounds(low=number + 1)
        case "le":
            return Bounds(high=number)
        case _:
            return Bounds(high=max(number - 1, 0))


def _add(draft: Draft, found: re.Match[str], bounds: Bounds) -> None:
    draft.add(MentionKind.HEAD_COUNT, found.start(), found.end(), value=bounds)
