"""What agents of a workflow read from and its organization does not have.

Connectors and data sets are set apart from workflows, often later. So this is no fault of a
definition, and may change at any moment: it is looked up when a workflow is shown or run.
"""

from typing import cast

from sqlalchemy import select, text

from domain.catalog import Workflow
from domain.errors import ErrorCode, Problem
from domain.ids import WorkflowId
from domain.json_data import JsonObject, encode_json
from domain.pointers import join_pointer
from domain.text import quote
from persistence.sessions import OrgSession
from persistence.tables import WorkflowVersionRow
from persistence.workflow_errors import WorkflowNotRunnable

MISSING_SOURCES = """
select cast(a.ordinality - 1 as int) as number, coalesce(a.agent ->> 'name', '') as agent,
    a.agent #>> '{{config,connector}}' as connector, c.name is null as is_connector,
    a.agent #>> '{{config,object_type}}' as dataset
from jsonb_array_elements(
        case when jsonb_typeof({definition} -> 'agents') = 'array'
            then {definition} -> 'agents' else '[]' end
    ) with ordinality as a(agent, ordinality)
    join agent_types t on t.type = a.agent ->> 'type'
        and jsonb_exists(t.config_schema -> 'properties', 'connector')
    left join connectors c on c.name = a.agent #>> '{{config,connector}}'
where jsonb_typeof(a.agent #> '{{config,connector}}') = 'string'
    and (c.name is null or c.settings ->> 'kind' = 'dataset'
        and jsonb_typeof(a.agent #> '{{config,object_type}}') = 'string'
        and not exists (
            select 1 from datasets d where d.name = a.agent #>> '{{config,object_type}}'))
"""
"""Rows of the session's organization, for the definition that an SQL expression gives. An agent's
`connector` names one only where its type has such a setting."""

_OF_DOCUMENT = text(
    MISSING_SOURCES.format(definition="cast(:document as jsonb)") + "order by a.ordinality"
)


def find_missing_sources(session: OrgSession, document: JsonObject) -> list[Problem]:
    """List the connectors and data sets that a definition names and that are not there."""
    rows = session.execute(_OF_DOCUMENT, {"document": encode_json(document)})
    problems: list[Problem] = []
    for row in rows:
        place = join_pointer("", "agents", row.number, "config")
        if row.is_connector:
            shown = quote(row.connector)
            problems.append(
                Problem(
                    ErrorCode.CONNECTOR_NOT_FOUND,
                    join_pointer(place, "connector"),
                    f"{quote(row.agent)} reads from the connector {shown}, which is not there.",
                    f"Add it: `tenantry connectors set {row.connector} -f FILE.yaml`",
                )
            )
        else:
            problems.append(
                Problem(
                    ErrorCode.DATA_NOT_FOUND,
                    join_pointer(place, "object_type"),
                    f"{quote(row.agent)} reads the data set {quote(row.dataset)}, which is not "
                    "there.",
                    f"Load it: `tenantry data load {row.dataset} FILE`",
                )
            )
    return problems


def find_version_problems(
    session: OrgSession, workflow_id: WorkflowId, *, version: int
) -> list[Problem]:
    """List what a stored version names and that is not there."""
    query = select(WorkflowVersionRow.definition).where(
        WorkflowVersionRow.workflow_id == workflow_id, WorkflowVersionRow.version == version
    )
    return find_missing_sources(session, cast(JsonObject, session.scalar(query) or {}))


def check_sources(session: OrgSession, workflow: Workflow, *, version: int) -> None:
    """Make sure that all is there that a version's agents read from.

    Raises:
        WorkflowNotRunnable: names the first that is not.
    """
    problems = find_version_problems(session, workflow.id, version=version)
    if problems:
        raise WorkflowNotRunnable.incomplete(workflow.name, problems)
