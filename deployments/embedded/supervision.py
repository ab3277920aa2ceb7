"""Run one service: start it, see it get ready, restart it when it dies, stop it."""

import http.client
import logging
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from deployments.embedded.errors import StackStartFailed
from deployments.embedded.processes import end_with_parent, identify
from deployments.embedded.programs import Account
from deployments.embedded.specs import ServiceSpec
from deployments.embedded.state import Failure, ServiceState, ServiceStatus

_log = logging.getLogger(__name__)

# Seconds between a death and the next start, by how many deaths the last minute saw. After
# more deaths than that, or three starts in a row that never got ready, it has failed.
_PAUSES_S = (0.1, 0.5, 1.0, 2.0, 4.0)
_DEATHS_WINDOW_S = 60.0
_VAIN_STARTS_LIMIT = 3
_HTTP_TIMEOUT_S = 1.0
_READY_CHECK_S = 0.1
_KILL_WAIT_S = 5.0
_LOG_LIMIT_BYTES = 20 * 1024 * 1024


def _nothing() -> None: ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """A service with what only our own ones need."""

    spec: ServiceSpec
    port: int | None = None
    account: Account | None = None
    prepare: Callable[[], None] = _nothing
    """Called before each start; may raise `StackStartFailed`, which ends all attempts."""
    bare_environ: bool = False
    """Give it the spec's environment only: what we inherited may hold secrets, and whatever
    runs as the service's user can read them."""
    is_ready: Callable[[int], bool] | None = None
    """Replaces the spec's own way to tell; gets the pid; may raise `StackStartFailed`."""


