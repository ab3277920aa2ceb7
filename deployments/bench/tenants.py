"""The organizations of the benchmark, each with the workflow of the three steps."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from deployments.bench.agents import bench_definition
from deployments.bench.failures import BenchFailed
from deployments.bench.ground import Ground
from domain.catalog import Workflow
from domain.clock import utc_now
from domain.ids import OrgId, UserId
from domain.workflows import WorkflowDefinition
from persistence.organizations import ensure_member, ensure_organization
from persistence.sessions import Database
from persistence.tokens import add_token
from persistence.workflows import add_workflow

USER = UserId("user_bench")
_PUBLISH_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Tenant:
    """One organization and its workflow."""

    org_id: OrgId
    workflow: Workflow


def add_tenants(
    database: Database,
    number: int,
    *,
    kind: str = "bench",
    define: Callable[[int], WorkflowDefinition] = lambda _: bench_definition(),
) -> list[Tenant]:
    """Make organizations of a kind, with a workflow each."""
    tenants: list[Tenant] = []
    for each in range(number):
        org_id, definition = OrgId(f"org_{kind}_{each}"), define(each)
        slug = f"{kind.replace('_', '-')}-{each}"
        with database.for_platform() as session:
            ensure_organization(session, org_id, name=f"{kind} {each}", slug=slug)
            ensure_member(session, org_id, USER, name="Bench", role="admin")
        with database.org(org_id, user_id=USER) as session:
            workflow = add_workflow(
                session,
                definition.as_json(),
                name=definition.name,
                slug=definition.slug,
                description="",
            )
        tenants.append(Tenant(org_id, workflow))
    return tenants


def make_token(database: Database, tenant: Tenant) -> str:
    """Make a token for the API."""
    with database.org(tenant.org_id, user_id=USER) as session:
        expires_at = utc_now() + timedelta(days=1)
        return add_token(session, USER, name="bench", expires_at=expires_at)[1]


def wait_published(ground: Ground, tenants: Sequence[Tenant]) -> None:
    """Wait until every workflow has its deployment in Prefect, so that no run has to make it.

    Raises:
        BenchFailed: the steward does not get there.
    """
    deadline = time.monotonic() + _PUBLISH_LIMIT_S
    ids = [tenant.workflow.id for tenant in tenants]
    with ground.connect() as connection:
        while time.monotonic() < deadline:
            missing = connection.execute(
                "select count(*) from workflows"
                " where id = any(%s) and prefect_deployment_id is null",
                [ids],
            ).fetchone()
            if missing == (0,):
                return
            time.sleep(0.2)
    raise BenchFailed("The steward did not publish the workflows to Prefect.")
