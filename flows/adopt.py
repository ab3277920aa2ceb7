"""Runs that Prefect made: by a schedule, or by the Run button of its UI."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from prefect.client.schemas.objects import FlowRun

from domain.catalog import Schedule, Workflow
from domain.clock import utc_now
from domain.executions import Execution, Trigger
from domain.ids import ExecutionId, ScheduleId, UserId, WorkflowId
from domain.json_data import JsonObject
from domain.limits import QueueFull
from domain.runs import ClaimedRun, Run, StateType
from domain.schedules import ScheduleSpec, is_overtaken
from domain.ticks import fires_at, is_told_by_key, may_be_told_by_key
from domain.workflows import WorkflowDefinition
from flows.missed_ticks import enqueue_tick
from persistence.carried_types import list_missing_types
from persistence.executions import add_execution, find_by_key, list_carried
from persistence.limits import measure_room
from persistence.pauses import list_pauses
from persistence.queue import may_start
from persistence.runs import add_prefect_run, find_run, take_over
from persistence.schedules import find_schedule
from persistence.sessions import Database, OrgSession
from persistence.workflows import find_by_deployment, get_definition


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a flow run is not carried out, and the state that it shall end in."""

    message: str
    state: StateType = StateType.CANCELLED
    is_unknown: bool = False
    """It belongs to no organization's workflow: it may be the platform's own."""


@dataclass(frozen=True, slots=True)
class HeldElsewhere:
    """Another worker has the run, or has had until a moment ago: ask again."""


@dataclass(frozen=True, slots=True)
class Queued:
    """It does not start now: its execution waits with the others."""

    execution_id: ExecutionId
    reason: str = "A limit is reached"


Adoption = ClaimedRun | Refusal | HeldElsewhere | Queued


def adopt_flow_run(
    database: Database,
    flow_run: FlowRun,
    *,
    worker: str,
    lease_s: float,
    agent_types: Sequence[str],
) -> Adoption:
    """Give a flow run that Prefect made its run and its execution.

    Killed at any point and called again, the same rows are found or made. A flow run whose
    executions are final is refused: somebody pressed Retry in Prefect, and what is final here
    stays so. One that was suspended, and resumed, goes on with what it carried, in the place
    that it has kept. A new one for which the limits have no room, or which needs an agent type that
    the worker does not carry, is queued.
    """
    with database.for_platform() as session:
        known = find_run(session, flow_run.id)
        if known is not None and known.closed_as is not None:
            message = "This run is final in Tenantry: start a new execution."
            return Refusal(message, known.closed_as)
        run = take_over(session, known, worker=worker, lease_s=lease_s) if known else None
        if known is not None and run is None:
            return HeldElsewhere()
        deployment_id = flow_run.deployment_id
        workflow = find_by_deployment(session, deployment_id) if deployment_id else None
        missing = (
            list_missing_types(session, workflow.id, workflow.version, agent_types=agent_types)
            if workflow and run is None
            else []
        )
    if run is None:
        if workflow is None:
            return Refusal("No workflow in Tenantry belongs to this deployment.", is_unknown=True)
        if given := sorted(name for name, value in flow_run.parameters.items() if value):
            # Not used: inputs are tenants' data, and Prefect shows parameters to all its users.
            return Refusal(
                f"This run gives {', '.join(given)[:100]}, and takes no parameter: it runs with "
                "the workflow's default input, or its schedule's. Leave it empty, or give an input "
                "with `tenantry run` or the API."
            )
        odd = _take_odd_tick(database, workflow, flow_run)
        if odd is not None:
            return odd
        if missing:
            queued = _queue(database, workflow, flow_run)
            names = ", ".join(f"`{name}`" for name in missing)
            reason = f"The worker that was asked carries no agent type {names}"
            return replace(queued, reason=reason) if isinstance(queued, Queued) else queued
        run = _add_run(database, workflow, flow_run, worker=worker, lease_s=lease_s)
        if run is None:
            return _queue(database, workflow, flow_run)
    executions = _ensure_executions(database, run, flow_run)
    return ClaimedRun(run, [each.id for each in executions], executions[0].trigger)


def queue_overtaken(database: Database, flow_run: FlowRun) -> Queued | None:
    """Have a schedule's run that is as good as overtaken by the next one wait in the queue.

    There it goes along with the next ones of its workflow in one flow run, so that schedules that
    fire faster than Prefect starts flow runs are kept up with. Killed at any point and called
    again, by whichever worker, it finds the same execution.

    Returns:
        `None` if it is to be carried out, or refused, as any other.
    """
    schedule_id, due = _schedule_of(flow_run), flow_run.expected_start_time
    if schedule_id is None or due is None or flow_run.deployment_id is None:
        return None
    with database.for_platform() as session:
        workflow = find_by_deployment(session, flow_run.deployment_id)
        if workflow is None or find_run(session, flow_run.id) is not None:
            return None
    with database.org(workflow.org_id) as session:
        schedule = find_schedule(session, schedule_id)
    if schedule is None or is_told_by_key(schedule.timezone, due):
        return None
    if not is_overtaken(ScheduleSpec(schedule.cron, schedule.timezone), due, now=utc_now()):
        return None
    queued = _queue(database, workflow, flow_run)
    with database.for_platform() as session:
        if find_run(session, flow_run.id) is not None:
            return None  # another worker was faster, and carries it out
    return replace(queued, reason="It is late") if isinstance(queued, Queued) else None


