"""The rows of a claim's runs, and what they carry: each in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import select, text

from domain.ids import ExecutionId, OrgId, RunId, WorkflowId, new_run_id
from domain.runs import Run
from persistence.runs import to_run
from persistence.sessions import PlatformSession
from persistence.tables import RunRow


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be made, for `size` executions."""

    org_id: OrgId
    workflow_id: WorkflowId
    version: int
    size: int


def add_runs(
    session: PlatformSession, wanted: Sequence[NewRun], *, worker: str, lease_s: float
) -> list[Run]:
    """Make the rows of a claim's runs in one statement; return them in the order given."""
    if not wanted:
        return []
    ids = [new_run_id() for _ in wanted]
    added = session.scalars(
        _ADD_RUNS,
        {
            "ids": ids,
            "org_ids": [each.org_id for each in wanted],
            "workflow_ids": [each.workflow_id for each in wanted],
            "versions": [each.version for each in wanted],
            "sizes": [each.size for each in wanted],
            "tokens": [uuid4() for _ in wanted],
            "worker": worker,
            "lease_s": lease_s,
        },
    )
    by_id = {row.id: to_run(row) for row in added}
    return [by_id[id] for id in ids]


def assign_executions(
    session: PlatformSession, carried: Sequence[tuple[Run, Sequence[ExecutionId]]]
) -> None:
    """Have runs carry executions, which the caller has locked."""
    org_ids: list[OrgId] = []
    ids: list[ExecutionId] = []
    run_ids: list[RunId] = []
    tokens: list[UUID] = []
    for run, own in carried:
        org_ids += [run.org_id] * len(own)
        ids += own
        run_ids += [run.id] * len(own)
        tokens += [run.lease_token] * len(own)
    if ids:
        values = {"org_ids": org_ids, "ids": ids, "run_ids": run_ids, "tokens": tokens}
        session.execute(_ASSIGN, values)


_ASSIGN = text("""
update executions e set run_id = x.run_id, lease_token = x.lease_token
from unnest(cast(:org_ids as text[]), cast(:ids as text[]), cast(:run_ids as text[]),
    cast(:tokens as uuid[])) as x(org_id, id, run_id, lease_token)
where e.org_id = x.org_id and e.id = x.id
""")
# As text: of many rows SQLAlchemy would make a statement anew for each claim.
_ADD_RUNS = select(RunRow).from_statement(
    text("""
insert into runs (id, org_id, workflow_id, workflow_version, worker, lease_token,
    lease_expires_at, size)
select id, org_id, workflow_id, version, :worker, token,
    clock_timestamp() + make_interval(secs => :lease_s), size
from unnest(cast(:ids as text[]), cast(:org_ids as text[]), cast(:workflow_ids as text[]),
    cast(:versions as int[]), cast(:sizes as int[]), cast(:tokens as uuid[]))
    as r(id, org_id, workflow_id, version, size, token)
returning *
""")
)
