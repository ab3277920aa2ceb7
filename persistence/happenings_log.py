"""One INFO line for the start and the end of each execution and agent: ids and codes, no content.

`event key=value`, so that an operator can grep for an execution, a run or an organization through
the logs of all services. A line is written once the change that it tells of is committed, by the
process that made it.
"""

import logging
import zlib
from collections.abc import Iterable

from sqlalchemy import event

from domain.agent_runs import AgentRun
from domain.ids import OrgId, RunId
from persistence.sessions import OrgSession

LOG = logging.getLogger("tenantry.executions")
_BUCKETS = 10_000
Line = tuple[str, str, str]
"""An event, the execution's id, and what else there is to tell, as `key=value`."""


class ExecutionSample(logging.Filter):
    """Keeps the lines of a part of all executions: of each one all lines, or none."""

    def __init__(self, part: float) -> None:
        super().__init__()
        self._kept = round(part * _BUCKETS)

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a line is written; one that names no execution always is."""
        id = getattr(record, "execution_id", None)
        return id is None or zlib.crc32(str(id).encode()) % _BUCKETS < self._kept


def log_lines(lines: Iterable[Line], *, org_id: OrgId) -> None:
    """Write lines now."""
    if not LOG.isEnabledFor(logging.INFO):
        return
    for name, execution_id, facts in lines:
        LOG.info(
            "%s execution_id=%s org_id=%s %s",
            name,
            execution_id,
            org_id,
            facts,
            extra={"execution_id": execution_id, "org_id": org_id},
        )


def log_when_committed(session: OrgSession, lines: Iterable[Line]) -> None:
    """Write lines when a session's transaction is committed; none if it is rolled back."""
    if not LOG.isEnabledFor(logging.INFO):
        return
    told, org_id = list(lines), session.org_id

    def tell(_: object) -> None:
        log_lines(told, org_id=org_id)

    event.listen(session, "after_commit", tell, once=True)


def agent_end(run_id: RunId, item: AgentRun) -> Line:
    """Describe an agent's attempt that is over."""
    failure = item.outcome.failure
    end = f"status=FAILED code={failure.code.value}" if failure else "status=COMPLETED"
    facts = f"run_id={run_id} agent_run_id={item.id} {end} seconds={item.outcome.duration_s:.3f}"
    return "agent.ended", item.execution_id, facts
