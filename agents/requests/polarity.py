"""Which parts of a request are unwanted: how far "not", "except" and their like reach."""

import re
from bisect import bisect_left

from agents.requests.draft import Draft, Mention

_NO_CUE = re.compile(
    r"\bnot\s+(?:only|just|necessarily|too|sure|fussy|picky|bothered|limited)\b|\bno\s+(?:need|limits?|"
    r"idea|problem|particular|preference|matter|rush|worries|minimum|maximum)\b|\bwhy\s+not\b|"
    r"\bif\s+not\b|\bor\s+not\b",
    re.IGNORECASE,
)
_CUE = re.compile(
    r"\b(?:not|no|non|without|w/o|except(?:ing|ed)?|exempt(?:ing)?|excl(?:ud(?:e[sd]?|ing))?|"
    r"exclusive\s+of|leav(?:e|ing)\s+(?:out|aside|off)|left\s+out|skip(?:ping)?|avoid(?:ing)?|"
    r"omit(?:ting)?|drop(?:ping)?|minus|less\s+the|other\s+than|apart\s+from|aside\s+from|"
    r"outside(?:\s+of)?|rather\s+than|instead\s+of|(?:anything|everything|everywhere|anywhere|all)\s+but|"
    r"nothing|never|none|don'?t|do\s+not|isn'?t|aren'?t|ain'?t|hasn'?t|haven'?t|weren'?t|wasn'?t|cannot|"
    r"can'?t|won'?t|(?:rule|ruling|filter|filtering|throw|weed|kick|take|taking|cut|strip|keep|keeping|"
    r"screen)(?:ing)?\s+out|stay(?:ing)?\s+away\s+from|steer(?:ing)?\s+clear\s+of|save\s+for|sans|"
    r"bar(?:ring)?|ignor(?:e|ing)|neither|nor|remov(?:e|ing)|nix|ditch|forget(?:\s+about)?|unless|"
    r"hold\s+the|lose\s+the|spare\s+me|keep\s+away\s+from|free\s+of|elsewhere\s+than)\b",
    re.IGNORECASE,
)
_BOUNDARY = re.compile(
    r"[.;!?)]|\s-\s|\bbut\s+(?!also\s+not|not)|\bthough\b|\bhowever\b|\bonly\b|\b(?:and|then|,)\s+(?:find|"
    r"give|show|get|want|need|include|only|keep|make\s+sure)\b|\bwith\b|\bwho\s+have\b|\bhaving\b",
    re.IGNORECASE,
)
_AFTERWARDS = re.compile(
    r"\s*(?:compan(?:y|ies)|firms|start-?ups|ones)?\s*(?:(?:is|are|being|to\s+be|should\s+be|must\s+be)\s+)?"
    r"(?:excluded|excepted|left\s+out|aside|apart|omitted|not\s+(?:included|wanted|welcome|needed))\b",
    re.IGNORECASE,
)
_CLOSED_LIST = re.compile(r"\s*,?\s*(?:or|and|nor|/|&)\b|\s*[/&]", re.IGNORECASE)
# From a cue to what it is about there are few words ("leave out anything to do with").
_MAX_REACH = 60


def settle_polarity(draft: Draft) -> None:
    """Mark what is unwanted. Comes last: what readers have taken out holds no cue any more."""
    text = _NO_CUE.sub(lambda found: " " * len(found[0]), draft.text)
    mentions = sorted(draft.mentions, key=lambda mention: mention.start)
    starts = [mention.start for mention in mentions]
    goes_on = _list_continuations(text, mentions)
    followed: set[int] = set()
    for cue in _CUE.finditer(text):
        first = bisect_left(starts, cue.end())
        if first == len(mentions) or not _reaches(text[cue.end() : starts[first]]):
            continue
        mentions[first].negated = True
        if cue[0].lower() == "non":
            continue
        # What follows a mention does not depend on the cue: each list is walked once.
        position = first
        while position not in followed and position + 1 < len(mentions) and goes_on[position]:
            followed.add(position)
            position += 1
            mentions[position].negated = True
    for mention in mentions:
        if _AFTERWARDS.match(text, mention.end):
            mention.negated = True


def _reaches(gap: str) -> bool:
    """Say whether a cue reaches over these words: "not with fintech", "without anyone in"."""
    if len(gap) > _MAX_REACH or _BOUNDARY.search(gap.replace("with", "    ")):
        return False
    return "," not in gap.lstrip(" ,:")


def _list_continuations(text: str, mentions: list[Mention]) -> list[bool]:
    """Tell for each mention but the last whether a refusal of it goes on to the next one."""
    goes_on = [False] * max(len(mentions) - 1, 0)
    # "No fintech, crypto or gaming": a bare comma goes on only if the list is closed later.
    is_closed_later = False
    for position in range(len(mentions) - 2, -1, -1):
        here, following = mentions[position], mentions[position + 1]
        gap = text[here.end : following.start]
        is_list = here.kind is following.kind
        is_closed = is_list and _CLOSED_LIST.match(gap) is not None
        is_comma = is_list and gap.strip() == ","
        if is_list and len(gap) <= _MAX_REACH and not _BOUNDARY.search(gap):
            goes_on[position] = "," not in gap or is_closed or (is_comma and is_closed_later)
        is_closed_later = is_closed or (is_comma and is_closed_later)
    return goes_on
