"""Texts that an agent of the workflow would refuse are refused before anything is queued."""

from typing import Any, cast

from sqlalchemy import select

from domain.errors import ErrorCode, Problem
from domain.ids import WorkflowId
from domain.inputs import ExecutionInputInvalid
from domain.json_data import JsonObject, JsonValue
from domain.text import quote
from persistence.sessions import OrgSession
from persistence.tables import AgentTypeRow, WorkflowVersionRow
from persistence.workflows import find_workflow

ALWAYS_READ_CHARS = 2_000
"""No agent type refuses a text of so many characters unless its config says so: shorter ones, all
but a few, cost no look into the workflow."""

_SETTING = "max_chars"


def is_long_text(given: JsonValue) -> bool:
    """Say whether an input holds a text that some agent might not read."""
    text = given.get("text") if isinstance(given, dict) else given
    return isinstance(text, str) and len(text) > ALWAYS_READ_CHARS


def check_long_text(
    session: OrgSession, reference: str, given: JsonValue, *, version: int | None = None
) -> None:
    """Refuse a text that is longer than an agent of the workflow reads.

    An agent type tells the most in the catalogue, as the largest value of its setting `max_chars`;
    an agent's config may say less. A workflow or version that is not there is not this
    function's to report.

    Raises:
        ExecutionInputInvalid: it is too long.
    """
    if not is_long_text(given):
        return
    text = given.get("text") if isinstance(given, dict) else given
    workflow = find_workflow(session, reference)
    if workflow is None:
        return
    definition = _find_definition(session, workflow.id, version or workflow.version)
    most_by_type = _list_limits(session)
    for agent in cast("list[dict[str, Any]]", definition.get("agents", [])):
        most = most_by_type.get(str(agent.get("type")))
        if most is None:
            continue
        config = cast("dict[str, int]", agent.get("config") or {})
        most = min(most, config.get(_SETTING, most))
        if len(cast("str", text)) > most:
            pointer = "/input/text" if isinstance(given, dict) else "/input"
            raise ExecutionInputInvalid([_problem(str(agent.get("name")), most, pointer)])


def _find_definition(session: OrgSession, workflow_id: WorkflowId, version: int) -> JsonObject:
    found = session.scalar(
        select(WorkflowVersionRow.definition).where(
            WorkflowVersionRow.workflow_id == workflow_id, WorkflowVersionRow.version == version
        )
    )
    return cast("JsonObject", found or {})


def _list_limits(session: OrgSession) -> dict[str, int]:
    most = AgentTypeRow.config_schema["properties"][_SETTING]["maximum"].as_integer()
    query = select(AgentTypeRow.type, most).where(most.is_not(None))
    return {type_name: limit for type_name, limit in session.execute(query)}


def _problem(agent_name: str, most: int, pointer: str) -> Problem:
    return Problem(
        ErrorCode.EXECUTION_INPUT_INVALID,
        pointer,
        f"The text is longer than the {most:,} characters that the agent {quote(agent_name)} of "
        "this workflow reads.",
        "Say in a sentence or two what is wanted; longer data belongs into a connector.",
    )
