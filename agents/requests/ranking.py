"""How many companies a request wants, and in which order."""

import re

from agents.lead_criteria import LeadSort
from agents.requests.draft import Draft


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_N = r"([0-9]{1,4})"
_LARGE = r"(?:biggest|largest|highest[\s-]headcount|greatest)"
_SMALL = r"(?:smallest|tiniest|littlest)"
_NEW = r"(?:newest|youngest|most\s+recently\s+(?:founded|started)|most\s+recent|latest)"
_OLD = r"(?:oldest|longest[\s-]running|earliest(?:[\s-]founded)?)"
_COMPANY = (
    r"(?:compan(?:y|ies)|leads?|accounts?|names|firms?|start-?ups?|prospects?|business(?:es)?|results?|"
    r"vendors?|players?|employers?|targets?|hits|matches|records|rows|outfits|orgs?|organi[sz]ations?)"
)
_BY_SIZE = (
    r"(?:head\s?-?count|team[\s-]size|company\s+size|employees?|employee\s+(?:count|numbers?)|size|"
    r"number\s+of\s+(?:employees|people|staff)|staff(?:\s+(?:size|count|numbers))?|people)"
)
_SORTED = r"(?:(?:sort(?:ed)?|rank(?:ed|ing)?|order(?:ed)?|list(?:ed)?|arranged?)\s+(?:them\s+)?)?"

_WORDS: tuple[tuple[LeadSort, re.Pattern[str]], ...] = tuple(
    (sort, _compile(pattern))
    for sort, pattern in (
        (
            LeadSort.SMALLEST_FIRST,
            rf"\b{_SMALL}(?:\s+(?:first|ones\s+first))?\b|\b(?:fewest|least)\s+(?:employees|people|staff)"
            rf"\b|\b{_SORTED}by\s+{_BY_SIZE}\s*,?\s*(?:\(?asc(?:ending)?\)?|from\s+small\w*\s+to\s+\w+)|"
            r"\bascending(?:\s+order)?\b",
        ),
        (
            LeadSort.LARGEST_FIRST,
            rf"\b{_LARGE}(?:\s+(?:first|ones\s+first))?\b|\b(?:most|highest\s+number\s+of)\s+(?:employees|"
            rf"people|staff|headcount)\b|\bhighest\s+{_BY_SIZE}\b|\b{_SORTED}by\s+{_BY_SIZE}"
            r"(?:\s*,?\s*\(?desc(?:ending)?\)?)?|\bdescending(?:\s+order)?\b|\bbig\s+ones\s+first\b",
        ),
        (LeadSort.NEWEST_FIRST, rf"\b{_NEW}(?:\s+first)?\b"),
        (LeadSort.OLDEST_FIRST, rf"\b{_OLD}(?:\s+first)?\b"),
    )
)
_SUPERLATIVE = rf"(?:{_LARGE}|{_SMALL}|{_NEW}|{_OLD})"
_NOT_A_LIMIT = (
    r"(?!\s*(?:\+|-|%|,[0-9]|plus\b|to\b|or\s+(?:more|fewer|less)|k\b|m\b|employees|people|staff|ppl|"
    r"heads|folks|workers|founders?|person|years?|months?|days?|weeks?|minutes?))"
)
_LIMITS = (
    _compile(rf"\b(?:top|first|best)[\s-]{_N}\b{_NOT_A_LIMIT}"),
    _compile(rf"\b{_N}\s+(?={_SUPERLATIVE}\b)"),
    _compile(rf"(?<=est )\b{_N}\b{_NOT_A_LIMIT}(?=\s+[a-z])"),
    _compile(
        rf"\b(?:limit(?:ed)?|cap(?:ped)?)\s*(?:it\s+|them\s+|the\s+list\s+|results?\s+)?(?:to|at|of|:)?\s*"
        rf"{_N}\b(?:\s+{_COMPANY})?{_NOT_A_LIMIT}"
    ),
    _compile(
        rf"\b(?:give|show|send|get|find|list|need|want|pull|fetch|grab|just|only|max(?:imum)?|pick|"
        rf"at\s+most|up\s+to|no\s+more\s+than|name)\s+(?:(?:me|us|the|about|up\s+to|at\s+most|max|just|"
        rf"only|a\s+list\s+of|out|some)\s+){{0,3}}{_N}\b{_NOT_A_LIMIT}(?=\s+(?:[\w&/'-]+\s+){{0,5}}?"
        rf"{_COMPANY}\b)"
    ),
    _compile(
        rf"\b(?:give|show|send|get|find|list|pull|fetch|grab|name)\s+(?:me\s+|us\s+)?{_N}\b"
        rf"{_NOT_A_LIMIT}(?=\s+[a-z])"
    ),
    _compile(rf"\b{_N}\s+(?:results|leads|matches|hits|rows)\s+(?:max(?:imum)?|at\s+most|tops)\b"),
)
_ONE = _compile(
    rf"\b(?:the|single|which\s+is\s+the|who\s+is\s+the)\s+(?:single\s+)?{_SUPERLATIVE}\s+(?:[\w&/-]+\s+)"
    r"{0,4}?(?:company|firm|start-?up|business|employer|vendor|player|lead|account|one)\b(?!\s*(?:in\s+"
    r"each|per))"
)
_TOP = _compile(r"\btop[\s-]+(?=[0-9])")


def take_ranking(draft: Draft) -> tuple[LeadSort | None, int | None]:
    """Find the order and the number of companies that are wanted."""
    limit: int | None = 1 if _ONE.search(draft.text) else None
    is_top = _TOP.search(draft.text) is not None
    for pattern in _LIMITS:
        for found in draft.find(pattern):
            limit = max(int(found[1]), 1)
    chosen: LeadSort | None = None
    for sort, pattern in _WORDS:
        for _ in draft.find(pattern):
            chosen = chosen or sort
    if chosen is None and is_top and limit is not None:
        chosen = LeadSort.LARGEST_FIRST
        draft.notes.append('"Top" is read as: most employees first.')
    return chosen, limit
