"""Several workers under one parent: started again when they die, and drained together."""

import logging
import os
import signal
import time
from collections.abc import Sequence
from types import FrameType

from deployments.embedded.specs import ServiceSpec
from deployments.embedded.state import ServiceStatus
from deployments.embedded.supervision import Recipe, Supervised
from deployments.prefect_worker import worker_name
from deployments.settings import PREFIX, Settings
from deployments.wiring import open_database_of
from domain.errors import ErrorCode, TenantryError
from persistence.queue import forget_worker, is_worker_noted
from persistence.runs import end_leases_of
from persistence.sessions import Database

_LOG = logging.getLogger("tenantry.worker")
_TICK_S = 0.1
# A drain is bounded by itself: what hangs after it is ended before whoever has started us, and
# gives us `drain_grace_s` and 15 s, ends us.
_AFTER_GRACE_S = 12.0
# One that died too often beside others that work is tried again after so long.
_RETRY_S = 60.0


class WorkersFailed(TenantryError):
    """None of a group's workers can be started, or all of them die at once."""

    code = ErrorCode.WORKER_START_FAILED


class WorkerGroup:
    """Worker processes and what becomes of them. Each ends when this process does."""

    def __init__(
        self, settings: Settings, database: Database, argv: Sequence[str], *, count: int
    ) -> None:
        self._database = database
        self._failed_at: dict[str, float] = {}
        self._told_to_stop = False
        self._workers = [
            Supervised(
                Recipe(_make_spec(settings, argv, number), is_ready=self._is_up),
                log=None,
                environ=os.environ,
            )
            for number in range(1, count + 1)
        ]

    def run(self) -> None:
        """Keep the workers running until SIGTERM or SIGINT, then wait for their drain.

        Raises:
            WorkersFailed: none is left that could be started again.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            while not self._told_to_stop:
                now = time.monotonic()
                for worker in self._workers:
                    pid = worker.state.pid
                    worker.advance(now, ready=())
                    if pid is not None and worker.state.pid != pid:
                        self._give_up(worker_name(pid))
                self._check_failed(now)
                time.sleep(_TICK_S)
        finally:
            self._stop()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_stop = True

    def _check_failed(self, now: float) -> None:
        failed = [w for w in self._workers if w.state.status is ServiceStatus.FAILED]
        if len(failed) == len(self._workers):
            reason = failed[0].state.failure
            error = WorkersFailed(
                f"None of {len(failed)} workers stays up. {reason.message if reason else ''}",
                hint=reason.hint if reason else "See the lines above.",
            )
            _LOG.error("%s %s (%s)", error.message, error.hint, error.code.value)
            raise error
        for worker in failed:
            since = self._failed_at.setdefault(worker.spec.name, now)
            if now - since >= _RETRY_S:
                del self._failed_at[worker.spec.name]
                worker.retry()

    def _give_up(self, name: str) -> None:
        # Whoever could renew its leases is dead: its runs need not wait for them to end.
        try:
            with self._database.for_platform() as session:
                forget_worker(session, name)
                left = end_leases_of(session, name)
        except TenantryError as error:
            _LOG.warning("the leases of worker %r end by themselves: %s", name, error.message)
        else:
            _LOG.warning("worker %r has died, and left %d runs", name, left)

    def _is_up(self, pid: int) -> bool:
        # Only then does its end count as that of a worker that had begun to work.
        try:
            with self._database.for_platform() as session:
                return is_worker_noted(session, worker_name(pid))
        except TenantryError:
            return False

    def _stop(self) -> None:
        left = list(self._workers)
        while left:
            now = time.monotonic()
            for worker in left:
                worker.begin_stop(now)
            left = [worker for worker in left if not worker.check_stopped(now)]
            time.sleep(_TICK_S if left else 0)


def run_group(settings: Settings, argv: Sequence[str], *, count: int) -> None:
    """Run `count` workers until a signal stops them.

    Args:
        argv: how one of them is started.

    Raises:
        WorkersFailed: none of them can be started.
    """
    database = open_database_of(settings, pool_size=1)
    try:
        WorkerGroup(settings, database, argv, count=count).run()
    finally:
        database.close()


def _make_spec(settings: Settings, argv: Sequence[str], number: int) -> ServiceSpec:
    return ServiceSpec(
        name=f"worker-{number}",
        argv=tuple(argv),
        env={f"{PREFIX}WORKER_PROCESSES": "1"},
        cwd=os.getcwd(),
        # It waits for Prefect by itself, as long as that takes.
        start_timeout_s=float("inf"),
        stop_grace_s=settings.drain_grace_s + _AFTER_GRACE_S,
    )
