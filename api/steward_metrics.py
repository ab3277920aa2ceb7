"""Prometheus figures of the steward, from the row that it writes each round.

Read from the database: a steward that is dead or stuck is then a figure, too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from domain.clock import utc_now
from persistence.run_checks import OpenRuns, measure_open_runs
from persistence.sessions import PlatformSession
from persistence.steward_status import StewardStatus, read_status


@dataclass(frozen=True, slots=True)
class StewardFigures:
    """What the database says of the steward's work."""

    status: StewardStatus
    open_runs: OpenRuns


def read_figures(session: PlatformSession) -> StewardFigures:
    """Read them."""
    return StewardFigures(read_status(session), measure_open_runs(session))


class StewardCollector(Collector):
    """Gives the figures that were last read; none before that, and none while they cannot be."""

    def __init__(self) -> None:
        self.figures: StewardFigures | None = None

    def collect(self) -> Iterator[Metric]:
        """Give every figure, as Prometheus wants it."""
        if self.figures is None:
            return
        status, runs = self.figures.status, self.figures.open_runs
        yield _gauge("tenantry_open_runs", "Prefect flow runs that are open.", runs.count)
        yield _gauge(
            "tenantry_oldest_open_run_age_seconds",
            "How long the oldest of them has been.",
            runs.oldest_age_s,
        )
        for name, text, at in (
            ("round", "Since the steward's last round.", status.round_at),
            ("check", "Since Prefect and the rows were last compared.", status.checked_at),
        ):
            if at is not None:
                yield _gauge(f"tenantry_steward_last_{name}_age_seconds", text, _age_s(at))
        if status.check_seconds is not None:
            yield _gauge(
                "tenantry_steward_check_seconds",
                "How long the last comparison took.",
                status.check_seconds,
            )
        yield _gauge(
            "tenantry_steward_troubles",
            "Steps that the last round could not take.",
            len(status.troubles),
        )
        yield CounterMetricFamily(
            "tenantry_lost_workers",
            "Runs whose worker was not heard of for longer than its lease.",
            value=status.lost_workers,
        )
        yield _by_kind("tenantry_drift_found", "Differences that were found.", status.found)
        yield _by_kind("tenantry_drift_repaired", "Differences put right.", status.repaired)
        left = GaugeMetricFamily(
            "tenantry_drift_left", "Differences that a person has to look at.", labels=["kind"]
        )
        for kind, count in sorted(status.left_over.items()):
            left.add_metric([kind], count)
        yield left


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _by_kind(name: str, text: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["kind"])
    for kind, count in sorted(counts.items()):
        family.add_metric([kind], count)
    return family


def _age_s(at: datetime) -> float:
    return max(0.0, (utc_now() - at).total_seconds())
