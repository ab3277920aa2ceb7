"""Words of a request that readers of places and industries share."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from agents.normalize.text import fold
from agents.requests.draft import Draft

_WORD = re.compile(r"[^\W_]+")


class Word(NamedTuple):
    """A word with its place in the text, and its comparable form."""

    text: str
    key: str
    start: int
    end: int


def list_words(draft: Draft) -> list[Word]:
    """List the words that nobody has understood yet. Parts of them keep their positions."""
    return [
        Word(text, text.lower() if text.isascii() else fold(text), found.start(), found.end())
        for found in _WORD.finditer(draft.text)
        for text in (found[0],)
    ]


class PhraseStarts:
    """Which words known phrases begin with: most words of a request begin none of them."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._longest: dict[str, int] = {}
        for phrase in phrases:
            first, count = phrase.partition(" ")[0], phrase.count(" ") + 1
            self._longest[first] = max(count, self._longest.get(first, 0))

    def longest_from(self, word: Word) -> int:
        """Count the words of the longest phrase that begins with this one; 0 for none."""
        return self._longest.get(word.key.partition(" ")[0], 0)


def runs(words: list[Word], at: int, *, longest: int, text: str) -> Iterator[tuple[int, str]]:
    """List the phrases that begin at a word, the longest first, as (end, phrase).

    A phrase never spans a comma, a full stop with a blank, or what was already understood. With
    a `longest` of 0 there is none.
    """
    if not longest:
        return
    end = at + 1
    while end < len(words) and end - at < longest:
        gap = text[words[end - 1].end : words[end].start]
        if len(gap) > 2 or any(mark in gap for mark in ",;:!?¦()\n") or gap == ". ":
            break
        end += 1
    for stop in range(end, at, -1):
        yield stop, " ".join(word.key for word in words[at:stop])


# Everyday words that are one typing mistake away from a place or an industry.
EVERYDAY = frozenset(
    [
        "about",
        "above",
        "accounts",
        "across",
        "active",
        "after",
        "anyone",
        "anything",
        "around",
        "based",
        "because",
        "before",
        "below",
        "between",
        "biggest",
        "bought",
        "building",
        "business",
        "businesses",
        "client",
        "clients",
        "companies",
        "company",
        "corporate",
        "crowd",
        "currently",
        "customer",
        "customers",
        "decent",
        "deals",
        "employee",
        "employees",
        "every",
        "everyone",
        "everything",
        "except",
        "exclude",
        "excluding",
        "female",
        "fewer",
        "finds",
        "first",
        "focus",
        "founded",
        "founder",
        "founders",
        "friends",
        "getting",
        "given",
        "going",
        "great",
        "group",
        "growth",
        "heads",
        "having",
        "hello",
        "interested",
        "interesting",
        "large",
        "larger",
        "largest",
        "leads",
        "least",
        "leave",
        "legit",
        "listed",
        "lists",
        "little",
        "located",
        "local",
        "looking",
        "maybe",
        "medium",
        "might",
        "minimum",
        "money",
        "months",
        "named",
        "names",
        "needs",
        "never",
        "number",
        "offer",
        "other",
        "others",
        "outfit",
        "outside",
        "owned",
        "pairs",
        "parts",
        "people",
        "person",
        "place",
        "places",
        "please",
        "plenty",
        "prospect",
        "prospects",
        "public",
        "qualified",
        "quick",
        "ready",
        "really",
        "relevant",
        "right",
        "sales",
        "search",
        "seller",
        "sellers",
        "sells",
        "selling",
        "sends",
        "serious",
        "shall",
        "should",
        "shops",
        "short",
        "similar",
        "since",
        "small",
        "smaller",
        "solid",
        "somewhere",
        "sorted",
        "source",
        "space",
        "spain",
        "staff",
        "start",
        "started",
        "startup",
        "startups",
        "still",
        "strong",
        "stuff",
        "suite",
        "target",
        "targets",
        "teams",
        "thanks",
        "their",
        "there",
        "these",
        "thing",
        "things",
        "think",
        "those",
        "three",
        "through",
        "today",
        "toward",
        "under",
        "until",
        "users",
        "using",
        "vendor",
        "vendors",
        "wanted",
        "wants",
        "week",
        "weeks",
        "where",
        "which",
        "while",
        "whose",
        "willing",
        "within",
        "without",
        "working",
        "world",
        "would",
        "years",
        "young",
        "indie",
        "scale",
        "price",
        "party",
        "north",
        "south",
        "east",
        "west",
        "where",
        "being",
        "doing",
        "making",
        "leading",
        "level",
        "levels",
        "region",
        "regions",
        "states",
        "state",
        "cities",
        "town",
        "towns",
        "country",
        "countries",
        "market",
        "markets",
        "sized",
        "sizes",
        "energy",
        "native",
        "change",
        "chance",
        "change",
        "plants",
        "planets",
        "phone",
        "phones",
        "power",
        "range",
        "ranges",
        "drops",
        "dates",
        "mostly",
        "mobile",
        "model",
        "models",
        "modern",
        "makes",
        "maker",
        "makers",
        "handle",
        "finance",
        "print",
        "prices",
    ]
)
