"""Use the keeper of a home: have one run, ask it for services, and leave it."""

import os
import signal
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from deployments.embedded.errors import StackBusy, StackStartFailed
from deployments.embedded.layout import Home
from deployments.embedded.locks import FileLock, is_held
from deployments.embedded.ownership import check_home
from deployments.embedded.programs import check_reachable
from deployments.embedded.specs import BUILT_IN, ServiceRequest, ServiceSpec, post_request
from deployments.embedded.state import KeeperState, ServiceState, read_state

_POLL_S = 0.01
# A keeper that ends gives PostgreSQL up to a minute to write everything down.
_ENDING_S = 75.0
_ACCEPT_S = 60.0
_KEEPERS_TRIED = 3
# Failed tries, each a poll apart, to get the users' lock alone: then somebody else uses it. One
# is not enough, as the keeper itself takes that lock for a moment now and then.
_OTHERS_SEEN = 5
_ROOT = Path(__file__).resolve().parents[2]


class KeeperClient:
    """One user of a home. While it is open, the home's keeper and its services stay."""

    def __init__(self, home: Home, *, on_progress: Callable[[str], None]) -> None:
        self._home = home
        self._say = on_progress
        self._use = FileLock(home.users_lock)
        self._started: list[int] = []

    def open(self) -> None:
        """Become a user. It starts nothing yet.

        Raises:
            StackStartFailed: PostgreSQL's account or nobody can use the home, or it is not the
                caller's own.
            StackBusy: a keeper is deciding to end and doesn't get done with it.
        """
        try:
            self._home.make_folders()
        except OSError as exc:
            raise StackStartFailed(
                f"The folder {self._home.path} can't be used: {exc.strerror}.",
                hint="Choose another one: export TENANTRY_HOME=<a folder that you may write to>",
            ) from exc
        check_home(self._home)
        check_reachable(self._home.path)
        if not self._use.acquire(shared=True, timeout_s=_ENDING_S):
            self._give_up_busy()

    def ask(self, names: Sequence[str], extra: Sequence[ServiceSpec] = ()) -> KeeperState:
        """Have services run, in a keeper that is started if there is none.

        Returns once the keeper has taken the services over, which doesn't mean that they are
        ready. Asking again for what runs changes nothing; what has failed is tried again.

        Raises:
            StackStartFailed: no keeper can be started.
            StackBusy: the keeper doesn't answer.
        """
        unknown = set(names).difference(BUILT_IN)
        if unknown:
            raise ValueError(f"no built-in services: {sorted(unknown)}")
        request = ServiceRequest.of(names, extra)
        for _ in range(_KEEPERS_TRIED):
            self._have_keeper()
            state = self._hand_over(request)
            if state is not None:
                return state
        raise StackStartFailed.with_log(
            "The process that keeps the embedded stack ends again and again.", self._keeper_log
        )

    def state(self) -> KeeperState | None:
        """Return what the keeper says now; `None` when there is no keeper."""
        return read_state(self._home.state_file) if is_held(self._home.keeper_lock) else None

    def service(self, name: str) -> ServiceState | None:
        """Return what the keeper says about one service; `None` when there is no keeper.

        Raises:
            StackStartFailed: the keeper has never heard of it.
        """
        state = self.state()
        if state is None:
            return None
        if name not in state.services:
            raise StackStartFailed(
                f"The running stack has no service {name}.",
                hint="It was started by another version or has been restarted: end all tenantry "
                "commands, then try again.",
            )
        return state.services[name]

    def close(self) -> None:
        """Stop being a user; as the last one, wait until everything has ended.

        So when a command has returned, nothing of it is left. The wait has a limit; the keeper
        goes on ending without us.
        """
        if not self._use.held:
            return
        self._use.release()
        deadline = time.monotonic() + _ENDING_S
        others_seen = 0
        while is_held(self._home.keeper_lock) and time.monotonic() < deadline:
            with FileLock(self._home.users_lock) as alone:
                others_seen = 0 if alone.try_acquire() else others_seen + 1
            if others_seen >= _OTHERS_SEEN:
                return
            time.sleep(_POLL_S)
        # One that has let go of its lock has nothing left to do but to exit.
        self._reap(os.WNOHANG if is_held(self._home.keeper_lock) else 0)

    @property
    def _keeper_log(self) -> Path:
        return self._home.log_of("keeper")

    def _have_keeper(self) -> None:
        with FileLock(self._home.start_lock) as start:
            if not start.try_acquire():
                self._say("Waiting for another tenantry process to start or stop")
                if not start.acquire(timeout_s=_ENDING_S):
                    self._give_up_busy()
            if not is_held(self._home.keeper_lock):
                self._start_keeper()

    def _start_keeper(self) -> None:
        log = os.open(self._keeper_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        log_start = os.fstat(log).st_size
        try:
            # Not `subprocess`: the keeper outlives us, and a Popen object complains about that.
            pid = os.posix_spawn(
                sys.executable,
                [
                    *(sys.executable, "-P", "-m", "deployments.embedded.keeper"),
                    str(self._home.path),
                ],
                _keeper_environ(),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setsid=True,  # Ctrl-C in our terminal is not meant for it
                setsigmask=[],
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD],
            )
        finally:
            os.close(log)
        self._started.append(pid)
        deadline = time.monotonic() + _ACCEPT_S
        while read_state(self._home.state_file).keeper_pid != pid:
            if time.monotonic() > deadline or pid not in self._reap(os.WNOHANG):
                raise StackStartFailed.with_log(
                    "The process that keeps the embedded stack could not be started.",
                    self._keeper_log,
                    since=log_start,
                )
            time.sleep(_POLL_S)

    def _hand_over(self, request: ServiceRequest) -> KeeperState | None:
        """Give the keeper a request; `None` if it ended before it took it."""
        file = request.path_in(self._home.requests)
        deadline = time.monotonic() + _ACCEPT_S
        try:
            while (state := self.state()) is not None:
                if request.id in state.accepted:
                    return state
                if time.monotonic() > deadline:
                    self._give_up_busy()
                # Also again: a keeper that takes over throws away what it finds.
                if not file.exists():
                    post_request(self._home.requests, request)
                time.sleep(_POLL_S)
        finally:
            file.unlink(missing_ok=True)
        return None

    def _reap(self, options: int) -> list[int]:
        """Take note of keepers of ours that have ended; return those that have not."""
        for pid in list(self._started):
            with suppress(ChildProcessError):  # somebody else in this process has done it
                if os.waitpid(pid, options) == (0, 0):
                    continue
            self._started.remove(pid)
        return self._started

    def _give_up_busy(self) -> NoReturn:
        raise StackBusy(
            f"The embedded stack in {self._home.path} is busy starting or stopping.",
            hint=f"Wait a moment and try again. If it stays so, look into {self._keeper_log}.",
        )


def _keeper_environ() -> dict[str, str]:
    """Return our environment, in which the keeper finds the code that we run ourselves."""
    environ = dict(os.environ)
    if str(_ROOT) != sysconfig.get_path("purelib"):
        above = [str(_ROOT), *environ.get("PYTHONPATH", "").split(os.pathsep)]
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, above))
    return environ
