"""How much of the platform an organization and a workflow may have."""

from dataclasses import dataclass

from domain.errors import ErrorCode, TenantryError

MAX_BATCH = 1_000
"""The most executions that one run may carry."""
MAX_RUNNING = 1_000_000
"""The largest limit on running or waiting executions that can be set."""
MAX_WEIGHT = 1_000.0
MIN_WEIGHT = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgLimits:
    """An organization's. Without a number there is no limit."""

    weight: float = 1.0
    """Its share while others wait as well: 3 gets three times what 1 gets."""
    max_running: int | None = None
    """Executions that run at a time."""
    max_queued: int | None = None
    """Executions that wait at a time; more are refused."""
    is_paused: bool = False
    """Nothing of it is started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowLimits:
    """A workflow's. Without a number there is no limit."""

    max_running: int | None = None
    max_batch: int | None = None
    """Executions in one Prefect flow run; 1 gives each a run of its own."""
    is_paused: bool = False


class QueueFull(TenantryError):
    """An organization has as many executions waiting as it may."""

    code = ErrorCode.QUEUE_FULL
    retryable = True
    retry_after_s = 30

    def __init__(self, *, waiting: int, limit: int) -> None:
        super().__init__(
            f"{waiting:,} executions of your organization wait already; it may have {limit:,}.",
            hint="Wait until some have started, or ask the platform's operator for a higher "
            "`max_queued`.",
        )
