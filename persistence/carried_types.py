"""Which agent types a workflow version needs: a worker without one of them cannot carry it."""

from collections.abc import Sequence

from sqlalchemy import text

from domain.ids import WorkflowId
from domain.json_data import JsonObject
from persistence.sessions import PlatformSession

# A version that was stored before types were kept has them in its definition only.
TYPES_OF_VERSION = """
coalesce(v.agent_types, array(select jsonb_path_query(v.definition, '$.agents[*].type') #>> '{}'))
"""
"""SQL for the types that a row `v` of `workflow_versions` needs."""

_MISSING = text(f"""
select distinct t from workflow_versions v, unnest({TYPES_OF_VERSION}) t
where v.workflow_id = :workflow_id and v.version = :version
    and t <> all(cast(:agent_types as text[]))
order by t
""")


def lacks_types(*, workflow_id: str, version: str) -> str:
    """Write the SQL that says whether a version needs a type that is not in `:agent_types`.

    Args:
        workflow_id: a column, and so is `version`.
    """
    return f"""
    exists (select from workflow_versions v where v.workflow_id = {workflow_id}
        and v.version = {version}
        and not {TYPES_OF_VERSION} <@ cast(:agent_types as text[]))
    """


def list_types(definition: JsonObject) -> list[str]:
    """List the agent types of a definition by name; of a draft, as far as it has any."""
    agents = definition.get("agents")
    found = (
        [each.get("type") for each in agents if isinstance(each, dict)]
        if isinstance(agents, list)
        else []
    )
    return sorted({each for each in found if isinstance(each, str)})


def list_missing_types(
    session: PlatformSession, workflow_id: WorkflowId, version: int, *, agent_types: Sequence[str]
) -> list[str]:
    """List what a workflow version needs and a worker with these types does not carry."""
    given = {"workflow_id": workflow_id, "version": version, "agent_types": list(agent_types)}
    return list(session.scalars(_MISSING, given))
