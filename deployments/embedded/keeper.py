"""The process that keeps the services of one home, as long as somebody uses the home.

It is started by `keeper_client`, runs in a session of its own, and talks through files under
`run/`: it takes requests, writes the state, and watches the lock that every user holds. Users
may die in any way: the kernel releases their lock, and the keeper stops everything and ends.
"""

import logging
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from deployments.embedded.cluster import PREFECT_ROLE, Cluster
from deployments.embedded.errors import StackStartFailed
from deployments.embedded.layout import Home
from deployments.embedded.locks import FileLock
from deployments.embedded.ownership import check_home
from deployments.embedded.ports import choose_port
from deployments.embedded.prefect_server import build_prefect_spec
from deployments.embedded.processes import ProcessId
from deployments.embedded.programs import find_programs
from deployments.embedded.specs import POSTGRES, PREFECT, ServiceSpec, take_requests
from deployments.embedded.state import (
    Failure,
    KeeperState,
    ServiceState,
    ServiceStatus,
    read_state,
    write_state,
)
from deployments.embedded.supervision import Recipe, Supervised

_log = logging.getLogger(__name__)

_BUSY_TICK_S = 0.02
_IDLE_TICK_S = 0.2
# How long after the last news the short tick goes on: commands come in bursts.
_BUSY_FOR_S = 3.0
_LOCK_WAIT_S = 5.0
_LEFTOVER_GRACE_S = 10.0
_ACCEPTED_KEPT = 100
_FOREIGN_PREFIXES = ("TENANTRY_", "PREFECT_", "PG")


