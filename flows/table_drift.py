"""Find counters and audit trails that do not fit the executions, in all organizations."""

from datetime import datetime

from domain.drift import Drift, DriftKind
from domain.ids import ExecutionId, WorkflowId
from persistence.drift_log import Repair
from persistence.organizations import list_organizations
from persistence.sessions import Database
from persistence.table_checks import (
    add_missing_end,
    find_audit_drift,
    find_counter_drift,
    recount,
)


def find_table_drift(database: Database, *, since: datetime | None) -> list[Drift]:
    """Compare what is kept twice within the database.

    Args:
        since: look only at executions that moved since then, which is cheap, and not at the
            counters; `None`: at everything.
    """
    with database.for_platform() as session:
        organizations = list_organizations(session)
    found: list[Drift] = []
    for organization in organizations:
        with database.org(organization.id) as session:
            if since is None:
                found += find_counter_drift(session)
            found += find_audit_drift(session, since=since)
    return found


def repair_table(database: Database, drift: Drift) -> Repair:
    """Put counters right, and add what the audit trail lacks. Safe to repeat."""
    with database.org(drift.org_id) as session:
        match drift.kind:
            case DriftKind.COUNTERS_OFF:
                recount(session, WorkflowId(drift.subject))
                return Repair(drift, "counted the executions again", is_repaired=True)
            case DriftKind.AUDIT_MISSING:
                added = add_missing_end(session, ExecutionId(drift.subject))
                action = "added the entry" if added else "none: it was there by then"
                return Repair(drift, action, is_repaired=True)
            case _:
                return Repair(drift, "none: a person has to look", is_repaired=False)
