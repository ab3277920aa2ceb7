"""An organization's connectors, and the datasets that Tenantry keeps for it."""

from collections.abc import Mapping
from typing import Literal, cast

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from domain.clock import utc_now
from domain.ids import new_connector_id
from domain.json_data import JsonObject
from persistence.audit import note_act
from persistence.sessions import OrgSession
from persistence.tables import ConnectorRow, DatasetRow

Change = Literal["created", "replaced", "unchanged"]


def set_connector(session: OrgSession, name: str, settings: JsonObject) -> Change:
    """Add a connector, or give the one of that name other settings, with its audit entry.

    Returns:
        What became of the one of that name.
    """
    existing = session.scalar(select(ConnectorRow).where(ConnectorRow.name == name))
    if existing is not None and existing.settings == settings:
        return "unchanged"
    statement = insert(ConnectorRow).values(
        id=new_connector_id(), org_id=session.org_id, name=name, settings=settings
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["org_id", "name"], set_={"settings": statement.excluded.settings}
        )
    )
    note_act(session, "connector.set", name, {"kind": settings.get("kind")})
    return "created" if existing is None else "replaced"


def list_connectors(session: OrgSession) -> Mapping[str, JsonObject]:
    """Map the organization's connectors' names to their settings."""
    rows = session.scalars(select(ConnectorRow).order_by(ConnectorRow.name))
    return {row.name: cast(JsonObject, row.settings) for row in rows}


def set_dataset(session: OrgSession, name: str, content: bytes, *, row_count: int) -> int | None:
    """Keep a table (Parquet) for the organization, in place of one of that name.

    Returns:
        How many rows the one had that is replaced; `None` if there was none.
    """
    replaced = session.scalar(
        select(DatasetRow.row_count).where(DatasetRow.name == name).with_for_update()
    )
    statement = insert(DatasetRow).values(
        org_id=session.org_id,
        name=name,
        content=content,
        row_count=row_count,
        size_bytes=len(content),
        updated_at=utc_now(),
    )
    new = statement.excluded
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["org_id", "name"],
            set_={
                "content": new.content,
                "row_count": new.row_count,
                "size_bytes": new.size_bytes,
                "updated_at": new.updated_at,
            },
        )
    )
    details: JsonObject = {"rows": row_count, "bytes": len(content), "replaced_rows": replaced}
    note_act(session, "dataset.set", name, details)
    return replaced


def find_dataset(session: OrgSession, name: str) -> bytes | None:
    """Read a kept table's Parquet."""
    return session.scalar(select(DatasetRow.content).where(DatasetRow.name == name))
