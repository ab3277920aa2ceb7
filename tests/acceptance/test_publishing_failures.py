"""Publishing to a Prefect that fails: at one workflow, and at all of them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from deployments.embedded.stack import EmbeddedStack
from flows.publish import ensure_pool, publish_due
from persistence.publishing import list_refused, read_progress
from persistence.sessions import Database
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import simple_workflow
from tests.support.failing_prefect import FailingPrefect, failing_prefect

pytestmark = pytest.mark.prefect


@pytest.fixture
def failing(prefect: EmbeddedStack) -> Iterator[FailingPrefect]:
    with failing_prefect(
        prefect.prefect_api_url, answers_500_to=b"always-500", hangs_up_on=b"never-answered"
    ) as server:
        yield server


@asynccontextmanager
async def client_of(failing: FailingPrefect) -> AsyncIterator[PrefectClient]:
    """Ask it as the steward does: once."""
    with temporary_settings(
        {
            PREFECT_API_URL: failing.url,
            PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
            PREFECT_CLIENT_MAX_RETRIES: 0,
        }
    ):
        async with get_client(httpx_settings={"timeout": 20}) as client:
            yield client


@pytest.mark.parametrize("name", ["Always 500", "Never answered"])
async def test_a_workflow_at_which_prefect_fails_is_tried_later_and_stops_no_other(
    failing: FailingPrefect, database: Database, name: str
):
    bad = simple_workflow(database, ACME, name=name)
    async with client_of(failing) as client:
        await ensure_pool(client)
        await publish_due(client, database)  # it is the only one, and Prefect is there
        simple_workflow(database, ACME), simple_workflow(database, GLOBEX)
        await publish_due(client, database)
    with database.for_platform() as session:
        assert [each.workflow_id for each in list_refused(session)] == [bad.id]
        assert read_progress(session).waiting == 1


async def test_a_prefect_without_its_database_is_held_against_no_workflow(
    failing: FailingPrefect, database: Database
):
    simple_workflow(database, ACME), simple_workflow(database, GLOBEX)
    async with client_of(failing) as client:
        await ensure_pool(client)
        failing.is_down = True
        with pytest.raises(httpx.HTTPStatusError):
            await publish_due(client, database)
        with database.for_platform() as session:
            assert (read_progress(session).waiting, read_progress(session).refused) == (2, 0)
        failing.is_down = False
        await publish_due(client, database)
    with database.for_platform() as session:
        assert read_progress(session).waiting == 0
