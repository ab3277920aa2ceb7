"""What has become of a company, in requests."""

import re
from enum import Enum
from typing import cast

from agents.lead_criteria import LeadStatus
from agents.requests.draft import Draft, MentionKind


class StatusWord(Enum):
    """What a word of status lets through."""

    ACTIVE = frozenset({LeadStatus.ACTIVE})
    PUBLIC = frozenset({LeadStatus.PUBLIC})
    ACQUIRED = frozenset({LeadStatus.ACQUIRED})
    INACTIVE = frozenset({LeadStatus.INACTIVE})
    EXITED = frozenset({LeadStatus.ACQUIRED, LeadStatus.PUBLIC})
    ALL = frozenset(LeadStatus)


_RUNNING = frozenset(LeadStatus) - {LeadStatus.INACTIVE}
_INDEPENDENT = frozenset({LeadStatus.ACTIVE, LeadStatus.PUBLIC})
_PRIVATE = frozenset({LeadStatus.ACTIVE, LeadStatus.ACQUIRED})


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_DEAD = (
    r"(?:inactive|dead|defunct|closed|shut[\s-]?down|shuttered|failed|bankrupt|gone\s+under|"
    r"out\s+of\s+business)"
)
_ALL = _compile(
    rf"\b(?:dead\s+or\s+alive|any\s+status|all\s+statuses|(?:regardless|irrespective)\s+of\s+(?:their\s+)?"
    rf"status|whatever\s+(?:their|the)\s+status|status\s+does\s*n[o']?t\s+matter|(?:including|include|"
    rf"even|incl\.?|also|plus)\s+(?:the\s+|any\s+|those\s+that\s+(?:are|have)\s+)?{_DEAD}(?:\s+ones|"
    rf"\s+companies)?)\b"
    rf"|\b{_DEAD}(?:\s+(?:ones|compan(?:y|ies)|firms|start-?ups))?\s+(?:too|as\s+well|included|also|"
    rf"(?:are\s+|is\s+)?(?:fine|okay|ok|welcome))\b"
)
# Narrowings only: they let through what they name, and never widen the answer.
_NARROWING = (
    (
        _compile(
            r"\b(?:still\s+|currently\s+|yet\s+)?(?:operating(?!\s+system)|in\s+operation|operational|"
            r"up\s+and\s+running|in\s+business(?!\s+for)|alive|trading|going\s+concerns?)\b|\bstill\s+"
            r"(?:running|around|going|standing|exist(?:s|ing)?|live|there)\b|\band\s+running\b"
        ),
        _RUNNING,
    ),
    (
        _compile(
            r"\b(?:independent(?:ly)?|stand-?alone|unacquired|not\s+part\s+of\s+(?:a|an|another)\s+"
            r"\w+)\b"
        ),
        _INDEPENDENT,
    ),
    (_compile(r"\b(?:private(?:ly)?(?:[\s-](?:held|owned))?(?!\s+equity)|unlisted)\b"), _PRIVATE),
)
_WORDS = (
    (
        StatusWord.INACTIVE,
        _compile(
            r"\b(?:inactive|dead|defunct|shut(?:ter(?:ed)?)?[\s-]*(?:down)?(?:\s+(?:its|their)\s+doors)?|"
            r"shutdowns?|closed(?:\s+(?:down|shop|up))?|closed\s+(?:its|their)\s+doors|out\s+of\s+business|"
            r"went\s+(?:under|bust|bankrupt)|gone(?:\s+(?:under|bust|bankrupt))|going\s+under|folded|"
            r"failed|bankrupt(?:cy)?|ceased(?:\s+\w+)?|wound\s+(?:down|up)|no\s+longer\s+(?:operating|"
            r"active|around|in\s+business|exist\w*|running|alive|with\s+us)|(?:not|aren't|isn't)\s+"
            r"(?:operating|around|running|in\s+business)(?:\s+any\s*more|\s+any\s+longer)?|deadpool(?:ed)?|"
            r"kaput|(?:not|non|aren't|isn't)[\s-]+active)\b"
        ),
    ),
    (
        StatusWord.ACQUIRED,
        _compile(
            r"\b(?:acquired|acqui-?hired|(?:been\s+)?bought(?:\s+(?:out|up))?|(?:been\s+)?taken\s+over|"
            r"been\s+sold|sold\s+to|swallowed(?:\s+up)?|snapped\s+up|(?:been\s+)?purchased|absorbed|"
            r"merged|acquisitions?|got\s+bought)\b"
        ),
    ),
    (
        StatusWord.PUBLIC,
        _compile(
            r"\b(?:public(?:ly)?[\s-]+(?:traded|listed|held|owned)|(?:gone|went|going|are|is|been)\s+"
            r"public|listed(?:\s+on\s+(?:the\s+)?[\w\s]{0,20}(?:exchange|nasdaq|nyse|market))?|"
            r"(?:post-?)?ipo(?:s|'?d|ed)?|stock[\s-]listed|on\s+the\s+(?:stock\s+(?:market|exchange)|"
            r"nasdaq|nyse)|public(?!\s+(?:sector|safety|relations?|cloud|health|transport\w*|transit|"
            r"schools?|services?|polic\w+|apis?|utilit\w+|works|affairs|administration)))\b"
        ),
    ),
    (StatusWord.EXITED, _compile(r"\b(?:exited|(?:had\s+)?(?:an\s+)?exits?)\b")),
    (
        StatusWord.ACTIVE,
        _compile(
            r"\b(?:(?:still|currently)\s+)?active(?!\s+(?:users?|customers?|accounts\s+of|pipeline|in\b))"
            r"\b|\bactive(?=\s+in\s+(?!the\s+\w+\s+(?:space|industry)))\b"
        ),
    ),
)


def take_statuses(draft: Draft) -> frozenset[LeadStatus]:
    """Find words of status; what narrowing words alone let through is returned."""
    for found in draft.find(_ALL):
        draft.add(MentionKind.STATUS, found.start(), found.end(), value=StatusWord.ALL)
    allowed = frozenset(LeadStatus)
    for pattern, lets_through in _NARROWING:
        for _ in draft.find(pattern):
            allowed &= lets_through
    for word, pattern in _WORDS:
        for found in draft.find(pattern):
            draft.add(MentionKind.STATUS, found.start(), found.end(), value=word)
    return allowed


def wanted_statuses(draft: Draft, allowed: frozenset[LeadStatus]) -> tuple[LeadStatus, ...]:
    """Put the words together; nothing when the request does not speak of status.

    Words that are wanted add up, unwanted and narrowing ones take away. Unless a request asks
    for inactive companies in so many words, they stay out.
    """
    mentions = draft.of_kind(MentionKind.STATUS)
    wanted: set[LeadStatus] = set()
    unwanted: set[LeadStatus] = set()
    for mention in mentions:
        word = cast("StatusWord", mention.value)
        (unwanted if mention.negated else wanted).update(word.value)
    everything = frozenset(LeadStatus)
    if not mentions and allowed == everything:
        return ()
    if wanted:
        chosen = frozenset(wanted) - unwanted
        # "Active and still running": a narrowing word never contradicts what is asked for.
        chosen = (chosen & allowed) or chosen
    else:
        chosen = (allowed - unwanted) - {LeadStatus.INACTIVE}
        if chosen == everything - {LeadStatus.INACTIVE}:
            return ()
    return tuple(status for status in LeadStatus if status in chosen)
