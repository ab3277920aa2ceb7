"""Places in requests: exact names first, then typing mistakes, then names we do not know."""

import re
from functools import cache
from typing import cast

from agents.places.gazetteer import Place, PlaceKind, load_gazetteer
from agents.requests.draft import TAKEN, Draft, Mention, MentionKind
from agents.requests.typos import MAX_TYPO_WORDS, TypoTargets
from agents.requests.words import EVERYDAY, PhraseStarts, Word, list_words, runs

# Names that are everyday words or letters unless somebody means them.
_UPPER_ONLY = frozenset({"us", "la", "sg", "hk", "gb", "kl", "ny", "dc", "eu", "anz", "bay state"})
_AFTER_PREPOSITION = frozenset({"us", "la", "ny", "dc", "eu"})
_PREPOSITION = re.compile(
    r"(?:\b(?:in|from|near|around|across|outside|of|within|over|throughout|or|and|not|except|excluding)"
    r"(?:\s+the)?|\bthe|,|/|non-?)\s*$",
    re.IGNORECASE,
)
_COUNTRY_BEFORE = re.compile(r"(?:\bthe\s+|\b(?:in|across|throughout|non)[\s-]+)$", re.IGNORECASE)
_IN_BEFORE = re.compile(r"\bin\s+$")
_CODE_BEFORE = re.compile(rf"(?:\b(?:in|from|across|near|outside|throughout)|[,/(]|{TAKEN})\s*$")
_CODE_AFTER_PLACE = re.compile(rf"{TAKEN}\s*,?\s*$")
_WORD_CODES = frozenset({"IN", "OR", "ME", "OK", "HI", "OH", "CO", "ID", "AL", "PA", "MA", "LA"})

# Each is taken whole: words that begin with others ("us", "usa") would be tried in every way.
_GAP_WORDS = (
    r"(?>the|at|as|a|in|of|ones|one|that's|that|is|i\.?e\.?|meaning|city|version's|version|usa|us|"
    r"state|which|,|\(|-|:)"
)
_QUALIFYING_GAP = re.compile(rf"^(?:'s)?(?:\s|{_GAP_WORDS})*$", re.IGNORECASE)
_NOT_WORDS = r"(?:not|rather\s+than|instead\s+of|and\s+not|but\s+not|never|no)"
_REFUSING_GAP = re.compile(
    rf"^(?:\s|{_GAP_WORDS}|\))*\b{_NOT_WORDS}(?:\s|{_GAP_WORDS})*$", re.IGNORECASE
)
_NEAR_ME = re.compile(
    r"\b(?:near|around|close\s+to|next\s+to|by)\s+(?:me|us|here|my\s+\w+|our\s+\w+|where\s+(?:i|we)\s+"
    r"\w+)\b|\bnear-?by\b|\bin\s+(?:my|our|the\s+local|this)\s+(?:area|city|region|town|territory|"
    r"neighbou?rhood|state|country|vicinity|patch)\b|\blocal(?:ly)?\b(?!\s+(?:government|search))|"
    r"\b(?:walking|driving)\s+distance\b|\baround\s+the\s+corner\b",
    re.IGNORECASE,
)
_UNKNOWN_NAME = re.compile(
    r"\b(?:in|near|around|outside(?:\s+of)?|based\s+(?:in|out\s+of)|located\s+in|from)\s+"
    r"(?:the\s+)?([A-Z][a-zà-ÿ'-]{2,}(?:[ -][A-Z][a-zà-ÿ'-]+){0,2})"
)
_NO_NAMES = frozenset(
    [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "series",
    ]
)
_MIN_TYPO_CHARS = 5
_SURE_TYPO_CHARS = 7
"""Long words that are nearly a place's name mean it even without "in" before them."""


def asks_for_nearby(draft: Draft) -> bool:
    """Say whether the request wants places near somebody whose place nobody knows."""
    return _NEAR_ME.search(draft.text) is not None


def take_places(draft: Draft) -> None:
    """Find places by their exact names, abbreviations, demonyms and state codes."""
    gazetteer = load_gazetteer()
    words, at = list_words(draft), 0
    found: list[tuple[int, int, tuple[Place, ...]]] = []
    while at < len(words):
        end = at + 1
        longest = _phrase_starts().longest_from(words[at])
        for stop, phrase in runs(words, at, longest=longest, text=draft.text):
            places = gazetteer.by_phrase.get(phrase)
            if places and _is_meant(draft, words[at:stop], phrase):
                found.append((words[at].start, words[stop - 1].end, places))
                end = stop
                break
        at = end
    for start, stop, places in found:
        _add(draft, start, stop, places=places)
    _take_codes(draft)
    _settle(draft)


def take_misspelt_places(draft: Draft) -> None:
    """Find places with a typing mistake among what nothing else explains."""
    words, at = list_words(draft)[:MAX_TYPO_WORDS], 0
    while at < len(words):
        end = at + 1
        for stop, phrase in runs(words, at, longest=3, text=draft.text):
            places = _nearest(phrase) if _may_be_misspelt(draft, words[at:stop], phrase) else None
            if places:
                _add(draft, words[at].start, words[stop - 1].end, places=places)
                shown = draft.original[words[at].start : words[stop - 1].end]
                draft.notes.append(f'"{shown}" is read as {places[0].name}.')
                end = stop
                break
        at = end
    _settle(draft)


