"""What the steward does in a round: one step after the other, each on its own."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import PrefectException

from deployments.settings import Settings
from deployments.steadiness import Steadiness
from domain.clock import utc_now
from domain.drift import DriftKind
from domain.errors import ErrorCode, TenantryError
from domain.ids import RunId, WorkflowId
from flows.calling_off import call_off_suspended, call_off_waiting
from flows.deployment_drift import compare_newest, compare_slice, repair_deployment
from flows.left_tasks import end_left_tasks
from flows.missed_ticks import MissedTicks
from flows.pool_pause import mirror_pool_pause
from flows.publish import ensure_pool, publish_due
from flows.reconcile import recover_lost, recover_stuck
from flows.run_drift import RunDrift, find_closed_drift, find_open_drift, repair_run
from flows.table_drift import find_table_drift, repair_table
from persistence.drift_log import Repair, add_repairs, prune_repairs
from persistence.notifications import prune_events
from persistence.publishing import count_workflows
from persistence.queue_heads import sweep_heads
from persistence.sessions import Database
from persistence.steward_status import RoundReport

T = TypeVar("T")
_LOG = logging.getLogger("tenantry.steward")
# Rounds from one look to the next: at closed runs and deployments, further back, and at what is
# removed when it is old.
_LOOK_EVERY = 5
_FAR_LOOK_EVERY = 20
_PRUNE_EVERY = 200
# A platform engineer may set a state by hand, and a crash that was none may end as completed.
_NEAR = timedelta(minutes=2)
_FAR = timedelta(hours=1)
# All rows are counted again when so many times as long has passed as it took the last time: on
# large tables it is done rarely, on small ones each time.
_COUNTING_SHARE = 50.0
_PRUNED = 10_000
_PUBLISHING_S = 10.0
# All deployments are compared within this time, a slice in each look.
_ALL_COMPARED_S = 600.0
_SMALLEST_SLICE = 200


@dataclass(slots=True)
class Rounds:
    """What the leading steward remembers between its rounds; all of it may be lost."""

    client: PrefectClient
    database: Database
    settings: Settings
    steadiness: Steadiness
    number: int = 0
    missing: set[RunId] = field(default_factory=set[RunId])
    pending: dict[UUID, datetime] = field(default_factory=dict[UUID, datetime])
    # By step: what was found there and cannot be put right.
    left_over: dict[str, frozenset[tuple[DriftKind, str]]] = field(
        default_factory=dict[str, frozenset[tuple[DriftKind, str]]]
    )
    missed_ticks: MissedTicks = field(default_factory=MissedTicks)
    tables_seen_at: datetime | None = None
    count_again_at: float = float("-inf")
    compared_until: WorkflowId | None = None

    async def make_round(self) -> RoundReport:
        """Take every step; what one cannot do keeps no other one from being taken."""
        round_ = _Round(self)
        began = time.monotonic()
        await round_.step("call off", self._call_off)
        await round_.prefect_step("work pool", self._mirror_pool_pause)
        await round_.prefect_step("publish", self._publish)
        await round_.prefect_step("lost workers", self._recover_lost)
        await round_.prefect_step("suspended runs", self._call_off_suspended)
        await round_.prefect_step("open runs", self._check_open)
        if self.number % _LOOK_EVERY == 0:
            await round_.step("missed ticks", self._fire_missed_ticks)
            await round_.prefect_step("closed runs", self._check_closed)
            await round_.prefect_step("deployments", self._check_deployments)
            await round_.prefect_step("stuck runs", self._recover_stuck)
            await round_.prefect_step("left tasks", self._end_left_tasks)
        if self.number % _FAR_LOOK_EVERY == 0:
            await round_.step("queue heads", self._sweep_queue_heads)
            await round_.prefect_step("older runs", self._check_older)
            if time.monotonic() >= self.count_again_at:
                await round_.step("tables", self._check_tables)
            else:
                await round_.step("recent ends", self._check_recent_ends)
        if self.number % _PRUNE_EVERY == 0:
            await round_.step("prune", self._prune)
        self.number += 1
        return round_.report(seconds=time.monotonic() - began)

    async def _call_off(self) -> list[Repair]:
        ended = await asyncio.to_thread(call_off_waiting, self.database)
        if ended:
            _LOG.info("%d waiting executions were called off", ended)
        return []

    async def _call_off_suspended(self) -> list[Repair]:
        ended = await call_off_suspended(self.client, self.database)
        if ended:
            _LOG.info("%d executions of suspended runs were called off", ended)
        return []

    async def _fire_missed_ticks(self) -> list[Repair]:
        fired = await asyncio.to_thread(self.missed_ticks.fire, self.database, now=utc_now())
        if fired:
            _LOG.info("%d ticks were fired that Prefect does not fire", fired)
        return []

    async def _mirror_pool_pause(self) -> list[Repair]:
        await mirror_pool_pause(self.client, self.database)
        return []

    async def _sweep_queue_heads(self) -> list[Repair]:
        late = await asyncio.to_thread(self._count_late_heads)
        if late:
            _LOG.warning("queue heads repaired count=%d", late)
        return []

    def _count_late_heads(self) -> int:
        with self.database.for_platform() as session:
            return sweep_heads(session)

    async def _publish(self) -> list[Repair]:
        began = time.monotonic()
        # What a thousand imports leave to publish does not keep the other steps from being taken.
        while time.monotonic() - began < _PUBLISHING_S:
            if not await publish_due(self.client, self.database):
                break
        return []

    async def _recover_lost(self) -> list[Repair]:
        settings = self.settings
        if not self.steadiness.lasts(settings.lease_s):
            return []
        return await recover_lost(
            self.client,
            self.database,
            lease_s=settings.lease_s,
            max_attempts=settings.max_attempts,
        )

    async def _check_open(self) -> list[Repair]:
        found = await find_open_drift(self.client, self.database)
        gone = {f.run.id for f in found if f.drift.kind is DriftKind.MISSING_IN_PREFECT}
        # Twice in a row, as it may have been made between the two questions.
        ready = [f for f in found if f.run.id not in gone or f.run.id in self.missing]
        self.missing = gone
        return await self._repair_runs(ready)

    async def _check_closed(self) -> list[Repair]:
        found = await find_closed_drift(self.client, self.database, since=_NEAR, statuses=True)
        return await self._repair_runs(found)

    async def _check_older(self) -> list[Repair]:
        return await self._repair_runs(
            await find_closed_drift(self.client, self.database, since=_FAR)
        )

    async def _end_left_tasks(self) -> list[Repair]:
        ended = await end_left_tasks(self.client, self.database)
        if ended:
            _LOG.info("%d tasks were left open in Prefect by runs that have ended", ended)
        return []

    async def _repair_runs(self, found: Iterable[RunDrift]) -> list[Repair]:
        attempts = self.settings.max_attempts
        repairs: list[Repair] = []
        for each in found:
            done = await repair_run(self.client, self.database, each, max_attempts=attempts)
            if done is not None:
                repairs.append(done)
        return repairs

    async def _check_deployments(self) -> list[Repair]:
        await ensure_pool(self.client)
        found = await compare_newest(self.client, self.database)
        in_turn, self.compared_until = await compare_slice(
            self.client,
            self.database,
            after=self.compared_until,
            most=await asyncio.to_thread(self._slice_size),
        )
        known = {each.workflow_id for each in found}
        found += [each for each in in_turn if each.workflow_id not in known]
        return [await repair_deployment(self.client, self.database, each) for each in found]

    def _slice_size(self) -> int:
        with self.database.for_platform() as session:
            workflows = count_workflows(session)
        looks = _ALL_COMPARED_S / (_LOOK_EVERY * self.settings.reconcile_interval_s)
        return max(_SMALLEST_SLICE, math.ceil(workflows / looks))

    async def _recover_stuck(self) -> list[Repair]:
        return await recover_stuck(
            self.client,
            self.database,
            self.pending,
            limit=timedelta(seconds=self.settings.pending_limit_s),
            max_attempts=self.settings.max_attempts,
        )

    async def _check_tables(self) -> list[Repair]:
        began = time.monotonic()
        repairs = await self._repair_tables(since=None)
        seconds = time.monotonic() - began
        self.count_again_at = time.monotonic() + _COUNTING_SHARE * seconds
        return repairs

    async def _check_recent_ends(self) -> list[Repair]:
        return await self._repair_tables(since=self.tables_seen_at)

    async def _repair_tables(self, *, since: datetime | None) -> list[Repair]:
        now = utc_now()
        found = await asyncio.to_thread(find_table_drift, self.database, since=since)
        repairs = [await asyncio.to_thread(repair_table, self.database, each) for each in found]
        # Some overlap, as an event has its time a moment before it can be seen.
        self.tables_seen_at = now - timedelta(minutes=1)
        return repairs

    async def _prune(self) -> list[Repair]:
        settings, now = self.settings, utc_now()

        def prune() -> None:
            for act, days in (
                (prune_events, settings.event_days),
                (prune_repairs, settings.drift_log_days),
            ):
                while True:
                    with self.database.for_platform() as session:
                        before = now - timedelta(days=days)
                        if act(session, before=before, limit=_PRUNED) < _PRUNED:
                            break

        await asyncio.to_thread(prune)
        return []


@dataclass(slots=True)
class _Round:
    """What comes of one round's steps."""

    rounds: Rounds
    repairs: list[Repair] = field(default_factory=list[Repair])
    troubles: dict[str, str] = field(default_factory=dict[str, str])
    prefect_is_away: bool = False
    check_seconds: float = 0.0

    async def prefect_step(self, name: str, act: Callable[[], Awaitable[list[Repair]]]) -> None:
        """Take a step that needs Prefect; once it did not answer, the next round asks again."""
        if self.prefect_is_away:
            self.troubles[name] = ErrorCode.PREFECT_UNREACHABLE.value
            return
        began = time.monotonic()
        await self.step(name, act)
        self.check_seconds += time.monotonic() - began

    async def step(self, name: str, act: Callable[[], Awaitable[list[Repair]]]) -> None:
        """Take a step, and write down at once what it found."""
        try:
            repairs = await act()
            await asyncio.to_thread(self._log, name, repairs)
        except httpx.HTTPError as error:
            # What Prefect refuses is this step's trouble only.
            if not isinstance(error, httpx.HTTPStatusError) or error.response.is_server_error:
                self.prefect_is_away = True
                # Nothing starts without Prefect: that time is no run's fault.
                self.rounds.pending.clear()
            self._note(name, ErrorCode.PREFECT_UNREACHABLE, type(error).__name__)
        except TenantryError as error:
            self._note(name, error.code, error.message)
        except PrefectException as error:
            self._note(name, ErrorCode.PREFECT_UNREACHABLE, type(error).__name__)
        except Exception:
            # The steward must go on; its log and its row say what does not work.
            _LOG.exception("%s broke off", name)
            self.troubles[name] = ErrorCode.INTERNAL.value

    def report(self, *, seconds: float) -> RoundReport:
        """Sum the round up."""
        kinds = [each.drift.kind.value for each in self.repairs]
        repaired = [each.drift.kind.value for each in self.repairs if each.is_repaired]
        return RoundReport(
            seconds=seconds,
            check_seconds=None if self.prefect_is_away else self.check_seconds,
            found=Counter(kinds),
            repaired=Counter(repaired),
            left_over=Counter(
                kind.value for found in self.rounds.left_over.values() for kind, _ in found
            ),
            lost_workers=kinds.count(DriftKind.WORKER_LOST.value),
            troubles=self.troubles,
        )

    def _log(self, name: str, repairs: list[Repair]) -> None:
        # What a person has to look at is found in every look, and logged once.
        known = self.rounds.left_over.get(name, frozenset())
        new = [r for r in repairs if r.is_repaired or (r.drift.kind, r.drift.subject) not in known]
        with self.rounds.database.for_platform() as session:
            add_repairs(session, new)
        self.rounds.left_over[name] = frozenset(
            (r.drift.kind, r.drift.subject) for r in repairs if not r.is_repaired
        )
        for repair in new:
            drift = repair.drift
            _LOG.warning(
                "%s in %s: %s here, %s there; %s",
                drift.kind.value,
                drift.subject,
                drift.here,
                drift.there,
                repair.action,
            )
        self.repairs += new

    def _note(self, name: str, code: ErrorCode, text: str) -> None:
        _LOG.warning("%s not done: %s (%s)", name, text, code.value)
        self.troubles[name] = code.value
