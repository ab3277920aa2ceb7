"""The catalogue of agent types, as the API knows it: it loads no agent."""

from collections.abc import Sequence
from typing import cast

from sqlalchemy import URL, create_engine, delete, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from domain.catalog import AgentType
from domain.clock import utc_now
from domain.errors import ErrorCode, TenantryError
from domain.json_data import JsonObject
from domain.text import quote
from persistence.driver_errors import translate_driver_errors
from persistence.sessions import OrgSession
from persistence.tables import AgentTypeRow


class AgentTypeNotFound(TenantryError):
    """The catalogue has no such agent type."""

    code = ErrorCode.AGENT_TYPE_NOT_FOUND

    def __init__(self, type_name: str) -> None:
        super().__init__(
            f"There is no agent type {quote(type_name)}.",
            hint="`GET /api/v1/agent-types` lists them.",
        )


def write_agent_types(owner_url: URL, types: Sequence[AgentType]) -> None:
    """Make the stored catalogue equal to this one. As the owner: no tenant may change it."""
    engine = create_engine(owner_url, poolclass=NullPool)
    with translate_driver_errors(), Session(engine) as session, session.begin():
        # In one order, so that two of these at once wait for each other instead of blocking.
        for each in sorted(types, key=lambda each: each.type):
            _store(session, each)
        session.execute(
            delete(AgentTypeRow).where(AgentTypeRow.type.not_in([each.type for each in types]))
        )


def list_agent_types(session: OrgSession) -> list[AgentType]:
    """List all agent types by name."""
    rows = session.scalars(select(AgentTypeRow).order_by(AgentTypeRow.type))
    return [_to_agent_type(row) for row in rows]


def get_agent_type(session: OrgSession, type_name: str) -> AgentType:
    """Find an agent type.

    Raises:
        AgentTypeNotFound: there is none.
    """
    row = session.get(AgentTypeRow, type_name)
    if row is None:
        raise AgentTypeNotFound(type_name)
    return _to_agent_type(row)


def _store(session: Session, each: AgentType) -> None:
    given = insert(AgentTypeRow).values(
        type=each.type,
        description=each.description,
        config_schema=each.config_schema,
        example=each.example,
    )
    new = given.excluded
    session.execute(
        given.on_conflict_do_update(
            index_elements=["type"],
            set_={
                "description": new.description,
                "config_schema": new.config_schema,
                "example": new.example,
                "updated_at": utc_now(),
            },
            where=or_(
                AgentTypeRow.description != new.description,
                AgentTypeRow.config_schema != new.config_schema,
                AgentTypeRow.example != new.example,
            ),
        )
    )


def _to_agent_type(row: AgentTypeRow) -> AgentType:
    return AgentType(
        type=row.type,
        description=row.description,
        config_schema=cast(JsonObject, row.config_schema),
        example=cast(JsonObject, row.example),
    )
