"""The queue: what waits and why, and the limits of who waits."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.access import Access, allow
from api.answers import PROBLEMS, READ_WHOLE, Text
from api.request_models import RequestModel
from domain.clock import utc_now
from domain.executions import ExecutionStatus
from domain.ids import ExecutionId
from domain.limits import MAX_BATCH, MAX_RUNNING, WorkflowLimits
from domain.permissions import Permission
from domain.waiting import Blocker, BlockerKind, expect_start, find_blockers
from persistence.limits import get_org_limits, get_workflow_limits, set_workflow_limits
from persistence.served import measure_queue_of_org
from persistence.waiting import find_place, see_workers
from persistence.workflows import get_workflow

router = APIRouter(tags=["queue"], responses=PROBLEMS)

ExecutionReader = Annotated[Access, Depends(allow(Permission.EXECUTIONS_READ))]
MetricsReader = Annotated[Access, Depends(allow(Permission.METRICS_READ))]
OrgReader = Annotated[Access, Depends(allow(Permission.ORGANIZATIONS_READ))]
WorkflowReader = Annotated[Access, Depends(allow(Permission.WORKFLOWS_READ))]
WorkflowWriter = Annotated[Access, Depends(allow(Permission.WORKFLOWS_WRITE))]
Id = Annotated[Text, Path(max_length=100, examples=["exec_01jd3m3k7e9c5v2x8w4z6a1b0d"])]
Reference = Annotated[
    Text, Path(max_length=200, description="Id, slug or name.", examples=["enterprise-lead-search"])
]


class BlockerDocument(BaseModel):
    """Something that stands before an execution."""

    kind: BlockerKind
    message: str = Field(examples=["12 executions of your organization come before it."])
    hint: str = Field(
        examples=["Ask with a smaller `priority` number next time if it is more urgent than they."]
    )
    count: int | None = Field(examples=[12])

    @classmethod
    def of(cls, blocker: Blocker) -> "BlockerDocument":
        """Show a blocker."""
        return cls(
            kind=blocker.kind, message=blocker.message, hint=blocker.hint, count=blocker.count
        )


class Explanation(BaseModel):
    """Why an execution waits."""

    execution_id: str = Field(examples=["exec_01jd3m3k7e9c5v2x8w4z6a1b0d"])
    status: ExecutionStatus
    waiting_since: datetime
    blockers: list[BlockerDocument] = Field(description="The most decisive first; never empty.")
    expected_start: datetime | None = Field(
        description="From how fast your executions started in the last five minutes; null if "
        "that tells nothing, or if it cannot start as things are."
    )


class FairnessFigures(BaseModel):
    """How the queue dealt itself out; of others it tells nothing but what is common to all."""

    window_seconds: int = Field(
        description="The span that these are of: 60, 300, 900 or 3600, the next that holds "
        "`window_seconds`; an hour at the most."
    )
    started_share: float = Field(
        description="Which part of all executions that the platform started were yours, 0 to 1."
    )
    completed_share: float = Field(description="The same of those that ran and ended.")
    jain_index: float = Field(
        description="Jain's index over all organizations that asked for anything, of completed "
        "executions by weight: 1 if they are equal; less also where some asked for less.",
        examples=[0.97],
    )
    fair_part_index: float = Field(
        description="Jain's index of what each got by what was its fair part, which is never more "
        "than it asked for: below 1 only where somebody got less than that.",
        examples=[0.998],
    )


class QueueFigures(BaseModel):
    """Your organization's part of the queue."""

    waiting: int
    oldest_age_seconds: float = Field(description="How long the oldest has waited; 0 if none.")
    running: int
    started: int = Field(description="How many started within the window; the waits are theirs.")
    completed: int = Field(description="How many ran and ended within the window, well or not.")
    wait_p50_seconds: float | None
    wait_p95_seconds: float | None
    window_seconds: int
    fairness: FairnessFigures


class OrgLimitsDocument(BaseModel):
    """What your organization may have; the platform's operator sets it."""

    weight: float = Field(
        description="Its share while others wait, too: 3 gets thrice what 1 gets."
    )
    max_running: int | None = Field(description="Executions that run at a time; null: any number.")
    max_queued: int | None = Field(description="Executions that wait; more are refused with 429.")
    is_paused: bool = Field(description="Nothing of it is started.")


