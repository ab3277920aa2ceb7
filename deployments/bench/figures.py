"""Measurements, and what is made of them: medians over rounds, with the least and the most."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from domain.json_data import JsonObject

Facts = Mapping[str, int | float | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One contender in one round."""

    count: int
    elapsed_s: float
    latencies_ms: tuple[float, ...] = ()
    pickups_ms: tuple[float, ...] = ()
    stages_ms: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    cpu_s: Mapping[str, float] = field(default_factory=dict[str, float])
    """By process, from the start until the stack was quiet again."""
    rss_mb: Mapping[str, float] = field(default_factory=dict[str, float])
    facts: Facts = field(default_factory=dict[str, int | float | str])
    cut_off_of: int | None = None
    """How many there were to do, when the time was up before all were done."""
    ended: int | None = None
    """How many had ended when the stack was quiet again, where that is more than `count`."""
    check: Callable[[], Facts] | None = None
    """Holds what was written against what must be there; not part of what is measured."""

    @property
    def per_s(self) -> float:
        """How many a second; of a round that was cut off, until then."""
        return self.count / self.elapsed_s

    def using(self, cpu_s: Mapping[str, float], rss_mb: Mapping[str, float]) -> "Measured":
        """Add what the processes have used."""
        return replace(self, cpu_s=cpu_s, rss_mb=rss_mb)

    def checked(self) -> "Measured":
        """Check what was written, and add what the check has found out.

        Raises:
            BenchFailed: something is missing or wrong.
        """
        return self if self.check is None else replace(self, facts=self.check(), check=None)


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Sum up one value a round, of at least one round."""
        return cls(statistics.median(values), min(values), max(values))

    def as_json(self) -> JsonObject:
        """Write it down."""
        return {
            "median": round(self.median, 3),
            "min": round(self.least, 3),
            "max": round(self.most, 3),
        }


@dataclass(frozen=True, slots=True)
class Line:
    """One contender over all rounds."""

    contender: str
    at_once: int | None
    """How many at a time; `None` where the engine decides."""
    rounds: Sequence[Measured]
    missing: str | None = None
    """Why there is nothing to show."""

    @property
    def per_s(self) -> Spread | None:
        """How many a second."""
        return Spread.of([each.per_s for each in self.rounds]) if self.rounds else None

    @property
    def latency_ms(self) -> Spread | None:
        """The median latency of each round."""
        return _medians([each.latencies_ms for each in self.rounds])

    @property
    def pickup_ms(self) -> Spread | None:
        """The median time from POST to the claim, of each round."""
        return _medians([each.pickups_ms for each in self.rounds])

    @property
    def is_cut(self) -> bool:
        """Whether a round was cut off."""
        return any(each.cut_off_of is not None for each in self.rounds)

    def cpu_ms(self) -> dict[str, float]:
        """Median CPU milliseconds for each execution, by process."""
        names = {name for each in self.rounds for name in each.cpu_s}
        return {
            name: statistics.median(
                each.cpu_s.get(name, 0.0) / max(each.ended or each.count, 1) * 1000
                for each in self.rounds
            )
            for name in sorted(names)
        }

    def rss_mb(self) -> dict[str, float]:
        """The most memory that was resident at the end of a round, by process."""
        names = {name for each in self.rounds for name in each.rss_mb}
        return {
            name: max(each.rss_mb.get(name, 0.0) for each in self.rounds) for name in sorted(names)
        }

    def stages_ms(self) -> dict[str, float]:
        """Median time of each stage, over all rounds."""
        names = list(dict.fromkeys(name for each in self.rounds for name in each.stages_ms))
        return {
            name: statistics.median(
                [time for each in self.rounds for time in each.stages_ms.get(name, ())]
            )
            for name in names
        }


def _medians(rounds: Sequence[Sequence[float]]) -> Spread | None:
    medians = [statistics.median(each) for each in rounds if each]
    return Spread.of(medians) if medians else None


BARE, DBOS, SINGLE, COALESCED = "bare", "dbos", "single", "coalesced"
MIRROR, PROCESS_WORKER = "mirror", "process_worker"


def make_ratios(lines: Sequence[Line]) -> dict[str, float | None]:
    """Compare: `None` where one side was not measured.

    Throughput is set against the best that the other side reached, however many at a time.
    """
    coalesced = _best(lines, COALESCED)
    single, bare = (_latency(lines, name) for name in (SINGLE, BARE))
    pickup = next((e.pickup_ms for e in lines if e.contender == SINGLE and e.at_once == 1), None)
    return {
        "coalesced_over_dbos": _divide(coalesced, _best(lines, DBOS)),
        "coalesced_over_bare": _divide(coalesced, _best(lines, BARE)),
        "single_latency_over_bare": _divide(single, bare),
        "single_latency_over_process_worker": _divide(single, _latency(lines, PROCESS_WORKER)),
        "pickup_ms_p50": round(pickup.median, 1) if pickup else None,
    }


def _best(lines: Sequence[Line], contender: str) -> float | None:
    rates = [each.per_s.median for each in lines if each.contender == contender and each.per_s]
    return max(rates, default=None)


def _latency(lines: Sequence[Line], contender: str) -> float | None:
    """Give the median latency with one at a time."""
    for each in lines:
        if each.contender == contender and each.at_once == 1 and each.latency_ms:
            return each.latency_ms.median
    return None


def _divide(one: float | None, other: float | None) -> float | None:
    return round(one / other, 3) if one is not None and other else None
