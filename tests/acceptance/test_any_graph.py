"""Any workflow graph that is accepted runs in its order, in Prefect's real engine."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.agent_runs import AgentRun
from domain.executions import ExecutionStatus
from domain.workflows import WorkflowDefinition
from persistence.agent_runs import list_agent_runs
from persistence.sessions import Database
from tests.support.databases import ACME
from tests.support.factories import queue, save_workflow
from tests.support.services import Services, wait_until_final


@st.composite
def graphs(draw: st.DrawFn) -> WorkflowDefinition:
    """Draw a connected graph without circles: every agent but the first follows earlier ones."""
    count = draw(st.integers(1, 6))
    names = draw(st.permutations([f"Agent {{{number}}}" for number in range(count)]))
    edges: list[dict[str, str]] = []
    for index in range(1, count):
        before = draw(st.sets(st.integers(0, index - 1), min_size=1, max_size=3))
        edges += [{"from": names[one], "to": names[index]} for one in sorted(before)]
    return WorkflowDefinition.model_validate(
        {
            "name": f"Graph {time.monotonic_ns()}",
            "agents": [{"name": name, "type": "probe", "config": {}} for name in sorted(names)],
            "edges": edges,
        }
    )


def carry_out(database: Database, definition: WorkflowDefinition) -> dict[str, AgentRun]:
    """Run a workflow once; return its agents' one answer each."""
    workflow = save_workflow(database, ACME, definition)
    execution = queue(database, ACME, workflow)
    (found,) = wait_until_final(database, ACME, [execution.id])
    assert found.status is ExecutionStatus.COMPLETED
    with database.org(ACME) as session:
        runs = list_agent_runs(session, [execution.id])
    assert len(runs) == len(definition.agents)
    return {run.agent_name: run for run in runs}


@pytest.mark.timeout(240)
@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(definition=graphs())
def test_every_agent_starts_after_all_that_lead_to_it_have_answered(
    services: Services, database: Database, definition: WorkflowDefinition
):
    if not services.processes:
        services.worker()
    runs = carry_out(database, definition)
    assert set(runs) == {agent.name for agent in definition.agents}
    for edge in definition.edges:
        assert runs[edge.source].completed_at <= runs[edge.target].started_at
    for agent in definition.agents:
        value = runs[agent.name].outcome.value
        assert value is not None
        assert set(value.data["heard"]) == set(definition.upstream_of(agent.name))


@pytest.mark.timeout(120)
def test_independent_branches_run_side_by_side(services: Services, database: Database):
    services.worker()
    slow = {"type": "probe", "config": {"sleep_s": 0.6}}
    definition = WorkflowDefinition.model_validate(
        {
            "name": "Branches",
            "agents": [
                {"name": "Start", "type": "probe", "config": {}},
                *({"name": name, **slow} for name in ("Left", "Middle", "Right")),
            ],
            "edges": [{"from": "Start", "to": name} for name in ("Left", "Middle", "Right")],
        }
    )
    runs = carry_out(database, definition)
    branches = [runs[name] for name in ("Left", "Middle", "Right")]
    assert max(run.started_at for run in branches) < min(run.completed_at for run in branches)
