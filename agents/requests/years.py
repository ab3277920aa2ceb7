"""Years of foundation, batches and founders in requests."""

import re

from agents.requests.draft import Draft, MentionKind
from agents.requests.sizes import Bounds

_Y = r"((?:19|20)[0-9]{2})\b(?!\s*(?:employees|people|staff|\+?\s*(?:ppl|heads)))"
_FOUND = (
    r"(?:(?:was\s+|were\s+|got\s+|been\s+)?(?:founded|started(?:\s+up)?|established|est\.?|launched|"
    r"incorporated|created|born|set\s+up|formed|begun|opened|founding\s+(?:year|date)|inception|"
    r"year\s+(?:of\s+foundation|founded))\s*(?:year|date|is|:|in|on|during|back\s+in|sometime|"
    r"anywhere|anytime|any\s+time|the\s+year)?\s*)"
)
_F = rf"(?:\b{_FOUND})?"


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_LATER = r"(?:later|after|newer|onwards?|since|beyond|younger|more\s+recent(?:ly)?|up)"
_BETWEEN = _compile(
    rf"{_F}(?:\b(?:between|from)\s+)?\b{_Y}\s*(?:-|to|and|through|until|till)\s*{_Y}"
)
_ONE_SIDED: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, _compile(pattern))
    for name, pattern in (
        ("min", rf"{_F}\b{_Y}\s*(?:,\s*)?(?:or|and)\s+{_LATER}\b|{_F}\b{_Y}\s*(?:onwards?\b|\+)"),
        ("max", rf"{_F}\b{_Y}\s*(?:,\s*)?(?:or|and)\s+(?:earlier|before|older|prior)\b"),
        (
            "min",
            rf"{_F}\b(?:no\s+earlier\s+than|not\s+(?:before|earlier\s+than)|since|from|"
            rf"starting(?:\s+(?:in|from))?|as\s+of|at\s+the\s+earliest\s+in)\s+{_Y}"
            rf"(?:\s+(?:on(?:wards?)?|forward))?",
        ),
        (
            "max",
            rf"{_F}\b(?:no\s+later\s+than|not\s+(?:after|later\s+than)|until|till|by|through|"
            rf"up\s+to)\s+{_Y}",
        ),
        (
            "after",
            rf"{_F}\b(?:after|post|later\s+than|newer\s+than|more\s+recent(?:ly)?\s+than|past|"
            rf"younger\s+than)[\s-]*{_Y}",
        ),
        (
            "before",
            rf"{_F}\b(?:before|pre|prior\s+to|earlier\s+than|older\s+than|predat(?:e|es|ing)|"
            rf"preceding)[\s-]*{_Y}",
        ),
        ("decade", rf"{_F}\b(?:(?:in|from|during|of)\s+)?(?:the\s+)?((?:19|20)[0-9]0)'?s\b"),
        ("exact", rf"\b{_FOUND}{_Y}"),
    )
)
_YOUNG = _compile(
    rf"\b{_FOUND}?(?:in|within|over|during)\s+the\s+(?:last|past)\s+([0-9]{{1,2}})\s+years?\b"
    r"|\b(?:less|fewer|no\s+more|no\s+older|not\s+older|younger|newer)\s+than\s+([0-9]{1,2})\s+"
    r"years?(?:\s+(?:old|ago|of\s+age))?|\b(?:under|at\s+most|up\s+to)\s+([0-9]{1,2})\s+years?\s+old"
)
_OLD = _compile(
    r"\b(?:(?:more|older)\s+than|over|at\s+least|above)\s+([0-9]{1,2})\s+years?\s*(?:old|ago|"
    r"of\s+age|in\s+business)?\b|\b([0-9]{1,2})\+\s*years?\s+(?:old|in\s+business)"
)

_BATCH_CODE = re.compile(r"\b(IK|[WSFX])'?([0-9]{2})\b")
_BATCH_CODE_LOWER = _compile(
    r"\b(ik|[wsfx])'?([0-9]{2})\b(?=\s*(?:batch|cohort|class|companies|yc))"
)
_BATCH_AFTER_YC = _compile(
    r"(?<=\byc )(ik|[wsfx])'?([0-9]{2})\b|(?<=\bbatch )(ik|[wsfx])'?([0-9]{2})\b"
)
_SEASON = _compile(
    r"\b(winter|summer|fall|autumn|spring)(?:\s+(?:batch|cohort|class))?(?:\s+of)?\s*'?"
    r"(?:20)?([0-9]{2})\b"
)
_YEAR_BATCH = _compile(r"\b20([0-9]{2})\s+(?:yc\s+)?(?:batch|cohort|class)(?:es|s)?\b")
_SEASON_LETTERS = {"winter": "W", "summer": "S", "fall": "F", "autumn": "F", "spring": "X"}
_BATCH_NOISE = _compile(r"\by\s?combinator\b|\byc(?:-backed)?\b|\bbatch(?:es)?\b|\bcohorts?\b")

