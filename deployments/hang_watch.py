"""Notice that a worker's event loop hangs, and end the process: nothing else gives it back.

Two watches. A thread looks at the heartbeat of the loop, names the run whose agent hangs, and ends
the process. An agent that holds the interpreter itself, as a regular expression does, keeps that
thread from looking, too: the system ends a process that spends CPU time without a heartbeat.
"""

import faulthandler
import logging
import os
import signal
import threading

from domain.errors import TenantryError
from domain.ids import RunId
from flows.hanging import describe_stack, find_run_under_way
from persistence.queue import forget_worker
from persistence.run_losses import give_up_runs
from persistence.sessions import Database

_LOG = logging.getLogger("tenantry.worker")
HANG_LIMIT_S = 15.0
"""So long may an agent keep the event loop busy: the whole worker waits meanwhile."""
HUNG_EXIT_CODE = 70
_LOOK_EVERY_S = 0.5
_STDERR = 2
# Threads beside the loop spend CPU time as well: twice what one alone could.
_CPU_LIMIT_S = 2 * HANG_LIMIT_S


class Heartbeat:
    """When the event loop last got round to saying that it goes on, in looks of the watch.

    Looks and not seconds: a process that was frozen has not been looked at either, and is given
    its time anew when it wakes.
    """

    def __init__(self, *, limit_s: float = HANG_LIMIT_S) -> None:
        self._limit = max(1, round(limit_s / _LOOK_EVERY_S))
        self._silent_looks = 0

    def beat(self) -> None:
        """Say that the loop goes on."""
        self._silent_looks = 0

    def look(self) -> bool:
        """Count a look of the watch; say whether the loop has been silent for too long."""
        self._silent_looks += 1
        return self._silent_looks > self._limit


class HangWatch:
    """Watches the loop of the thread that makes it."""

    def __init__(self, database: Database, *, worker: str, limit_s: float = HANG_LIMIT_S) -> None:
        self._database, self._worker = database, worker
        self._heartbeat = Heartbeat(limit_s=limit_s)
        self._cpu_limit_s = _CPU_LIMIT_S * limit_s / HANG_LIMIT_S
        self._loop_thread = threading.get_ident()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hang watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        # Written by the system's handler, which needs no interpreter; then the default ends it.
        faulthandler.register(signal.SIGPROF, file=_STDERR, all_threads=True, chain=True)
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        """Say that the loop goes on; called by it every second."""
        self._heartbeat.beat()
        signal.setitimer(signal.ITIMER_PROF, self._cpu_limit_s)

    def stop(self) -> None:
        """Stop watching; returns at once."""
        self._stopped.set()
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK_EVERY_S):
            if self._heartbeat.look():
                self._end()

    def _end(self) -> None:
        run_id = find_run_under_way(self._loop_thread)
        _LOG.critical(
            "worker hangs run_id=%s: ending this process; its event loop is at\n%s",
            run_id or "unknown",
            describe_stack(self._loop_thread),
        )
        # Whatever keeps the database from answering must not keep this process alive.
        giving_up = threading.Thread(target=self._give_up, args=(run_id,), daemon=True)
        giving_up.start()
        giving_up.join(timeout=5.0)
        logging.shutdown()
        os._exit(HUNG_EXIT_CODE)

    def _give_up(self, run_id: RunId | None) -> None:
        try:
            with self._database.for_platform() as session:
                forget_worker(session, self._worker)
                left = give_up_runs(session, self._worker, reason=run_id)
        except TenantryError as error:
            _LOG.warning("leases end by themselves worker=%s: %s", self._worker, error.message)
        else:
            _LOG.warning("runs given up worker=%s runs=%d", self._worker, left)
