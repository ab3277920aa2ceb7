"""A run goes only to a worker that carries all agent types of its workflow version."""

from datetime import UTC, datetime
from uuid import uuid4

from prefect.client.schemas.objects import FlowRun
from sqlalchemy import create_engine, text

from domain.ids import ExecutionId
from domain.waiting import BlockerKind, find_blockers
from flows.adopt import Queued, adopt_flow_run
from persistence.executions import get_execution, list_executions
from persistence.queue import Claimant, claim_runs, note_worker
from persistence.sessions import Database
from persistence.waiting import find_place, see_workers
from persistence.workflows import set_published
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import chain, queue, save_workflow, simple_workflow

NEW = {"type": "brand_new", "config": {}}
OLD = {"type": "probe", "config": {}}


def claim(database: Database, *types: str) -> list[ExecutionId]:
    claimant = Claimant(
        name="w", lease_s=60, runs=8, free_runs=8, free_executions=100, agent_types=types
    )
    with database.for_platform() as session:
        return [id for run in claim_runs(session, claimant) for id in run.execution_ids]


def test_a_worker_is_given_nothing_that_needs_a_type_it_does_not_carry(database: Database):
    new = save_workflow(database, ACME, chain("New", OLD, NEW))
    mixed = queue(database, ACME, new).id
    plain = queue(database, GLOBEX, simple_workflow(database, GLOBEX)).id
    assert claim(database, "probe") == [plain]
    assert claim(database, "brand_new") == []
    assert claim(database, "brand_new", "probe") == [mixed]


def test_a_version_that_was_stored_without_its_types_is_known_by_its_definition(
    database: Database, database_url, cluster
):
    workflow = save_workflow(database, ACME, chain("Older", OLD, NEW))
    id = queue(database, ACME, workflow).id
    engine = create_engine(cluster.as_superuser(database_url))
    with engine.begin() as connection:
        connection.execute(text("update workflow_versions set agent_types = null"))
    engine.dispose()
    assert claim(database, "probe") == []
    assert claim(database, "probe", "brand_new") == [id]


def test_it_is_told_which_agent_type_no_worker_carries(database: Database):
    id = queue(database, ACME, save_workflow(database, ACME, chain("New", OLD, NEW))).id

    def blockers() -> list[tuple[BlockerKind, str]]:
        with database.for_platform() as session:
            seen = see_workers(session)
        with database.org(ACME) as session:
            facts = find_place(session, id, seen)
        return [(each.kind, each.message) for each in find_blockers(facts)]

    def note(name: str, *types: str) -> None:
        with database.for_platform() as session:
            note_worker(session, name, slots=4, life_s=60, agent_types=types)

    note("old", "probe")
    assert blockers()[0] == (
        BlockerKind.NO_AGENT_TYPE,
        "No worker carries agent type `brand_new`.",
    )
    note("other", "brand_new")
    assert blockers()[0] == (
        BlockerKind.NO_AGENT_TYPE,
        "No worker carries all of the agent types `brand_new`, `probe`.",
    )
    note("new", "probe", "brand_new")
    assert [kind for kind, _ in blockers()] == [BlockerKind.NEXT]


def test_a_flow_run_that_prefect_hands_to_a_worker_without_the_type_is_queued(database: Database):
    workflow = save_workflow(database, ACME, chain("New", OLD, NEW))
    deployment = uuid4()
    with database.for_platform() as session:
        set_published(session, workflow.id, deployment_id=deployment, published={})
    flow_run = FlowRun(id=uuid4(), flow_id=uuid4(), deployment_id=deployment, name="given")
    for _ in range(2):
        adopted = adopt_flow_run(
            database, flow_run, worker="old", lease_s=60, agent_types=["probe"]
        )
        assert isinstance(adopted, Queued)
        assert "brand_new" in adopted.reason
    with database.org(ACME) as session:
        (waiting,) = list_executions(session)
        found = get_execution(session, adopted.execution_id)
    assert (waiting.id, found.run_id, found.attempt) == (adopted.execution_id, None, 1)
    assert found.created_at <= datetime.now(UTC)
    assert claim(database, "probe", "brand_new") == [found.id]
