"""Why an execution waits: what stands before it, the most decisive first."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from domain.executions import FINAL, ExecutionStatus


class PauseScope(StrEnum):
    """What is paused for all organizations."""

    INSTALLATION = "installation"
    WORK_POOL = "work_pool"


class BlockerKind(StrEnum):
    """What keeps an execution from starting."""

    ENDED = "ended"
    CALLED_OFF = "called_off"
    STARTING = "starting"
    INSTALLATION_PAUSED = "installation_paused"
    WORK_POOL_PAUSED = "work_pool_paused"
    ORGANIZATION_PAUSED = "organization_paused"
    WORKFLOW_PAUSED = "workflow_paused"
    NO_WORKER = "no_worker"
    NO_AGENT_TYPE = "no_agent_type"
    PREFECT_AWAY = "prefect_away"
    ORGANIZATION_LIMIT = "organization_limit"
    WORKFLOW_LIMIT = "workflow_limit"
    BEHIND_OTHERS = "behind_others"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Blocker:
    """One reason, in words for the tenant; `count` is what it counts, if it counts anything."""

    kind: BlockerKind
    message: str
    hint: str
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitFacts:
    """What is known of an execution's place in the queue. Nothing of other organizations."""

    status: ExecutionStatus
    has_run: bool
    is_called_off: bool
    waiting_since: datetime
    ahead: int
    """Executions of the same organization that come before it."""
    org_running: int
    org_limit: int | None
    org_is_paused: bool
    workflow_name: str
    workflow_running: int
    workflow_limit: int | None
    workflow_is_paused: bool
    busiest: Sequence[tuple[str, int]] = ()
    """Which workflows of the organization run most, with how many executions each."""
    workers: int
    is_prefect_away: bool
    started_per_s: float
    """How many of the organization's executions started a second of late."""
    pauses: Sequence[PauseScope] = ()
    """What pauses the queue of all organizations."""
    agent_types: Collection[str] = ()
    """What its workflow version needs."""
    carried_types: Sequence[Collection[str] | None] = ()
    """What each worker carries; `None` of one that does not say."""


def find_blockers(facts: WaitFacts) -> list[Blocker]:
    """List what stands before an execution, the most decisive first; never empty."""
    done = _not_waiting(facts)
    if done is not None:
        return [done]
    found = [*_pauses(facts), *_services(facts), *_limits(facts)]
    if facts.ahead:
        found.append(
            Blocker(
                BlockerKind.BEHIND_OTHERS,
                f"{facts.ahead:,} executions of your organization come before it.",
                "Ask with a smaller `priority` number next time if it is more urgent than they.",
                facts.ahead,
            )
        )
    return found or [
        Blocker(
            BlockerKind.NEXT,
            "It is the next one of your organization: a worker takes it when it has room.",
            "Wait a moment. If it lasts, all workers are busy: more of them would help.",
        )
    ]


def expect_start(facts: WaitFacts, *, now: datetime) -> datetime | None:
    """Say when it may start, from how fast the organization's executions started of late.

    `None` if it does not wait, cannot start as things are, or nothing started of late.
    """
    stuck = {BlockerKind.BEHIND_OTHERS, BlockerKind.NEXT}
    stuck |= {BlockerKind.ORGANIZATION_LIMIT, BlockerKind.WORKFLOW_LIMIT}
    if facts.started_per_s <= 0 or any(each.kind not in stuck for each in find_blockers(facts)):
        return None
    return now + timedelta(seconds=(facts.ahead + 1) / facts.started_per_s)


def _not_waiting(facts: WaitFacts) -> Blocker | None:
    if facts.status in FINAL:
        return Blocker(
            BlockerKind.ENDED,
            f"It does not wait: it is {facts.status.value}.",
            "Read the execution for how it ended.",
        )
    if facts.has_run:
        return Blocker(
            BlockerKind.STARTING,
            "It does not wait: a worker has taken it.",
            "Read its timeline for what it does.",
        )
    if facts.is_called_off:
        return Blocker(
            BlockerKind.CALLED_OFF,
            "It does not wait: it was called off, and is about to end.",
            "Nothing needs to be done.",
        )
    return None