class Supervised:
    """One service under the keeper. Nothing in here waits, except `prepare` and `is_ready`."""

    def __init__(self, recipe: Recipe, *, log: Path | None, environ: Mapping[str, str]) -> None:
        """Prepare to run a service.

        Args:
            log: what its output is added to; `None`: it goes where ours goes.
        """
        self.recipe = recipe
        self.state = ServiceState(
            status=ServiceStatus.WAITING, port=recipe.port, stop_signal=recipe.spec.stop_signal
        )
        self._log = log
        self._environ = {**({} if recipe.bare_environ else environ), **recipe.spec.env}
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._began = self._next_check = self._resume_at = self._stop_began = 0.0
        self._deaths: deque[float] = deque()
        self._vain_starts = 0

    @property
    def spec(self) -> ServiceSpec:
        """What the service was described as."""
        return self.recipe.spec

    @property
    def running(self) -> bool:
        """Whether it has a process."""
        return self._process is not None

    def retry(self) -> None:
        """Begin anew after a failure or an end; otherwise change nothing."""
        if self.state.status in {ServiceStatus.FAILED, ServiceStatus.ENDED}:
            self._deaths.clear()
            self._vain_starts = 0
            self._become(ServiceStatus.WAITING, failure=None, exit_code=None)

    def advance(self, now: float, *, ready: Collection[str]) -> None:
        """Do what is due: start, look whether it is ready, notice that it died."""
        try:
            if self._is_due(now, ready):
                self._start(now)
            elif self._process is not None and self._process.poll() is not None:
                self._note_death(now)
            elif self.state.status is ServiceStatus.STARTING:
                self._check_ready(now)
        except StackStartFailed as failed:
            self._kill()
            self._fail(failed)
        except (OSError, subprocess.SubprocessError) as exc:
            self._kill()
            self._fail(describe_os_error(self.spec, exc))

    def _is_due(self, now: float, ready: Collection[str]) -> bool:
        if self.state.status is ServiceStatus.PAUSING:
            return now >= self._resume_at
        needs = self.spec.after
        return self.state.status is ServiceStatus.WAITING and all(name in ready for name in needs)

    def begin_stop(self, now: float) -> None:
        """Ask the service to end; again and again is the same as once."""
        if self._process is not None and not self._stop_began:
            self._stop_began = now
            self._process.send_signal(self.spec.stop_signal)

    def check_stopped(self, now: float) -> bool:
        """Tell whether it has ended; kill it when its time is over."""
        if self._process is None:
            return True
        if self._process.poll() is None:
            if now - self._stop_began < self.spec.stop_grace_s:
                return False
            _log.warning("%s did not stop in time and is killed", self.spec.name)
        self._kill()
        return True

    def _start(self, now: float) -> None:
        self.recipe.prepare()
        self._roll_log()
        account = self.recipe.account
        with self._open_log() as log:
            self._log_start = log.tell() if log else 0
            self._process = subprocess.Popen(
                self.spec.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.spec.cwd,
                env=self._environ,
                # A group of its own, so that what it starts can be ended with it.
                process_group=0,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                preexec_fn=end_with_parent(self.spec.stop_signal),
            )
        self._began = self._next_check = now
        named = identify(self._process.pid)
        _log.info("%s started as pid %d", self.spec.name, named.pid)
        self._become(
            ServiceStatus.STARTING,
            pid=named.pid,
            start=named.start,
            starts=self.state.starts + 1,
        )

    def _check_ready(self, now: float) -> None:
        if now < self._next_check or self._process is None:
            return
        if self._answers(now):
            _log.info("%s ready after %.1f s", self.spec.name, time.monotonic() - self._began)
            self._vain_starts = 0
            self._become(ServiceStatus.READY)
        elif now - self._began > self.spec.start_timeout_s:
            _log.warning("%s did not get ready in time and is killed", self.spec.name)
            self._kill()
            self._note_death(now)
        self._next_check = time.monotonic() + _READY_CHECK_S

    def _answers(self, now: float) -> bool:
        if self.recipe.is_ready and self._process:
            return self.recipe.is_ready(self._process.pid)
        if self.spec.ready_url is None:
            return now - self._began >= self.spec.ready_after_s
        return answers_ok(self.spec.ready_url)

    def _note_death(self, now: float) -> None:
        code = self._process.returncode if self._process else None
        was_ready = self.state.status is ServiceStatus.READY
        self._kill()
        _log.warning("%s ended with %s", self.spec.name, code)
        if not self.spec.restart:
            self._become(ServiceStatus.ENDED, pid=None, start=None, exit_code=code)
            return
        self._vain_starts = 0 if was_ready else self._vain_starts + 1
        self._deaths.append(now)
        while self._deaths[0] < now - _DEATHS_WINDOW_S:
            self._deaths.popleft()
        if self._vain_starts >= _VAIN_STARTS_LIMIT or len(self._deaths) > len(_PAUSES_S):
            what = "died too often" if was_ready else "could not be started"
            message = f"The service {self.spec.name} {what}; it ended with {describe_end(code)}."
            self._fail(self._explain(message))
            return
        self._resume_at = now + _PAUSES_S[len(self._deaths) - 1]
        self._become(ServiceStatus.PAUSING, pid=None, start=None)

    def _explain(self, message: str) -> StackStartFailed:
        if self._log is None:
            return StackStartFailed(message, hint="What it wrote before its end says why.")
        return StackStartFailed.with_log(message, self._log, since=self._log_start)

    def _fail(self, failed: StackStartFailed) -> None:
        _log.error("%s failed: %s %s", self.spec.name, failed.message, failed.hint)
        failure = Failure(failed.message, failed.hint)
        self._become(ServiceStatus.FAILED, pid=None, start=None, failure=failure)

    def _kill(self) -> None:
        """End the process, if it still runs, and what it has left behind in its group."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_KILL_WAIT_S)
            self._process = None

    def _open_log(self) -> AbstractContextManager[IO[bytes] | None]:
        return self._log.open("ab") if self._log else nullcontext()

    def _roll_log(self) -> None:
        if self._log is None:
            return
        with suppress(FileNotFoundError):
            if self._log.stat().st_size > _LOG_LIMIT_BYTES:
                self._log.replace(self._log.with_suffix(".log.1"))

    def _become(self, status: ServiceStatus, **changes: object) -> None:
        self.state = replace(self.state, status=status, **changes)  # type: ignore[arg-type]


def answers_ok(url: str) -> bool:
    """Ask an address of this machine and tell whether it answers 200."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "127.0.0.1", parts.port or 80, timeout=_HTTP_TIMEOUT_S
    )
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False  # not listening yet, or too busy to answer
    finally:
        connection.close()


def describe_end(code: int | None) -> str:
    """Say how a process ended."""
    if code is None:
        return "no answer in time"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def describe_os_error(spec: ServiceSpec, exc: Exception) -> StackStartFailed:
    """Say in words that the system refused something that a start needs."""
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    place = exc.filename if isinstance(exc, OSError) and exc.filename else spec.argv[0]
    return StackStartFailed(
        f"The service {spec.name} can't be started: {reason}.", hint=f"It was about {place}."
    )
