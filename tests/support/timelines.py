"""What the rows of runs say afterwards about how much ran at a time."""

from sqlalchemy import text

from domain.ids import OrgId
from persistence.sessions import Database

_RUNS = text("select created_at, closed_at, size from runs where :workflow in ('', workflow_id)")


def most_at_a_time(database: Database, org_id: OrgId, *, workflow_id: str = "") -> int:
    """Say how many executions an organization's runs carried at most, at any time."""
    with database.org(org_id) as session:
        rows = session.execute(_RUNS, {"workflow": workflow_id}).all()
    # At one and the same time the end comes first: whoever is claimed then saw it.
    moves = sorted(
        [(row.created_at, 1, row.size) for row in rows]
        + [(row.closed_at, 0, -row.size) for row in rows if row.closed_at]
    )
    most = now = 0
    for _, _, change in moves:
        now += change
        most = max(most, now)
    return most
