"""Prometheus figures of how the queue serves organizations: waits, shares, and how equal they are.

The only ones that name organizations, by id, and only so many of them: each series costs
Prometheus memory for as long as it keeps data. The sums of all are there whoever is named.
"""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from domain.served import OrgService, PlatformService, choose_shown

WINDOW_S = 300
"""The span that the figures are of."""
_QUANTILES = ("0.5", "0.95")
_OF_ORG: Mapping[str, tuple[str, Callable[[OrgService], float]]] = {
    "waiting": ("Its executions without a worker.", lambda org: org.waiting),
    "oldest_age_seconds": ("How long the oldest has waited.", lambda org: org.oldest_age_s),
    "running": ("Its executions that a worker has.", lambda org: org.running),
    "started": ("What of it started within the window.", lambda org: org.started),
    "completed": ("What of it ran and ended within the window.", lambda org: org.completed),
    "weight": ("Its weight.", lambda org: org.weight),
}


class QueueCollector(Collector):
    """Gives the figures that were last read; none before that, and none while they cannot be."""

    def __init__(self, *, most_orgs: int) -> None:
        self.figures: PlatformService | None = None
        self._most_orgs = most_orgs

    def collect(self) -> Iterator[Metric]:
        """Give every figure, as Prometheus wants it."""
        found = self.figures
        if found is None:
            return
        yield from _of_all(found)
        shown = choose_shown(found.orgs, most=self._most_orgs)
        yield _gauge(
            "tenantry_queue_orgs_not_shown",
            "Those of them that have no figures of their own here.",
            len(found.orgs) - len(shown),
        )
        yield from _of_each(found, shown)


def _of_all(found: PlatformService) -> Iterator[Metric]:
    yield _gauge("tenantry_queue_window_seconds", "What the figures are of.", found.window_s)
    yield _waits(
        "tenantry_queue_wait_seconds",
        "How long what started within the window had waited.",
        found.wait_p50_s,
        found.wait_p95_s,
    )
    for name, text, pick in (
        ("jain_index", "Jain's index of what organizations got, by weight.", "index"),
        (
            "fair_part_index",
            "Jain's index of what they got, by what each could have had.",
            "index_of_fair_parts",
        ),
    ):
        family = GaugeMetricFamily(f"tenantry_queue_{name}", text, labels=["of"])
        for of, shares in (("started", found.started), ("completed", found.completed)):
            family.add_metric([of], getattr(shares, pick))
        yield family
    yield _gauge(
        "tenantry_queue_orgs", "Organizations that asked for anything of late.", len(found.orgs)
    )


def _of_each(found: PlatformService, shown: list[OrgService]) -> Iterator[Metric]:
    for name, (text, figure) in _OF_ORG.items():
        family = GaugeMetricFamily(f"tenantry_org_{name}", text, labels=["org"])
        for org in shown:
            family.add_metric([org.org_id], figure(org))
        yield family
    share = GaugeMetricFamily(
        "tenantry_org_share", "Which part of all was its own, 0 to 1.", labels=["org", "of"]
    )
    waits = GaugeMetricFamily(
        "tenantry_org_wait_seconds",
        "How long what of it started within the window had waited.",
        labels=["org", "quantile"],
    )
    for org in shown:
        share.add_metric([org.org_id, "started"], found.started.of(org.org_id))
        share.add_metric([org.org_id, "completed"], found.completed.of(org.org_id))
        for quantile, wait_s in zip(_QUANTILES, (org.wait_p50_s, org.wait_p95_s), strict=True):
            if wait_s is not None:
                waits.add_metric([org.org_id, quantile], wait_s)
    yield share
    yield waits


def _waits(name: str, text: str, *waits_s: float | None) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["quantile"])
    for quantile, wait_s in zip(_QUANTILES, waits_s, strict=True):
        if wait_s is not None:
            family.add_metric([quantile], wait_s)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