def _pauses(facts: WaitFacts) -> list[Blocker]:
    found: list[Blocker] = []
    if PauseScope.INSTALLATION in facts.pauses:
        found.append(
            Blocker(
                BlockerKind.INSTALLATION_PAUSED,
                "Tenantry is paused: nothing starts, for any organization.",
                "It waits, and starts when the platform's operator goes on: `tenantry resume`.",
            )
        )
    if PauseScope.WORK_POOL in facts.pauses:
        found.append(
            Blocker(
                BlockerKind.WORK_POOL_PAUSED,
                "Prefect's work pool is paused: nothing starts, for any organization.",
                "It waits, and starts when the platform's operator resumes the pool in Prefect.",
            )
        )
    if facts.org_is_paused:
        found.append(
            Blocker(
                BlockerKind.ORGANIZATION_PAUSED,
                "Your organization is paused.",
                "Ask the platform's operator to go on: `tenantry limits set --resume`.",
            )
        )
    if facts.workflow_is_paused:
        found.append(
            Blocker(
                BlockerKind.WORKFLOW_PAUSED,
                f"The workflow `{facts.workflow_name}` is paused.",
                "An editor can go on: `PUT /api/v1/workflows/{workflow}/limits`.",
            )
        )
    return found


def _services(facts: WaitFacts) -> list[Blocker]:
    found: list[Blocker] = []
    if facts.workers == 0:
        found.append(
            Blocker(
                BlockerKind.NO_WORKER,
                "No worker is running.",
                "Ask the platform's operator to start one: `tenantry worker`.",
                0,
            )
        )
    lacking = _find_lacking_types(facts)
    if lacking:
        names = ", ".join(f"`{name}`" for name in lacking)
        found.append(
            Blocker(
                BlockerKind.NO_AGENT_TYPE,
                f"No worker carries agent type {names}."
                if len(lacking) == 1
                else f"No worker carries all of the agent types {names}.",
                "Ask the platform's operator for a worker of a version that has it.",
                len(lacking),
            )
        )
    if facts.is_prefect_away:
        found.append(
            Blocker(
                BlockerKind.PREFECT_AWAY,
                "Prefect's server does not answer.",
                "It starts by itself when Prefect is back; the platform's operator can see to it.",
            )
        )
    return found


def _find_lacking_types(facts: WaitFacts) -> list[str]:
    """List what no worker carries; where each is carried by some and all by none, all of them."""
    needed = set(facts.agent_types)
    if any(types is None or needed <= set(types) for types in facts.carried_types):
        return []
    if not facts.carried_types:
        return []
    carried = {name for types in facts.carried_types for name in types or ()}
    return sorted(needed - carried or needed)


def _limits(facts: WaitFacts) -> list[Blocker]:
    found: list[Blocker] = []
    if facts.org_limit is not None and facts.org_running >= facts.org_limit:
        by = ", ".join(f"`{name}` ({count:,})" for name, count in facts.busiest)
        found.append(
            Blocker(
                BlockerKind.ORGANIZATION_LIMIT,
                f"Your organization may run {facts.org_limit:,} executions at a time, and "
                f"{facts.org_running:,} run{': ' + by if by else ''}.",
                "Wait for some to end, or ask the platform's operator for a higher limit.",
                facts.org_running,
            )
        )
    if facts.workflow_limit is not None and facts.workflow_running >= facts.workflow_limit:
        found.append(
            Blocker(
                BlockerKind.WORKFLOW_LIMIT,
                f"The workflow `{facts.workflow_name}` may run {facts.workflow_limit:,} executions "
                f"at a time, and {facts.workflow_running:,} run.",
                "Wait for some to end, or raise `max_running` in the workflow's limits.",
                facts.workflow_running,
            )
        )
    return found