def take_unknown_places(draft: Draft) -> None:
    """Take a capitalized name after "in" for a city, though no list has it."""
    if draft.is_shouted:
        return
    for found in draft.find(_UNKNOWN_NAME):
        name = found[1]
        if name.casefold() not in _NO_NAMES and name.casefold() not in EVERYDAY:
            place = load_gazetteer().resolve(name)
            _add(draft, found.start(1), found.end(1), places=(place,))
            draft.notes.append(f"{name} is not in the list of places: taken for a city's name.")


def _is_meant(draft: Draft, words: list[Word], phrase: str) -> bool:
    if phrase not in _UPPER_ONLY:
        return True
    shown = draft.text[words[0].start : words[-1].end]
    start = words[0].start
    is_marked = "." in shown or (shown.isupper() and not draft.is_shouted)
    if phrase == "us":
        # "Give us" is nobody's country, "the us" is one.
        return is_marked or draft.ends_before(_COUNTRY_BEFORE, start)
    return is_marked or (phrase in _AFTER_PREPOSITION and draft.ends_before(_PREPOSITION, start))


def _take_codes(draft: Draft) -> None:
    if draft.is_shouted:
        return
    regions = load_gazetteer().region_codes
    for word in list_words(draft):
        if len(word.text) != 2 or not word.text.isupper() or word.text not in regions:
            continue
        pattern = _CODE_AFTER_PLACE if word.text in _WORD_CODES else _CODE_BEFORE
        if draft.ends_before(pattern, word.start) or (
            word.text in ("MA", "PA", "CO", "OH") and draft.ends_before(_IN_BEFORE, word.start)
        ):
            _add(draft, word.start, word.end, places=regions[word.text])


def _may_be_misspelt(draft: Draft, words: list[Word], phrase: str) -> bool:
    if len(phrase) < _MIN_TYPO_CHARS or any(character.isdigit() for character in phrase):
        return False
    if all(word.key in EVERYDAY or len(word.key) < 3 for word in words):
        return False
    if words[0].key in EVERYDAY or words[-1].key in EVERYDAY:
        return False
    is_name = words[0].text[0].isupper() and words[0].start > 0 and not draft.is_shouted
    is_long = len(phrase) >= _SURE_TYPO_CHARS
    return len(words) > 1 or is_name or is_long or draft.ends_before(_PREPOSITION, words[0].start)


@cache
def _phrase_starts() -> PhraseStarts:
    return PhraseStarts(load_gazetteer().by_phrase)


@cache
def _typo_targets() -> TypoTargets:
    return TypoTargets(
        phrase for phrase in load_gazetteer().by_phrase if len(phrase) >= _MIN_TYPO_CHARS
    )


def _nearest(phrase: str) -> tuple[Place, ...] | None:
    best = _typo_targets().nearest(phrase, most_typos=1 if len(phrase) < 8 else 2)
    return None if best is None else load_gazetteer().by_phrase[best]


def _add(draft: Draft, start: int, end: int, *, places: tuple[Place, ...]) -> None:
    draft.take(start, end)
    draft.add(MentionKind.PLACE, start, end, value=places)


def _settle(draft: Draft) -> None:
    """Join names that tell where the one before them is: "Cambridge (the Massachusetts one)"."""
    settled: list[Mention] = []
    for mention in draft.of_kind(MentionKind.PLACE):
        if not settled or not _qualify(draft, settled[-1], mention):
            settled.append(mention)
    others = [mention for mention in draft.mentions if mention.kind is not MentionKind.PLACE]
    draft.mentions = [*others, *settled]


def _qualify(draft: Draft, inner: Mention, outer: Mention) -> bool:
    gap = draft.original[inner.end : outer.start]
    candidates, larger = _places(inner), _places(outer)
    if len(gap) > 40 or candidates[0].kind is PlaceKind.AREA:
        return False
    is_refused = _REFUSING_GAP.match(gap) is not None
    if not is_refused and not _QUALIFYING_GAP.match(gap):
        return False
    inside = tuple(
        place for place in candidates if any(_is_inside(place, other) for other in larger)
    )
    if is_refused:
        rest = tuple(place for place in candidates if place not in inside)
        namesakes = load_gazetteer().by_phrase.get(candidates[0].members[0].city or "", ())
        if not rest or not any(_is_inside(each, other) for each in namesakes for other in larger):
            return False
        inner.value = rest
    elif inside:
        inner.value = inside
    else:
        return False
    # A refusal is about the name before it: both words stay one mention.
    inner.end = outer.end
    draft.take(inner.start, inner.end)
    return True


def _is_inside(place: Place, other: Place) -> bool:
    return place is not other and other.kind is not PlaceKind.CITY and other.contains(place)


def _places(mention: Mention) -> tuple[Place, ...]:
    return cast("tuple[Place, ...]", mention.value)
