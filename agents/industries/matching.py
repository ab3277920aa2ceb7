"""How surely a record is of an industry."""

from collections.abc import Sequence
from dataclasses import dataclass

from agents.industries.families import IndustryFamily
from agents.normalize.text import fold

SURE, LIKELY = 1.0, 0.5


@dataclass(frozen=True, slots=True)
class IndustryMatch:
    """How surely (0 to 1) a record is of an industry, and by which of its values."""

    strength: float
    because: tuple[str, ...] = ()


NO_MATCH = IndustryMatch(0.0)


def match_tags(family: IndustryFamily, tags: Sequence[str]) -> IndustryMatch:
    """Compare with tags of a controlled field: whole values only.

    A tag that merely contains the word (`food-service-robots` for food) is another tag.
    """
    because = tuple(tag for tag in tags if tag in family.tags)
    return IndustryMatch(SURE, because) if because else NO_MATCH


def match_labels(family: IndustryFamily, labels: Sequence[str]) -> IndustryMatch:
    """Compare with descriptive labels: by the words in them, in order."""
    sure: list[str] = []
    likely: list[str] = []
    for label in labels:
        folded = fold(label)
        words = f" {folded} "
        if folded in family.whole_labels or any(f" {each} " in words for each in family.labels):
            sure.append(label)
        elif any(f" {each} " in words for each in family.broad):
            likely.append(label)
    if sure:
        return IndustryMatch(SURE, tuple(sure))
    return IndustryMatch(LIKELY, tuple(likely)) if likely else NO_MATCH
