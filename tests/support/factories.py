"""Make workflows and executions the way the application does."""

from itertools import pairwise

from domain.catalog import Workflow
from domain.executions import Execution, ExecutionStatus, Trigger
from domain.ids import OrgId
from domain.json_data import JsonObject
from domain.workflows import WorkflowDefinition
from persistence.execution_moves import FinishedExecution
from persistence.executions import add_execution
from persistence.sessions import Database
from persistence.workflows import add_workflow
from tests.support.databases import ADMIN


def chain(name: str, *steps: JsonObject) -> WorkflowDefinition:
    """Define a workflow whose agents follow each other; a step is an agent without its name."""
    names = [f"Step {number}" for number in range(1, len(steps) + 1)]
    return WorkflowDefinition.model_validate(
        {
            "name": name,
            "agents": [{"name": own, **step} for own, step in zip(names, steps, strict=True)],
            "edges": [{"from": one, "to": next_one} for one, next_one in pairwise(names)],
        }
    )


def save_workflow(database: Database, org_id: OrgId, definition: WorkflowDefinition) -> Workflow:
    """Store a workflow for an organization."""
    with database.org(org_id, user_id=ADMIN) as session:
        return add_workflow(
            session,
            definition.as_json(),
            name=definition.name,
            slug=definition.slug,
            description=definition.description or "",
        )


def simple_workflow(database: Database, org_id: OrgId, *, name: str = "Simple") -> Workflow:
    """Store a workflow of one agent that is never run."""
    return save_workflow(database, org_id, chain(name, {"type": "probe", "config": {}}))


def queue(
    database: Database, org_id: OrgId, workflow: Workflow, input_data: JsonObject | None = None
) -> Execution:
    """Queue one execution."""
    with database.org(org_id, user_id=ADMIN) as session:
        return add_execution(
            session,
            workflow.id,
            version=workflow.version,
            input_data=input_data or {"text": "find leads"},
            trigger=Trigger.API,
        )


def ending(
    execution: Execution, status: ExecutionStatus = ExecutionStatus.COMPLETED
) -> FinishedExecution:
    """Make a plain end of an execution."""
    return FinishedExecution(
        id=execution.id, status=status, output={}, agent_results={}, execution_graph={}
    )