_FOUNDER = r"(?:co-?\s?)?founders?\b"
_FOUNDERS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, _compile(pattern))
    for name, pattern in (
        (
            "one",
            r"\b(?:solo|single|sole|lone)[\s-]+(?:technical\s+)?(?:founders?|founded|founding)\b|"
            r"\b(?:founded|started|run|built)\s+by\s+(?:a\s+)?(?:single|solo|sole|lone|1|just\s+1|"
            r"only\s+1|one)\s*(?:person|founder|individual)?\b|\bonly\s+(?:1|one)\s+founder\b|"
            r"\b(?:1|one)[\s-](?:person|man)[\s-]founded\b",
        ),
        (
            "many",
            rf"\b(?:multiple|several|more\s+than\s+(?:1|one))\s+{_FOUNDER}|\bco-?founded\b|"
            r"\bfounding\s+teams?\b(?!\s+of)",
        ),
        ("range", rf"\b([0-9]{{1,2}})\s*(?:-|to|or)\s*([0-9]{{1,2}})\s+{_FOUNDER}"),
        (
            "ge",
            rf"\b(?:at\s+least|minimum(?:\s+of)?|min\.?)\s+([0-9]{{1,2}})\s+{_FOUNDER}|"
            rf"\b([0-9]{{1,2}})\s*(?:\+|or\s+more|plus)\s*{_FOUNDER}|"
            rf"\b([0-9]{{1,2}})\s+{_FOUNDER}\s+(?:or\s+more|at\s+least|minimum)",
        ),
        ("gt", rf"\b(?:more\s+than|over|above)\s+([0-9]{{1,2}})\s+{_FOUNDER}"),
        ("lt", rf"\b(?:fewer\s+than|less\s+than|under|below)\s+([0-9]{{1,2}})\s+{_FOUNDER}"),
        (
            "le",
            rf"\b(?:at\s+most|up\s+to|no\s+more\s+than|max(?:imum)?)\s+([0-9]{{1,2}})\s+{_FOUNDER}|"
            rf"\b([0-9]{{1,2}})\s+(?:or\s+fewer|or\s+less)\s+{_FOUNDER}",
        ),
        (
            "eq",
            rf"\b(?:exactly\s+)?([0-9]{{1,2}})[\s-]+{_FOUNDER}|\b{_FOUNDER}\s*(?:count|number)?\s*"
            r"(?:=|:|of|is)\s*([0-9]{1,2})\b|\bfounding\s+teams?\s+of\s+([0-9]{1,2})\b|"
            r"\bfounded\s+by\s+([0-9]{1,2})(?:\s+(?:people|persons|founders|individuals))?\b",
        ),
        ("duo", r"\b(?:founder\s+(?:duo|pair)s?|pair\s+of\s+founders|duo\s+of\s+founders)\b"),
    )
)


def take_years(draft: Draft, *, this_year: int) -> None:
    """Find years of foundation; ages ("less than 5 years old") are counted from `this_year`."""
    for found in draft.find(_YOUNG):
        years = int(found[1] or found[2] or found[3])
        _add(draft, found, Bounds(low=this_year - years))
    for found in draft.find(_OLD):
        _add(draft, found, Bounds(high=this_year - int(found[1] or found[2])))
    for found in draft.find(_BETWEEN):
        low, high = sorted((int(found[1]), int(found[2])))
        _add(draft, found, Bounds(low, high))
    for name, pattern in _ONE_SIDED:
        for found in draft.find(pattern):
            year = int(next(group for group in found.groups() if group))
            _add(draft, found, _year_bounds(name, year))


def take_batches(draft: Draft) -> tuple[str, ...]:
    """Find batches of a start-up programme, such as W21 or winter 2021."""
    batches: list[str] = []
    for pattern in (_BATCH_CODE, _BATCH_CODE_LOWER, _BATCH_AFTER_YC):
        for found in draft.find(pattern):
            letters, digits = (group for group in found.groups() if group)
            batches.append(f"{letters.upper()}{digits}")
    for found in draft.find(_SEASON):
        batches.append(f"{_SEASON_LETTERS[found[1].lower()]}{found[2]}")
    for found in draft.find(_YEAR_BATCH):
        batches.extend(f"{letter}{found[1]}" for letter in "WS")
    for _ in draft.find(_BATCH_NOISE):
        pass
    return tuple(dict.fromkeys(batches))


def take_founders(draft: Draft) -> Bounds:
    """Find how many founders are wanted; no bounds when the request does not say."""
    wanted = Bounds()
    for name, pattern in _FOUNDERS:
        for found in draft.find(pattern):
            wanted = _founder_bounds(name, [int(group) for group in found.groups() if group])
    return wanted


def _year_bounds(name: str, year: int) -> Bounds:
    match name:
        case "min":
            return Bounds(low=year)
        case "max":
            return Bounds(high=year)
        case "after":
            return Bounds(low=year + 1)
        case "before":
            return Bounds(high=year - 1)
        case "decade":
            return Bounds(year, year + 9)
        case _:
            return Bounds(year, year)


def _founder_bounds(name: str, numbers: list[int]) -> Bounds:
    match name:
        case "one":
            return Bounds(1, 1)
        case "many":
            return Bounds(low=2)
        case "duo":
            return Bounds(2, 2)
        case "range":
            return Bounds(min(numbers), max(numbers))
        case "ge":
            return Bounds(low=numbers[0])
        case "gt":
            return Bounds(low=numbers[0] + 1)
        case "le":
            return Bounds(high=numbers[0])
        case "lt":
            return Bounds(high=max(numbers[0] - 1, 0))
        case _:
            return Bounds(numbers[0], numbers[0])


def _add(draft: Draft, found: re.Match[str], bounds: Bounds) -> None:
    draft.add(MentionKind.FOUNDED, found.start(), found.end(), value=bounds)
