"""Words with a typing mistake: which known word they most likely are."""

from collections import defaultdict
from collections.abc import Iterable

from rapidfuzz import process
from rapidfuzz.distance import OSA

MAX_TYPO_WORDS = 150
"""Words of one request that are looked at for typing mistakes."""


class TypoTargets:
    """Known words. A word means the nearest of them, if that begins with the same letter.

    Comparing with all takes most of a millisecond. So those of the same letter and nearly the same
    length are compared first, some dozens: only where one of them is near are all compared.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = tuple(known)
        self._alike: dict[tuple[str, int], list[str]] = defaultdict(list)
        for word in self._known:
            self._alike[word[0], len(word)].append(word)

    def nearest(self, word: str, *, most_typos: int) -> str | None:
        """Find the known word with the fewest mistakes (letters changed, added, lost, swapped)."""
        is_alike = any(
            process.extractOne(word, same, scorer=OSA.distance, score_cutoff=most_typos)
            for length in range(len(word) - most_typos, len(word) + most_typos + 1)
            if (same := self._alike.get((word[0], length)))
        )
        if not is_alike:
            return None
        best = process.extractOne(word, self._known, scorer=OSA.distance, score_cutoff=most_typos)
        return best[0] if best is not None and best[0][0] == word[0] else None
