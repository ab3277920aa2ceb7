"""Who got how much by when: shares over completed work, as pure rules."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.queue_shares import jain_index

TENTHS = 10


@dataclass(frozen=True, slots=True, order=True)
class End:
    """One execution's end: when, in seconds, and whose it was."""

    at_s: float
    org: str


@dataclass(frozen=True, slots=True)
class Mark:
    """What everybody had got when a part of the way was gone."""

    at_s: float
    done: Mapping[str, int]

    def index(self, weights: Mapping[str, float]) -> float:
        """Say how equal it is, by weight."""
        return jain_index([self.done.get(org, 0) / weights[org] for org in weights])

    def share(self, org: str) -> float:
        """Say which part of all was one organization's."""
        return self.done.get(org, 0) / max(1, sum(self.done.values()))


def mark_tenths(ends: Sequence[End]) -> list[Mark]:
    """Count when each tenth of all executions had ended, by whoever ended it.

    What ended at the same moment, as executions of one run do, counts together.
    """
    order = sorted(ends)
    marks: list[Mark] = []
    for tenth in range(1, TENTHS + 1):
        at_s = order[-(-len(order) * tenth // TENTHS) - 1].at_s
        marks.append(Mark(at_s, Counter(each.org for each in order if each.at_s <= at_s)))
    return marks


def count_windows(ends: Sequence[End], *, count: int) -> list[Mark]:
    """Count by time instead: what ended within each of some equal spans, of the whole way."""
    first, last = min(ends).at_s, max(ends).at_s
    span_s = max(last - first, 1e-9) / count
    found: list[Counter[str]] = [Counter() for _ in range(count)]
    for each in ends:
        found[min(count - 1, int((each.at_s - first) / span_s))][each.org] += 1
    return [Mark(first + span_s * (place + 1), done) for place, done in enumerate(found)]


def percentile(values: Sequence[float], part: float) -> float:
    """Give the value that a part of all does not exceed: of ten, the 95th is the tenth."""
    order = sorted(values)
    return order[max(0, -(-int(len(order) * part * 1000) // 1000) - 1)]