class Keeper:
    """The services of one home and the decision when to stop them."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._services: dict[str, Supervised] = {}
        self._refused: dict[str, ServiceState] = {}
        self._state = KeeperState()
        self._users, self._start = FileLock(home.users_lock), FileLock(home.start_lock)
        self._told_to_stop = False
        # What the first user happens to have set must not reach a service by accident.
        self._environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_FOREIGN_PREFIXES)
        }

    def run(self) -> None:
        """Keep the services until nobody uses the home, or a signal says to stop."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._take_over()
        try:
            self._keep()
        finally:
            self._stop_services()
            write_state(self._home.state_file, KeeperState(ports=self._state.ports))

    def _on_signal(self, _signum: int, _frame: object) -> None:
        self._told_to_stop = True

    def _take_over(self) -> None:
        """End what a killed keeper has left running, and forget what it was asked for."""
        before = read_state(self._home.state_file)
        left = [
            (ProcessId(service.pid, service.start), service.stop_signal)
            for service in before.services.values()
            if service.pid and service.start
        ]
        for process, signum in left:
            process.send(signum)
        deadline = time.monotonic() + _LEFTOVER_GRACE_S
        for process, _ in left:
            while process.alive and time.monotonic() < deadline:
                time.sleep(_BUSY_TICK_S)
            process.kill_group()
        for stale in self._home.requests.iterdir():
            stale.unlink(missing_ok=True)
        self._state = KeeperState(keeper_pid=os.getpid(), ports=before.ports)
        write_state(self._home.state_file, self._state)

    def _keep(self) -> None:
        last_news = time.monotonic()
        while not self._told_to_stop:
            accepted = self._accept_requests()
            ready = self._ready_names()
            for service in self._services.values():
                service.advance(time.monotonic(), ready=ready)
            if self._tell(accepted) or self._is_starting():
                last_news = time.monotonic()
            if self._nobody_is_left():
                return
            busy = time.monotonic() - last_news < _BUSY_FOR_S
            time.sleep(_BUSY_TICK_S if busy else _IDLE_TICK_S)

    def _accept_requests(self) -> tuple[str, ...]:
        accepted: list[str] = []
        for request in take_requests(self._home.requests):
            wanted = [(name, None) for name in request.names]
            for name, spec in (*wanted, *((spec.name, spec) for spec in request.extra)):
                try:
                    self._want(name, spec)
                    self._refused.pop(name, None)
                except StackStartFailed as refusal:
                    self._refuse(name, refusal.message, refusal.hint)
                except OSError as exc:
                    _log.exception("%s can't be prepared", name)
                    message = f"The service {name} can't be prepared: {exc.strerror}."
                    self._refuse(name, message, f"It was about {exc.filename or self._home.path}.")
            accepted.append(request.id)
        return tuple(accepted)

    def _refuse(self, name: str, message: str, hint: str) -> None:
        failure = Failure(message, hint)
        self._refused[name] = ServiceState(ServiceStatus.FAILED, failure=failure)

    def _want(self, name: str, spec: ServiceSpec | None) -> None:
        """Have a service run; one that runs already stays as it is, whatever its spec says."""
        if name in self._services:
            self._services[name].retry()
            return
        if spec is not None:
            self._add(Recipe(spec, port=spec.port))
        elif name == POSTGRES:
            self._add(self._postgres_recipe())
        elif name == PREFECT:
            self._want(POSTGRES, None)
            self._add(self._prefect_recipe())
        else:
            _log.error("asked for a service %s that this version doesn't know", name)

    def _add(self, recipe: Recipe) -> None:
        name = recipe.spec.name
        self._services[name] = Supervised(
            recipe, log=self._home.log_of(name), environ=self._environ
        )
        if recipe.port is not None:
            ports = {**self._state.ports, name: recipe.port}
            self._state = replace(self._state, ports=ports)

    def _postgres_recipe(self) -> Recipe:
        cluster = Cluster(self._home, find_programs(self._home))
        cluster.end_leftovers()  # now, so that the port which they hold is free again
        port = self._choose_port(POSTGRES)
        provisioned = False

        def is_ready(pid: int) -> bool:
            nonlocal provisioned
            if not cluster.accepts_connections(pid):
                return False
            if not provisioned:
                cluster.provision(port)
                provisioned = True
            return True

        spec = ServiceSpec(
            name=POSTGRES,
            argv=cluster.server_argv(port),
            env={"PATH": os.defpath, "LC_ALL": "C"},
            # Recovery after a crash may take its time.
            start_timeout_s=300,
            # "Fast" shutdown: open transactions are rolled back, connections closed.
            stop_signal=signal.SIGINT,
            stop_grace_s=60,
        )
        return Recipe(
            spec,
            port=port,
            account=cluster.programs.account,
            bare_environ=True,
            prepare=cluster.prepare,
            is_ready=is_ready,
        )

    def _prefect_recipe(self) -> Recipe:
        port = self._choose_port(PREFECT)
        cluster = Cluster(self._home, find_programs(self._home))
        spec = build_prefect_spec(
            self._home,
            port=port,
            database_port=self._state.ports[POSTGRES],
            database_password=cluster.password(PREFECT_ROLE),
        )
        return Recipe(spec, port=port)

    def _choose_port(self, name: str) -> int:
        others = frozenset(port for other, port in self._state.ports.items() if other != name)
        return choose_port(preferred=self._state.ports.get(name), taken=others)

    def _ready_names(self) -> set[str]:
        return {
            name
            for name, service in self._services.items()
            if service.state.status is ServiceStatus.READY
        }

    def _is_starting(self) -> bool:
        moving = {ServiceStatus.WAITING, ServiceStatus.STARTING, ServiceStatus.PAUSING}
        return any(service.state.status in moving for service in self._services.values())

    def _tell(self, accepted: tuple[str, ...]) -> bool:
        """Write the state if it has changed, and say whether it has."""
        fresh = replace(
            self._state,
            accepted=(*self._state.accepted, *accepted)[-_ACCEPTED_KEPT:],
            services=self._refused | {n: service.state for n, service in self._services.items()},
        )
        if fresh == self._state:
            return False
        try:
            write_state(self._home.state_file, fresh)
        except OSError:
            # A full disk is no reason to stop a database: it is told again at the next tick.
            _log.exception("the state can't be written")
            return False
        self._state = fresh
        return True

    def _nobody_is_left(self) -> bool:
        """Tell whether to stop; from then on nobody can come in until we have ended.

        A user takes the users' lock first and asks for the start lock next. So with both in our
        hands nobody is between the two, and who comes now waits at the start lock, which we
        keep to our end.
        """
        if not self._users.try_acquire():
            return False
        try:
            return self._start.try_acquire()
        finally:
            self._users.release()

    def _stop_services(self) -> None:
        """Stop each service after those that need it."""
        left = dict(self._services)
        while left:
            now = time.monotonic()
            specs = [service.spec for service in left.values()]
            needed = {name for spec in specs for name in (*spec.after, *spec.uses)}
            for name, service in list(left.items()):
                if name not in needed or not service.running:
                    service.begin_stop(now)
                    if service.check_stopped(now):
                        del left[name]
            time.sleep(_BUSY_TICK_S if left else 0)


def main(path: str) -> int:
    """Be the keeper of a home; end at once if it has one."""
    home = Home(Path(path))
    os.chdir("/")
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    with FileLock(home.keeper_lock) as lock:
        if not lock.acquire(timeout_s=_LOCK_WAIT_S):
            return 0
        check_home(home)
        _log.info("keeper of %s started as pid %d", home.path, os.getpid())
        Keeper(home).run()
        _log.info("keeper ended")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
