"""Look for drift once, for a person who wants to know now."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from domain.drift import Drift, DriftKind
from domain.errors import ErrorCode, TenantryError
from flows.deployment_drift import (
    DeploymentDrift,
    find_deployment_drift,
    list_not_published,
    repair_deployment,
)
from flows.run_drift import RunDrift, find_closed_drift, find_open_drift, repair_run
from flows.table_drift import find_table_drift, repair_table
from persistence.drift_log import LoggedRepair, Repair, add_repairs, list_repairs
from persistence.publishing import PublishingProgress, read_progress
from persistence.sessions import Database
from persistence.steward_status import StewardStatus, read_status

_CLOSED_SINCE = timedelta(hours=24)
# A state that Prefect has had for less may be on its way to our rows: look twice.
_SECOND_LOOK_S = 2.0
_TIMEOUT_S = 20.0


class PrefectUnreachable(TenantryError):
    """Prefect does not answer, so that it cannot be compared with."""

    code = ErrorCode.PREFECT_UNREACHABLE
    retryable = True

    def __init__(self) -> None:
        super().__init__(
            "Prefect did not answer: runs and deployments were not compared.",
            hint="Start it, or check PREFECT_API_URL, then ask again. Here `tenantry up` runs it.",
        )


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What does not fit now, what was done about it, and what was done before."""

    left: Sequence[Drift]
    repairs: Sequence[Repair]
    history: Sequence[LoggedRepair]
    steward: StewardStatus
    publishing: PublishingProgress
    prefect_problem: TenantryError | None = None


@dataclass(slots=True)
class _Found:
    runs: list[RunDrift] = field(default_factory=list[RunDrift])
    deployments: list[DeploymentDrift] = field(default_factory=list[DeploymentDrift])
    tables: list[Drift] = field(default_factory=list[Drift])
    unpublished: list[Drift] = field(default_factory=list[Drift])

    def drifts(self) -> list[Drift]:
        return [
            *(found.drift for found in self.runs),
            *(found.drift for found in self.deployments),
            *self.tables,
            *self.unpublished,
        ]


def check_drift(
    database: Database, prefect_api_url: str | None, *, repair: bool, max_attempts: int, last: int
) -> DriftReport:
    """Compare everything with everything, and repair what can be if asked to.

    What Prefect was asked twice for and said twice is drift; the rest was on its way.

    Args:
        prefect_api_url: `None` if none is known.
        last: how many of the repairs that were made before are listed.

    Raises:
        DatabaseUnreachable: there is nothing to compare.
    """
    found, repairs, problem = _Found(), list[Repair](), None
    try:
        if prefect_api_url is None:
            raise PrefectUnreachable
        found, repairs = asyncio.run(
            _check_prefect(database, prefect_api_url, repair=repair, max_attempts=max_attempts)
        )
    except (httpx.HTTPError, PrefectUnreachable):
        problem = PrefectUnreachable()
    found.unpublished = list_not_published(database)
    found.tables = find_table_drift(database, since=None)
    if repair and found.tables:
        repairs += [repair_table(database, drift) for drift in found.tables]
        found.tables = find_table_drift(database, since=None)
    with database.for_platform() as session:
        add_repairs(session, repairs)
    with database.for_platform() as session:
        history, steward = list_repairs(session, limit=last), read_status(session)
        publishing = read_progress(session)
    return DriftReport(found.drifts(), repairs, history, steward, publishing, problem)


async def _check_prefect(
    database: Database, api_url: str, *, repair: bool, max_attempts: int
) -> tuple[_Found, list[Repair]]:
    repairs: list[Repair] = []
    with temporary_settings({PREFECT_API_URL: api_url, PREFECT_CLIENT_MAX_RETRIES: 0}):
        async with get_client(httpx_settings={"timeout": _TIMEOUT_S}) as client:
            found = await _look_twice(client, database)
            if repair and (found.runs or found.deployments):
                repairs = await _repair(client, database, found, max_attempts=max_attempts)
                found = await _look_twice(client, database)
    return found, repairs


async def _repair(
    client: PrefectClient, database: Database, found: _Found, *, max_attempts: int
) -> list[Repair]:
    made = [await repair_run(client, database, f, max_attempts=max_attempts) for f in found.runs]
    published = [await repair_deployment(client, database, f) for f in found.deployments]
    return [each for each in (*made, *published) if each is not None]


async def _look_twice(client: PrefectClient, database: Database) -> _Found:
    found = await _look(client, database)
    if not found.runs:
        return found
    await asyncio.sleep(_SECOND_LOOK_S)
    again = await _look(client, database)

    def key(drift: Drift) -> tuple[DriftKind, str, str]:
        return drift.kind, drift.subject, drift.there

    known = {key(each.drift) for each in found.runs}
    again.runs = [each for each in again.runs if key(each.drift) in known]
    return again


async def _look(client: PrefectClient, database: Database) -> _Found:
    return _Found(
        runs=[
            *await find_open_drift(client, database),
            *await find_closed_drift(client, database, since=_CLOSED_SINCE, statuses=True),
        ],
        deployments=await find_deployment_drift(client, database),
    )
