"""Which parts of a request are unwanted: how far "not", "except" and their like reach."""

import re

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
    r"^\s*(?:compan(?:y|ies)|firms|start-?ups|ones)?\s*(?:(?:is|are|being|to\s+be|should\s+be|must\s+be)\s+)?"
    r"(?:excluded|excepted|left\s+out|aside|apart|omitted|not\s+(?:included|wanted|welcome|needed))\b",
    re.IGNORECASE,
)
_CLOSED_LIST = re.compile(r"^\s*,?\s*(?:or|and|nor|/|&)\b|^\s*[/&]", re.IGNORECASE)
# From a cue to what it is about there are few words ("leave out anything to do with").
_MAX_REACH = 60


def settle_polarity(draft: Draft) -> None:
    """Mark what is unwanted. Comes last: what readers have taken out holds no cue any more."""
    text = _NO_CUE.sub(lambda found: " " * len(found[0]), draft.text)
    mentions = sorted(draft.mentions, key=lambda mention: mention.start)
    for cue in _CUE.finditer(text):
        _negate_after(text, cue, mentions)
    for mention in mentions:
        if _AFTERWARDS.match(text[mention.end :]):
            mention.negated = True


def _negate_after(text: str, cue: re.Match[str], mentions: list[Mention]) -> None:
    following = [mention for mention in mentions if mention.start >= cue.end()]
    previous: Mention | None = None
    for position, mention in enumerate(following):
        start = previous.end if previous else cue.end()
        gap = text[start : mention.start]
        if previous is None:
            # "Not with fintech" and "without anyone in" still reach; a new clause does not.
            reaches = len(gap) <= _MAX_REACH and not _BOUNDARY.search(gap.replace("with", "    "))
            if not reaches or "," in gap.lstrip(" ,:"):
                return
        elif not _continues(gap, previous, mention, rest=following[position + 1 :], text=text):
            return
        mention.negated = True
        previous = mention
        if cue[0].lower() == "non":
            return


def _continues(
    gap: str, previous: Mention, mention: Mention, *, rest: list[Mention], text: str
) -> bool:
    if mention.kind is not previous.kind or _BOUNDARY.search(gap) or len(gap) > _MAX_REACH:
        return False
    if "," not in gap:
        return True
    if _CLOSED_LIST.match(gap):
        return True
    if gap.strip() != ",":
        return False
    # "No fintech, crypto or gaming": a bare comma goes on only if the list is closed later.
    end = mention.end
    for following in rest:
        between = text[end : following.start]
        if following.kind is not mention.kind:
            return False
        if _CLOSED_LIST.match(between):
            return True
        if between.strip() != ",":
            return False
        end = following.end
    return False
