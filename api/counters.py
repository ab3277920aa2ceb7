"""What a process counts for the platform's Prometheus.

No label names a user or workflow, and of these instruments none an organization: each label's
values are few and known. What is told of single organizations is in `queue_metrics.py`.
"""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Counters:
    """One process's instruments, in a registry of their own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Counter = field(init=False)
    request_seconds: Histogram = field(init=False)
    refused: Counter = field(init=False)
    event_clients: Gauge = field(init=False)
    queue_waiting: Gauge = field(init=False)
    queue_oldest_age_seconds: Gauge = field(init=False)
    queue_readable: Gauge = field(init=False)

    def __post_init__(self) -> None:
        """Register the instruments."""
        self._set(
            "requests",
            Counter(
                "tenantry_http_requests",
                "Requests answered.",
                ["method", "route", "status_class"],
                registry=self.registry,
            ),
        )
        self._set(
            "request_seconds",
            Histogram(
                "tenantry_http_request_seconds",
                "Time to the end of the answer; event streams are left out.",
                ["method", "route", "status_class"],
                buckets=_SECONDS,
                registry=self.registry,
            ),
        )
        self._set(
            "refused",
            Counter(
                "tenantry_http_refused",
                "Requests that a limit refused.",
                ["limit"],
                registry=self.registry,
            ),
        )
        for name, metric, help_text in (
            ("event_clients", "tenantry_event_clients", "Open event streams."),
            ("queue_waiting", "tenantry_queue_waiting", "Executions without a worker."),
            (
                "queue_oldest_age_seconds",
                "tenantry_queue_oldest_age_seconds",
                "How long the oldest of them has waited.",
            ),
            (
                "queue_readable",
                "tenantry_queue_readable",
                "1 if the database told the two figures of the queue just now, else 0.",
            ),
        ):
            self._set(name, Gauge(metric, help_text, registry=self.registry))

    def count_refusal(self, limit: str) -> None:
        """Count something that a limit refused."""
        self.refused.labels(limit).inc()

    def _set(self, name: str, instrument: Counter | Gauge | Histogram) -> None:
        object.__setattr__(self, name, instrument)
