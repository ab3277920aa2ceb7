"""What is asked of a million executions: every filter, and filters together."""

from collections.abc import Callable
from datetime import datetime, timedelta

from domain.execution_queries import ExecutionFilter
from domain.executions import ExecutionStatus, Trigger
from domain.ids import OrgId, WorkflowId
from persistence.metrics import Bucket, Group, measure_executions
from persistence.sessions import OrgSession

Wanted = Callable[[OrgId], ExecutionFilter]
Ask = Callable[[OrgSession, OrgId], object]
_FAILED = frozenset({ExecutionStatus.FAILED})
_THREE = _FAILED | {ExecutionStatus.CANCELLED, ExecutionStatus.PENDING}
_TEAM, _ENV = ("team", "t5"), ("env", "prod")
_SPANS = (("a day by hour", 1, Bucket.HOUR), ("30 days by day", 30, Bucket.DAY))


def single_filters(now: datetime) -> dict[str, Wanted]:
    """Name each filter, as it is asked in an organization."""
    day = now - timedelta(days=10)
    same: dict[str, ExecutionFilter] = {
        "no filter": ExecutionFilter(),
        "one status": ExecutionFilter(statuses=_FAILED),
        "three statuses": ExecutionFilter(statuses=_THREE),
        "a status that none has": ExecutionFilter(statuses=frozenset({ExecutionStatus.PAUSED})),
        "trigger": ExecutionFilter(trigger=Trigger.SCHEDULE),
        "a trigger that none has": ExecutionFilter(trigger=Trigger.REPLAY),
        "error code": ExecutionFilter(error_code="agent.timed_out"),
        "an error code that none has": ExecutionFilter(error_code="agent.config_invalid"),
        "a day": ExecutionFilter(created_after=day, created_before=day + timedelta(days=1)),
        "since a day": ExecutionFilter(created_after=day),
        "until a day": ExecutionFilter(created_before=day),
        "requester": ExecutionFilter(requested_by="user_7"),
        "batch": ExecutionFilter(batch_id="batch_3"),
        "label": ExecutionFilter(labels=(_TEAM,)),
        "a label that many have": ExecutionFilter(labels=(_ENV,)),
        "a label that none has": ExecutionFilter(labels=(("team", "nobody"),)),
    }
    found: dict[str, Wanted] = {name: _for_all(wanted) for name, wanted in same.items()}
    found["workflow"] = lambda org_id: ExecutionFilter(workflow_id=workflow_of(org_id))
    return found


def combined_filters(now: datetime) -> dict[str, Wanted]:
    """Name filters that are asked together."""
    day = now - timedelta(days=10)
    end = day + timedelta(days=1)
    paused = frozenset({ExecutionStatus.PAUSED})
    return {
        "workflow and status": lambda org_id: ExecutionFilter(
            workflow_id=workflow_of(org_id), statuses=_FAILED
        ),
        "workflow and a status that none has": lambda org_id: ExecutionFilter(
            workflow_id=workflow_of(org_id), statuses=paused
        ),
        "workflow and label": lambda org_id: ExecutionFilter(
            workflow_id=workflow_of(org_id), labels=(_ENV,)
        ),
        "status and a day": _for_all(
            ExecutionFilter(statuses=_FAILED, created_after=day, created_before=end)
        ),
        "status that none has, since a day": _for_all(
            ExecutionFilter(statuses=paused, created_after=day)
        ),
        "label and status": _for_all(ExecutionFilter(labels=(_ENV,), statuses=_FAILED)),
        "label and a day": _for_all(
            ExecutionFilter(labels=(_ENV,), created_after=day, created_before=end)
        ),
        "two labels": _for_all(ExecutionFilter(labels=(_ENV, _TEAM))),
        "requester and trigger": _for_all(
            ExecutionFilter(requested_by="user_7", trigger=Trigger.API)
        ),
    }


def metrics_questions(now: datetime) -> dict[str, Ask]:
    """Name the figures that are asked for: each grouping, over a day and over 30 days."""

    def ask(days: int, bucket: Bucket, group: Group | None) -> Ask:
        return lambda session, _: measure_executions(
            session,
            since=now - timedelta(days=days),
            until=now,
            bucket=bucket,
            group_by=group,
            limit=10_000,
        )

    return {
        f"metrics, {name}{f', by {group.value}' if group else ''}": ask(days, bucket, group)
        for name, days, bucket in _SPANS
        for group in (None, *Group)
    }


def workflow_of(org_id: OrgId) -> WorkflowId:
    """Name an organization's first workflow."""
    return WorkflowId(f"wf_{org_id.removeprefix('org_')}_1")


def _for_all(wanted: ExecutionFilter) -> Wanted:
    return lambda _: wanted
