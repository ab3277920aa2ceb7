"""The mirror alone: three transitions with statistics and audit, with no Prefect about.

In a database of its own, so that no worker takes the executions away. What a run needs besides,
its row and its agents' answers, is written between the timed parts.
"""

import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from uuid import uuid4

from sqlalchemy import make_url, text

from deployments.bench import steps
from deployments.bench.agents import AGENTS
from deployments.bench.contenders import Answers
from deployments.bench.profiling import Calls, watch_statements
from deployments.bench.tenants import USER, Tenant, add_tenants
from domain.agent_runs import AgentRun
from domain.clock import utc_now
from domain.ids import ExecutionId, new_agent_run_id
from domain.json_data import JsonObject, JsonValue
from domain.outcomes import AgentOutcome, AgentValue
from domain.runs import Run, RunState, StateType
from flows.mirror import apply
from persistence.agent_runs import add_agent_runs
from persistence.execution_batches import add_batch
from persistence.execution_intake import SingleWish, add_requested
from persistence.execution_targets import ExecutionWish
from persistence.migrate import migrate
from persistence.roles import APP_ROLE, PLATFORM_ROLE, derive_role_url
from persistence.runs import add_prefect_run
from persistence.sessions import Database, open_database

ADDED, STARTED, ENDED = "added as PENDING", "to RUNNING", "to COMPLETED"
_BESIDE = "three answers kept (beside, not counted)"
STAGES = (ADDED, STARTED, ENDED, _BESIDE)
_CARRY = text("update executions set run_id = :run_id, lease_token = :token where id = any(:ids)")


def serve(answers: Answers) -> None:
    """Answer until nobody asks any more."""
    setup = answers.next_question()
    owner = make_url(setup["database_url"])
    app_url, platform_url = (derive_role_url(owner, role) for role in (APP_ROLE, PLATFORM_ROLE))
    migrate(owner, app_url=app_url, platform_url=platform_url)
    database = open_database(
        app_url=app_url, platform_url=platform_url, audit_key=setup["audit_key"].encode()
    )
    with closing(database):
        (tenant,) = add_tenants(database, 1)
        measure_mirror(database, tenant, size=1, seconds=0.5)
        answers.give({})
        calls: Calls | None = None
        while question := answers.next_question():
            if question.get("statements") and calls is None:
                calls = Calls()
                watch_statements(calls)
            first = len(calls.rows) if calls else 0
            measured = measure_mirror(
                database, tenant, size=question["size"], seconds=question["seconds"]
            )
            measured["statements"] = _sum_up(calls, first, measured) if calls else []
            answers.give(measured)


def measure_mirror(database: Database, tenant: Tenant, *, size: int, seconds: float) -> JsonObject:
    """Carry executions through their three transitions, `size` at a time, until the time is up."""
    count, cpu, began = 0, time.process_time(), time.monotonic()
    spent = {name: 0.0 for name in STAGES}
    while count == 0 or time.monotonic() - began < seconds:
        with _clock(spent, ADDED):
            ids = _add(database, tenant, size)
        run = _start_run(database, tenant, ids)
        running = _state(StateType.RUNNING)
        with _clock(spent, STARTED):
            apply(database, run, [running])
        with _clock(spent, _BESIDE):
            _keep_answers(database, tenant, run, ids)
        completed = _state(StateType.COMPLETED)
        with _clock(spent, ENDED):
            apply(database, run, [completed])
        count += size
    return {
        "count": count,
        "elapsed_s": sum(spent[name] for name in STAGES if name != _BESIDE),
        "cpu_s": time.process_time() - cpu,
        "stages_ms": {name: spent[name] / count * 1000 for name in spent},
    }


def _add(database: Database, tenant: Tenant, size: int) -> list[ExecutionId]:
    workflow = tenant.workflow.id
    with database.org(tenant.org_id, user_id=USER) as session:
        if size > 1:
            inputs = [steps.make_input(number) for number in range(size)]
            wish = ExecutionWish(workflow=workflow, labels={})
            return add_batch(session, wish, inputs, batch_id=f"bench-{uuid4().hex[:12]}")
        (added,) = add_requested(
            session, [SingleWish(workflow=workflow, labels={}, input_data=steps.make_input(0))]
        )
        if isinstance(added, Exception):
            raise added
        return [added.execution.id]


def _start_run(database: Database, tenant: Tenant, ids: Sequence[ExecutionId]) -> Run:
    with database.for_platform() as session:
        run = add_prefect_run(
            session,
            tenant.org_id,
            tenant.workflow.id,
            version=tenant.workflow.version,
            flow_run_id=uuid4(),
            worker="bench",
            lease_s=3600,
        )
        values = {"run_id": run.id, "token": run.lease_token, "ids": list(ids)}
        session.execute(_CARRY, values)
        return run


def _keep_answers(database: Database, tenant: Tenant, run: Run, ids: Sequence[ExecutionId]) -> None:
    data = [steps.make_input(number) for number in range(len(ids))]
    for name, step in zip(AGENTS, (steps.read_request, steps.qualify, steps.report), strict=True):
        data = [step(each) for each in data]
        answered = [_answer(run, id, name, each) for id, each in zip(ids, data, strict=True)]
        with database.org(tenant.org_id) as session:
            add_agent_runs(session, run, name, answered)


def _answer(run: Run, id: ExecutionId, name: str, data: JsonObject) -> AgentRun:
    now = utc_now()
    return AgentRun(
        id=new_agent_run_id(),
        execution_id=id,
        run_id=run.id,
        agent_name=name,
        attempt=1,
        outcome=AgentOutcome(value=AgentValue(data)),
        started_at=now,
        completed_at=now,
    )


def _state(type: StateType) -> RunState:
    return RunState(id=uuid4(), type=type, name=type.value.title(), at=utc_now())


@contextmanager
def _clock(spent: dict[str, float], name: str) -> Generator[None]:
    began = time.perf_counter()
    yield
    spent[name] += time.perf_counter() - began


def _sum_up(calls: Calls, first: int, measured: JsonObject) -> list[JsonValue]:
    """Sum up statements: text, how often for each execution, milliseconds for each execution."""
    count = int(str(measured["count"]))
    sums: dict[str, tuple[int, float]] = {}
    for _, statement, _, seconds in calls.rows[first:]:
        number, total = sums.get(statement, (0, 0.0))
        sums[statement] = (number + 1, total + seconds)
    order = sorted(sums.items(), key=lambda item: -item[1][1])
    return [
        [statement[:160], number / count, total * 1000 / count]
        for statement, (number, total) in order
    ]


if __name__ == "__main__":
    serve(Answers())
