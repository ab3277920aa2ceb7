"""Runs that Prefect made: by a schedule, or by the Run button of its UI."""

from dataclasses import dataclass

from prefect.client.schemas.objects import FlowRun

from domain.catalog import Schedule, Workflow
from domain.executions import Execution, Trigger
from domain.ids import ScheduleId, UserId
from domain.json_data import JsonObject
from domain.runs import ClaimedRun, Run, StateType
from domain.workflows import WorkflowDefinition
from persistence.executions import add_execution, list_carried
from persistence.runs import add_prefect_run, find_run
from persistence.schedules import find_schedule
from persistence.sessions import Database
from persistence.workflows import find_by_deployment, get_definition


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a flow run is not carried out, and the state that it shall end in."""

    message: str
    state: StateType = StateType.CANCELLED
    is_unknown: bool = False
    """It belongs to no organization's workflow: it may be the platform's own."""


def adopt_flow_run(
    database: Database, flow_run: FlowRun, *, worker: str, lease_s: float
) -> ClaimedRun | Refusal:
    """Give a flow run that Prefect made its run and its execution.

    Killed at any point and called again, the same rows are found or made. A flow run whose
    executions are final is refused: somebody pressed Retry in Prefect, and what is final here
    stays so.
    """
    with database.for_platform() as session:
        deployment_id = flow_run.deployment_id
        workflow = find_by_deployment(session, deployment_id) if deployment_id else None
        if workflow is None:
            return Refusal("No workflow in Tenantry belongs to this deployment.", is_unknown=True)
        run = find_run(session, flow_run.id) or add_prefect_run(
            session,
            workflow.org_id,
            workflow.id,
            version=workflow.version,
            flow_run_id=flow_run.id,
            worker=worker,
            lease_s=lease_s,
        )
    if run.closed_as is not None:
        return Refusal("This run is final in Tenantry: start a new execution.", run.closed_as)
    execution = _ensure_execution(database, workflow, run, flow_run)
    return ClaimedRun(run, [execution.id], execution.trigger)


def _ensure_execution(
    database: Database, workflow: Workflow, run: Run, flow_run: FlowRun
) -> Execution:
    schedule_id = _schedule_of(flow_run)
    with database.org(workflow.org_id) as session:
        schedule = find_schedule(session, schedule_id) if schedule_id else None
        session.user_id = UserId(schedule.created_by) if schedule and schedule.created_by else None
        carried = list_carried(session, run.id)
        if carried:
            return carried[0]
        definition = WorkflowDefinition.model_validate(
            get_definition(session, workflow.id, version=run.workflow_version)
        )
        return add_execution(
            session,
            workflow.id,
            version=run.workflow_version,
            input_data=_input(schedule, definition),
            trigger=Trigger.SCHEDULE if schedule_id else Trigger.PREFECT_UI,
            idempotency_key=f"prefect:{flow_run.id}",
            schedule_id=schedule_id,
            run=run,
        )


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
