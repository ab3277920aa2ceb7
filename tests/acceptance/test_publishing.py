"""Publishing to a real Prefect: one that is refused harms no other."""

import httpx
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    temporary_settings,
)
from sqlalchemy import Connection, text

from deployments.embedded.stack import EmbeddedStack
from domain.drift import DriftKind
from flows.deployment_drift import compare_newest, compare_slice, list_not_published
from flows.publish import ensure_pool, publish_due
from persistence.publishing import read_progress
from persistence.schedules import add_schedule
from persistence.sessions import Database
from tests.support.databases import ACME, ADMIN, GLOBEX
from tests.support.factories import simple_workflow

pytestmark = pytest.mark.prefect


async def published(client: PrefectClient) -> set[str]:
    found = await client.read_deployments()
    return {str(each.entrypoint).rpartition(".")[2] for each in found}


async def test_a_workflow_that_prefect_refuses_keeps_no_other_from_being_published(
    prefect: EmbeddedStack, database: Database, superuser: Connection
):
    bad, good = simple_workflow(database, ACME), simple_workflow(database, GLOBEX)
    with database.org(ACME, user_id=ADMIN) as session:
        schedule = add_schedule(session, bad.id, cron="0 9 * * *", timezone="UTC", input_data={})
    # Let pass by an older version: Prefect's own client raises over it.
    superuser.execute(text("update schedules set cron = '0 9 * * 5L'"))
    # Slugs that Prefect's API refuses in the name of a flow.
    superuser.execute(text("alter table workflows drop constraint workflows_slug_check"))
    worst = simple_workflow(database, ACME, name="Worst")
    superuser.execute(text("update workflows set slug = 'a/b%c' where id = :id"), {"id": worst.id})
    settings = {
        PREFECT_API_URL: prefect.prefect_api_url,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
    }
    with temporary_settings(settings):
        async with get_client() as client:
            await ensure_pool(client)
            await publish_due(client, database)
            names = await published(client)
            assert {bad.id, good.id} <= names
            assert worst.id not in names
            assert await compare_newest(client, database) == []
            assert await compare_slice(client, database, after=None, most=200) == ([], None)
    unpublished = {each.subject: each for each in list_not_published(database)}
    assert set(unpublished) == {bad.id, worst.id}
    assert {each.kind for each in unpublished.values()} == {DriftKind.NOT_PUBLISHED}
    assert schedule.id  # it stands at its workflow
    assert "422" in unpublished[worst.id].there


async def test_a_prefect_that_is_away_is_held_against_no_workflow(database: Database):
    simple_workflow(database, ACME)
    with temporary_settings(
        {
            PREFECT_API_URL: "http://127.0.0.1:9/api",
            PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
        }
    ):
        client = PrefectClient("http://127.0.0.1:9/api", httpx_settings={"timeout": 2})
        with pytest.raises(httpx.TransportError):
            await publish_due(client, database)
    with database.for_platform() as session:
        assert (read_progress(session).waiting, read_progress(session).refused) == (1, 0)
