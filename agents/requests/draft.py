"""A request while it is being read: what is understood is taken out, so nothing reads it twice."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from agents.errors import AgentInputInvalid
from agents.requests.numbers import spell_out_numbers

TAKEN = "¦"
"""Stands for every character that some reader has understood: part of no word."""

MAX_REQUEST_CHARS = 2_000
"""Longest request that is read. Reading takes a fixed time per character; this bounds it to some
tens of milliseconds of a shared worker."""

_SAME = str.maketrans(
    {"’": "'", "‘": "'", "`": "'", "´": "'", "“": '"', "”": '"', "–": "-", "—": " - ", "−": "-"}
    | dict.fromkeys("\u200b\u200c\u200d\ufeff\u00ad", "")
    | {TAKEN: " ", "\x00": " "}
)
_BLANKS = re.compile(r"\s+")
_THEN_FOR_THAN = re.compile(
    r"\b(more|less|fewer|greater|larger|bigger|smaller|higher|lower|later|earlier|older|newer|other|"
    r"rather)\s+(?:then|thn|tan)\b",
    re.IGNORECASE,
)
# Longer than the longest preposition with its article and blanks.
_LOOK_BACK = 40
_ABBREVIATED = re.compile(r"\bexcl\.(?=\s)", re.IGNORECASE)


class MentionKind(StrEnum):
    """What a part of a request speaks of."""

    PLACE = "place"
    INDUSTRY = "industry"
    STATUS = "status"
    HEAD_COUNT = "head_count"
    FOUNDED = "founded"


@dataclass(slots=True)
class Mention:
    """A part of a request that was understood, and whether it is wanted or unwanted."""

    kind: MentionKind
    start: int
    end: int
    value: object
    negated: bool = False


@dataclass(slots=True)
class Draft:
    """The text with what was understood taken out; positions never shift."""

    original: str
    text: str
    is_shouted: bool
    """Whether upper case carries no meaning here."""
    mentions: list[Mention] = field(default_factory=list[Mention])
    notes: list[str] = field(default_factory=list[str])
    unsupported: list[str] = field(default_factory=list[str])

    def find(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """Find what a pattern matches in what is not yet understood, and take it out."""
        position = 0
        while found := pattern.search(self.text, position):
            yield found
            self.take(found.start(), found.end())
            position = max(found.end(), position + 1)

    def take(self, start: int, end: int) -> None:
        """Mark a part as understood."""
        self.text = f"{self.text[:start]}{TAKEN * (end - start)}{self.text[end:]}"

    def ends_before(self, pattern: re.Pattern[str], position: int) -> bool:
        """Say whether a pattern that ends in `$` matches right before a position.

        Only as many characters as such patterns can span are looked at: searching everything
        before each word would take a time that grows with the square of the text.
        """
        return pattern.search(self.text, max(0, position - _LOOK_BACK), position) is not None

    def add(self, kind: MentionKind, start: int, end: int, *, value: object) -> Mention:
        """Note a part that was understood."""
        mention = Mention(kind, start, end, value)
        self.mentions.append(mention)
        return mention

    def of_kind(self, kind: MentionKind) -> list[Mention]:
        """List what was understood of one kind, in the order of the text."""
        return sorted(
            (mention for mention in self.mentions if mention.kind is kind),
            key=lambda mention: mention.start,
        )


def make_draft(text: str, *, max_chars: int = MAX_REQUEST_CHARS) -> Draft:
    """Tidy a request: plain quotes and dashes, single blanks, numbers in digits.

    Raises:
        AgentInputInvalid: it is too long, as written or with its ligatures spelt out.
    """
    _check_length(len(text), most=max_chars)
    tidy = unicodedata.normalize("NFKC", text.translate(_SAME)).translate(_SAME)
    # One Arabic ligature stands for eighteen letters.
    _check_length(len(tidy), most=max_chars)
    tidy = _THEN_FOR_THAN.sub(r"\1 than", _BLANKS.sub(" ", tidy).strip())
    tidy = spell_out_numbers(_ABBREVIATED.sub("excluding", tidy))
    letters = [character for character in tidy if character.isalpha()]
    is_shouted = sum(map(str.isupper, letters)) > 0.6 * len(letters)
    return Draft(original=tidy, text=tidy, is_shouted=is_shouted)


def _check_length(length: int, *, most: int) -> None:
    """Refuse a request of too many characters.

    Raises:
        AgentInputInvalid: it is longer than `most`.
    """
    if length > most:
        raise AgentInputInvalid(
            f"The request has {length:,} characters, and at most {most:,} are read.",
            hint="Say in a sentence or two which leads are wanted.",
        )
