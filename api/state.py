"""What all requests of an API process share."""

from dataclasses import dataclass, field
from typing import cast

from fastapi import Request

from api.counters import Counters
from api.queue_watch import QueueWatch
from persistence.sessions import Database


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests a second in the long run, and so many at once after a pause."""

    per_s: float
    burst: int


@dataclass(frozen=True, slots=True)
class ApiState:
    """Made once, at start."""

    database: Database
    prefect_ui_url: str | None = None
    """Where people open Prefect's pages, for links to runs."""
    max_body_bytes: int = 1024 * 1024
    """Largest request body that is read; bulk routes have a limit of their own."""
    max_bulk_body_bytes: int = 64 * 1024 * 1024
    """Largest request body of the routes that end in `/bulk`, read line by line."""
    max_bulk_json_bytes: int = 4 * 1024 * 1024
    """The same as one JSON document, which is held whole."""
    body_timeout_s: float = 30.0
    """How long a client may take to send a body; `bulk_body_timeout_s` for bulk routes."""
    bulk_body_timeout_s: float = 120.0
    token_rate: Rate = Rate(per_s=500.0, burst=2_000)
    """Requests of one token."""
    org_rate: Rate = Rate(per_s=1_000.0, burst=4_000)
    """Requests of all tokens of an organization together."""
    stranger_rate: Rate = Rate(per_s=50.0, burst=500)
    """Requests of one address without a token that was seen to be valid."""
    max_refusals_audited: int = 30
    """Refused attempts that are audited for one token and minute; more are only counted."""
    max_listeners: int = 2_000
    """Event streams of one process, and of one organization in it."""
    max_listeners_per_org: int = 200
    event_ping_s: float = 15.0
    """How often a stream without events shows that it lives, and its token is looked at again."""
    most_org_series: int = 100
    """Organizations that Prometheus is told of one by one."""
    event_send_timeout_s: float = 20.0
    """How long a client may read nothing before its stream is closed."""
    counters: Counters = field(default_factory=Counters)
    """What the process counts for Prometheus."""
    service: QueueWatch = field(init=False)
    """How the queue serves all organizations."""

    def __post_init__(self) -> None:
        """Look at the queue through the same database."""
        object.__setattr__(self, "service", QueueWatch(self.database))


def state_of(request: Request) -> ApiState:
    """Give what the application was made with."""
    return cast(ApiState, request.app.state.api)