class WorkflowLimitsDocument(RequestModel):
    """What a workflow may have at a time."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"max_running": 50, "max_batch": 25, "is_paused": False}]},
    )

    max_running: Annotated[int, Field(strict=True, ge=0, le=MAX_RUNNING), READ_WHOLE] | None = (
        Field(default=None, description="Executions that run; null: any number.")
    )
    max_batch: Annotated[int, Field(strict=True, ge=1, le=MAX_BATCH), READ_WHOLE] | None = Field(
        default=None,
        description="Executions in one Prefect flow run; 1 gives each a run of its own; null: as "
        "the platform is set.",
    )
    is_paused: bool = Field(default=False, strict=True, description="Nothing of it is started.")

    @classmethod
    def of(cls, limits: WorkflowLimits) -> "WorkflowLimitsDocument":
        """Show a workflow's limits."""
        return cls(
            max_running=limits.max_running,
            max_batch=limits.max_batch,
            is_paused=limits.is_paused,
        )


@router.get("/executions/{execution_id}/explain")
def explain_execution(execution_id: Id, access: ExecutionReader) -> Explanation:
    """Tell why an execution waits, and when it may start."""
    with access.state.database.for_platform() as session:
        seen = see_workers(session)
    with access.open(snapshot=True) as session:
        facts = find_place(session, ExecutionId(execution_id), seen)
    return Explanation(
        execution_id=execution_id,
        status=facts.status,
        waiting_since=facts.waiting_since,
        blockers=[BlockerDocument.of(blocker) for blocker in find_blockers(facts)],
        expected_start=expect_start(facts, now=utc_now()),
    )


@router.get("/metrics/queue")
def read_queue(
    access: MetricsReader,
    window_seconds: Annotated[
        int, Query(ge=1, le=86_400, description="How far to look back.")
    ] = 3_600,
) -> QueueFigures:
    """Tell how many of your executions wait and run, how long they waited, and your share."""
    since = utc_now() - timedelta(seconds=window_seconds)
    with access.open(snapshot=True) as session:
        found = measure_queue_of_org(session, since=since)
    # Of all organizations, so not in that session, and not for each who asks.
    everybody = access.state.service.look(window_s=window_seconds)
    return QueueFigures(
        waiting=found.waiting,
        oldest_age_seconds=found.oldest_age_s,
        running=found.running,
        started=found.started,
        completed=found.completed,
        wait_p50_seconds=found.wait_p50_s,
        wait_p95_seconds=found.wait_p95_s,
        window_seconds=window_seconds,
        fairness=FairnessFigures(
            window_seconds=everybody.window_s,
            started_share=_rounded(everybody.started.of(access.principal.org_id)),
            completed_share=_rounded(everybody.completed.of(access.principal.org_id)),
            jain_index=_rounded(everybody.completed.index),
            fair_part_index=_rounded(everybody.completed.index_of_fair_parts),
        ),
    )


def _rounded(part: float) -> float:
    return round(part, 4)


@router.get("/organization/limits")
def read_organization_limits(access: OrgReader) -> OrgLimitsDocument:
    """Show what your organization may have."""
    with access.open() as session:
        limits = get_org_limits(session)
    return OrgLimitsDocument(
        weight=limits.weight,
        max_running=limits.max_running,
        max_queued=limits.max_queued,
        is_paused=limits.is_paused,
    )


@router.get("/workflows/{ref}/limits")
def read_workflow_limits(access: WorkflowReader, ref: Reference) -> WorkflowLimitsDocument:
    """Show what a workflow may have at a time."""
    with access.open() as session:
        return WorkflowLimitsDocument.of(
            get_workflow_limits(session, get_workflow(session, ref).id)
        )


@router.put("/workflows/{ref}/limits")
def change_workflow_limits(
    access: WorkflowWriter, ref: Reference, limits: WorkflowLimitsDocument
) -> WorkflowLimitsDocument:
    """Change what a workflow may have; what runs already goes on."""
    wanted = WorkflowLimits(
        max_running=limits.max_running, max_batch=limits.max_batch, is_paused=limits.is_paused
    )
    with access.open() as session:
        set_workflow_limits(session, get_workflow(session, ref).id, wanted)
    return WorkflowLimitsDocument.of(wanted)
