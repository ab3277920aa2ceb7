"""Wait for an execution to end, as the one who asked for it."""

import time
from collections.abc import Callable

from domain.executions import FINAL, Execution
from domain.ids import ExecutionId, OrgId
from persistence.driver_errors import DatabaseUnreachable
from persistence.executions import get_execution
from persistence.sessions import Database


def wait_for_end(
    database: Database,
    org_id: OrgId,
    execution_id: ExecutionId,
    *,
    on_look: Callable[[Execution], None] | None = None,
    every_s: float = 0.1,
) -> Execution:
    """Look at an execution until it is final; `on_look` is shown it each time.

    Without end: whoever calls it may be interrupted, the execution goes on. A database that is
    away is waited for.

    Raises:
        ExecutionNotFound: there is no such execution.
    """
    while True:
        try:
            with database.org(org_id) as session:
                execution = get_execution(session, execution_id)
        except DatabaseUnreachable:
            time.sleep(1.0)
            continue
        if on_look is not None:
            on_look(execution)
        if execution.status in FINAL:
            return execution
        time.sleep(every_s)
