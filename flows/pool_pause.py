"""A work pool that is paused in Prefect pauses our queue as well."""

import asyncio
import logging

from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound

from domain.waiting import PauseScope
from flows.naming import POOL
from persistence.pauses import add_pause, list_pauses, remove_pause
from persistence.sessions import Database

_LOG = logging.getLogger("tenantry.steward")


async def mirror_pool_pause(client: PrefectClient, database: Database) -> bool:
    """Have the queue paused while the work pool is; return whether it is.

    A pool that somebody has deleted is made again by another step, and not paused.
    """
    try:
        is_paused = (await client.read_work_pool(POOL)).is_paused
    except ObjectNotFound:
        is_paused = False
    await asyncio.to_thread(_note, database, is_paused=is_paused)
    return is_paused


def _note(database: Database, *, is_paused: bool) -> None:
    scope = PauseScope.WORK_POOL
    with database.for_platform() as session:
        was_paused = any(each.scope is scope for each in list_pauses(session))
        if is_paused and not was_paused:
            add_pause(session, scope, by="prefect")
            _LOG.warning("queue paused: the work pool is paused in Prefect pool=%s", POOL)
        elif was_paused and not is_paused:
            remove_pause(session, scope)
            _LOG.info("queue resumed: the work pool is resumed in Prefect pool=%s", POOL)
