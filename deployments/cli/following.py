"""Wait for the end of an execution, and say meanwhile what it does."""

import time
from collections.abc import Mapping

from deployments.cli.following_views import make_view
from deployments.cli.interrupts import held_interrupts
from deployments.cli.opening import Desk
from deployments.embedded.errors import StackStartFailed
from domain.agent_runs import AgentRun
from domain.errors import TenantryError
from domain.executions import FINAL, Execution, ExecutionStatus
from domain.json_data import JsonObject
from flows.decision import last_answers
from persistence.agent_runs import list_agent_runs
from persistence.executions import get_execution

_POLL_S = 0.25
# The keeper restarts PostgreSQL in seconds; a database of one's own may take a failover.
_PATIENCE_S = 60.0
# Longer than everything takes to start.
_LONELY_S = 45.0


def follow_execution(
    desk: Desk, execution: Execution, *, definition: JsonObject, watch: bool, is_cold: bool
) -> Execution:
    """Wait until an execution is final, however long that takes, and return it.

    Args:
        watch: show each agent.
        is_cold: the services are only starting.

    Raises:
        StackStartFailed: a service that it needs has failed for good.
        DatabaseUnreachable: the database was away for a minute.
        KeyboardInterrupt: Ctrl-C.
    """
    started = last_answer = time.monotonic()
    with (
        held_interrupts() as pause,
        make_view(_agents_of(definition), watch=watch) as view,
    ):
        while True:
            try:
                now, agent_runs = _look(desk, execution)
            except TenantryError as error:
                if not error.retryable or time.monotonic() - last_answer > _PATIENCE_S:
                    raise
                pause(_POLL_S)
                continue
            last_answer = time.monotonic()
            waits_for = _waits_for(last_answer - started, is_cold=is_cold)
            view.update(now, agent_runs, waits_for=waits_for)
            if now.status in FINAL:
                return now
            _check_services(desk)
            pause(_POLL_S)


def _look(desk: Desk, execution: Execution) -> tuple[Execution, Mapping[str, AgentRun]]:
    with desk.session() as session:
        now = get_execution(session, execution.id)
        if now.status is ExecutionStatus.PENDING:
            return now, {}
        return now, last_answers(list_agent_runs(session, [execution.id]))


def _waits_for(waited_s: float, *, is_cold: bool) -> str:
    if waited_s > _LONELY_S:
        return "a worker, and none has taken it yet. Is one running?"
    return (
        "Prefect and a worker to start, which takes some fifteen seconds" if is_cold else "a worker"
    )


def _check_services(desk: Desk) -> None:
    for name, failure in desk.installation.stack.failures().items():
        message = f"The service {name} has failed: {failure.message}"
        raise StackStartFailed(message, hint=failure.hint)


def _agents_of(definition: JsonObject) -> dict[str, str]:
    agents = definition.get("agents")
    nodes = agents if isinstance(agents, list) else []
    return {
        str(node.get("name")): str(node.get("type")) for node in nodes if isinstance(node, dict)
    }