def _take_odd_tick(
    database: Database, workflow: Workflow, flow_run: FlowRun
) -> Queued | Refusal | None:
    """Queue a tick that the steward may fire too; refuse one that is none of the schedule's.

    Queued, and not carried out at once, so that its key alone decides who was first.
    """
    schedule_id, due = _schedule_of(flow_run), flow_run.expected_start_time
    if schedule_id is None or due is None or not may_be_told_by_key(due):
        return None
    with database.org(workflow.org_id) as session:
        schedule = find_schedule(session, schedule_id)
        known = find_by_key(session, _key_of(flow_run))
    if schedule is None or known is not None or not is_told_by_key(schedule.timezone, due):
        return None
    if not fires_at(ScheduleSpec(schedule.cron, schedule.timezone), due):
        local = due.astimezone(ZoneInfo(schedule.timezone))
        return Refusal(
            f"The clocks of {schedule.timezone} are changed: this schedule does not fire at "
            f"{local:%H:%M}, but when `tenantry schedules list` says."
        )
    try:
        added = enqueue_tick(database, schedule, due)
    except QueueFull as error:
        return Refusal(error.message)
    return Queued(added.id, "Its clocks change about now") if added else None


def _add_run(
    database: Database, workflow: Workflow, flow_run: FlowRun, *, worker: str, lease_s: float
) -> Run | None:
    with database.org(workflow.org_id) as session:
        if find_by_key(session, _key_of(flow_run)) is not None:
            return None  # queued, by a worker that could not tell Prefect any more
    with database.for_platform() as session:
        if not may_start(session, workflow.org_id, workflow.id):
            return None
        return add_prefect_run(
            session,
            workflow.org_id,
            workflow.id,
            version=workflow.version,
            flow_run_id=flow_run.id,
            worker=worker,
            lease_s=lease_s,
        )


def _queue(database: Database, workflow: Workflow, flow_run: FlowRun) -> Queued | Refusal:
    with database.org(workflow.org_id) as session:
        known = find_by_key(session, _key_of(flow_run))
        if known is not None:
            return Queued(known.id)
        try:
            measure_room(session).check_can_hold(1)
        except QueueFull as error:
            return Refusal(error.message)
        added = _add_execution(session, workflow.id, workflow.version, flow_run, run=None)
    with database.for_platform() as session:
        is_paused = bool(list_pauses(session))
    return Queued(added.id, "Tenantry is paused") if is_paused else Queued(added.id)


def _ensure_executions(database: Database, run: Run, flow_run: FlowRun) -> Sequence[Execution]:
    with database.org(run.org_id) as session:
        carried = list_carried(session, run.id)
        if carried:
            return carried
        return [_add_execution(session, run.workflow_id, run.workflow_version, flow_run, run=run)]


def _add_execution(
    session: OrgSession,
    workflow_id: WorkflowId,
    version: int,
    flow_run: FlowRun,
    *,
    run: Run | None,
) -> Execution:
    schedule_id = _schedule_of(flow_run)
    schedule = find_schedule(session, schedule_id) if schedule_id else None
    session.user_id = UserId(schedule.created_by) if schedule and schedule.created_by else None
    definition = WorkflowDefinition.model_validate(
        get_definition(session, workflow_id, version=version)
    )
    return add_execution(
        session,
        workflow_id,
        version=version,
        input_data=_input(schedule, definition),
        trigger=Trigger.SCHEDULE if schedule_id else Trigger.PREFECT_UI,
        idempotency_key=_key_of(flow_run),
        schedule_id=schedule_id,
        run=run,
    )


def _key_of(flow_run: FlowRun) -> str:
    return f"prefect:{flow_run.id}"


def _input(schedule: Schedule | None, definition: WorkflowDefinition) -> JsonObject:
    if schedule is not None:
        return schedule.input_data
    # Without a default the agents refuse the empty input, in their own words.
    return definition.default_input or {}


def _schedule_of(flow_run: FlowRun) -> ScheduleId | None:
    created_by = flow_run.created_by
    if not flow_run.auto_scheduled or created_by is None:
        return None
    # A schedule's slug is our id for it.
    return ScheduleId(created_by.display_value) if created_by.display_value else None
