"""The embedded stack as a command uses it: `with open_stack(settings) as stack: …`."""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from deployments.embedded.cluster import (
    DATABASE,
    OWNER_ROLE,
    PREFECT_DATABASE,
    PREFECT_ROLE,
    SUPERUSER,
    find_password,
)
from deployments.embedded.errors import StackStartFailed
from deployments.embedded.files import read_or_make_secret
from deployments.embedded.keeper_client import KeeperClient
from deployments.embedded.layout import Home
from deployments.embedded.ownership import check_home
from deployments.embedded.prefect_server import api_url
from deployments.embedded.specs import POSTGRES, PREFECT, ServiceSpec
from deployments.embedded.state import Failure, KeeperState, ServiceState, ServiceStatus
from deployments.settings import Settings

_POLL_S = 0.02
_POSTGRES_READY_S = 330.0
_PROGRESS = {
    POSTGRES: "Starting PostgreSQL",
    PREFECT: "Starting Prefect's server, which takes some ten seconds",
}

Say = Callable[[str], None]


def _say_nothing(_text: str) -> None: ...


def open_stack(
    settings: Settings, services: Sequence[str] = (POSTGRES,), *, on_progress: Say = _say_nothing
) -> "EmbeddedStack":
    """Prepare the use of the embedded stack; it begins with the `with` block.

    Args:
        services: `postgres`, `prefect`. What the settings say you have yourself
            (TENANTRY_DATABASE_URL, PREFECT_API_URL) is not started.
        on_progress: gets short texts for people while something takes time.
    """
    return EmbeddedStack(settings, services, on_progress=on_progress)


class EmbeddedStack:
    """The services that this process uses, for as long as its `with` block lasts.

    Leaving the block gives them up; when no other process uses the home, they are stopped then.
    """

    def __init__(self, settings: Settings, services: Sequence[str], *, on_progress: Say) -> None:
        self._settings, self._say = settings, on_progress
        self._first = tuple(services)
        self._home = Home(settings.home)
        self._client: KeeperClient | None = None
        self._names: dict[str, None] = {}  # in the order in which they were asked for
        self._extra: dict[str, ServiceSpec] = {}
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Start what is wanted.

        Raises:
            StackStartFailed: a service can't be started.
            StackBusy: another process starts or stops the stack and doesn't get done with it.
        """
        try:
            self.ensure(*self._first)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ensure(
        self,
        *services: str,
        extra: Sequence[ServiceSpec] = (),
        on_progress: Say | None = None,
    ) -> None:
        """Have more services run, in the stack that runs already.

        It returns when PostgreSQL is ready (if it is ours) and all ports are known; for the rest
        use `wait_ready`. A service that runs already stays as it is. Without arguments it
        repairs: it tries again what has failed, and starts all anew if the keeper was killed.

        Raises:
            StackStartFailed: a service can't be started.
            StackBusy: the keeper doesn't answer.
        """
        self._say = on_progress or self._say
        for name in services:
            if self._is_embedded(name):
                # Prefect's own tables always lie in the embedded PostgreSQL.
                self._names.update(dict.fromkeys((POSTGRES, name)))
        self._extra.update({spec.name: spec for spec in extra})
        if not self._names and not self._extra:
            return
        self._ask()
        if POSTGRES in self._names:
            self._wait([POSTGRES], timeout_s=_POSTGRES_READY_S)

    def wait_ready(self, timeout_s: float = 240) -> None:
        """Wait until everything that was asked for is ready.

        Raises:
            StackStartFailed: a service has failed, or isn't ready in time.
        """
        self._wait([*self._names, *self._extra], timeout_s=timeout_s)

    def failures(self) -> dict[str, Failure]:
        """Tell which services have failed for good, and why; `ensure()` tries them again."""
        if self._client is None:
            return {}
        wanted = {*self._names, *self._extra}
        state = self._client.state()
        if state is None:
            gone = Failure(
                "The process that keeps the embedded stack has ended.",
                f"Look into {self._home.log_of('keeper')}.",
            )
            return dict.fromkeys(sorted(wanted), gone)
        return {
            name: service.failure
            for name, service in state.services.items()
            if name in wanted and service.failure is not None
        }

    @property
    def database_url(self) -> str:
        """Database of Tenantry, as its owner: your own, or the embedded one."""
        if self._settings.database_url is not None:
            return self._settings.database_url.get_secret_value()
        return self._embedded_url(OWNER_ROLE, DATABASE)

    @property
    def superuser_url(self) -> str:
        """The embedded cluster as its superuser, for tests and repairs."""
        return self._embedded_url(SUPERUSER, SUPERUSER)

    @property
    def prefect_database_url(self) -> str:
        """The embedded Prefect's own database, to look at; never write to it."""
        return self._embedded_url(PREFECT_ROLE, PREFECT_DATABASE)

    @property
    def prefect_api_url(self) -> str:
        """Address of Prefect's API; it may not answer before `wait_ready`."""
        return self._settings.prefect_api_url or api_url(self._port(PREFECT))

    @property
    def prefect_ui_url(self) -> str:
        """Address under which people open Prefect's pages."""
        return self._settings.prefect_ui_url or self.prefect_api_url.removesuffix("/api")

    @property
    def settings(self) -> Settings:
        """The settings with the addresses of what runs filled in, for other processes.

        See `settings.as_environ`. What was not asked for stays as it was.
        """
        found: dict[str, object] = {}
        if POSTGRES in self._ports and self._settings.database_url is None:
            found["database_url"] = SecretStr(self.database_url)
        if PREFECT in self._ports and self._settings.prefect_api_url is None:
            found["prefect_api_url"] = self.prefect_api_url
            found["prefect_ui_url"] = self.prefect_ui_url
        return self._settings.model_copy(update=found)

    def secret(self, name: str) -> str:
        """Return a random secret of this home, the same one at every call (64 hex digits)."""
        self._home.make_folders()
        check_home(self._home)
        return read_or_make_secret(self._home.secrets / name)

    def close(self) -> None:
        """Give the services up; as the last user, wait until they have ended. Safe to repeat."""
        if self._client is not None:
            self._client.close()
            self._client = None
            self._ports = {}

    def _is_embedded(self, name: str) -> bool:
        own = {POSTGRES: self._settings.database_url, PREFECT: self._settings.prefect_api_url}
        if name not in own:
            raise ValueError(f"no built-in service is named {name!r}; describe it in `extra`")
        return own[name] is None

    def _ask(self) -> None:
        if self._client is None:
            client = KeeperClient(self._home, on_progress=self._say)
            client.open()
            self._client = client
        state = self._client.ask(tuple(self._names), tuple(self._extra.values()))
        self._note_ports(state)

    def _note_ports(self, state: KeeperState) -> None:
        for name in self._names:
            service = state.services.get(name)
            if service is not None and service.port is not None:
                self._ports[name] = service.port

    def _wait(self, names: Sequence[str], *, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        said: set[str] = set()
        waiting = list(names)
        while waiting:
            for name in list(waiting):
                service = self._look(name)
                if service.status is ServiceStatus.READY or service.exit_code == 0:
                    waiting.remove(name)
                elif name not in said and service.status is ServiceStatus.STARTING:
                    said.add(name)
                    self._say(_PROGRESS.get(name, f"Starting {name}"))
            if waiting and time.monotonic() > deadline:
                raise StackStartFailed.with_log(
                    f"Not ready after {timeout_s:.0f} seconds: {', '.join(waiting)}.",
                    self._home.log_of(waiting[0]),
                )
            if waiting:
                time.sleep(_POLL_S)

    def _look(self, name: str) -> ServiceState:
        """Return a service that can still get ready.

        Raises:
            StackStartFailed: it can't.
        """
        if self._client is None:
            raise RuntimeError("the stack is not open")
        service = self._client.service(name)
        if service is None:
            # Somebody has killed the keeper: begin again, as often as `ask` allows.
            self._ask()
            service = self._client.service(name)
        if service is None:
            raise StackStartFailed.with_log(
                "The process that keeps the embedded stack has ended.", self._home.log_of("keeper")
            )
        if service.failure is not None:
            raise StackStartFailed(service.failure.message, hint=service.failure.hint)
        if service.status is ServiceStatus.ENDED and service.exit_code != 0:
            message = f"The service {name} ended with {service.exit_code} before it was ready."
            raise StackStartFailed.with_log(message, self._home.log_of(name))
        return service

    def _port(self, name: str) -> int:
        if name not in self._ports:
            raise LookupError(f"{name} was not asked for: call ensure({name!r}) first")
        return self._ports[name]

    def _embedded_url(self, role: str, database: str) -> str:
        password = find_password(self._home, role)
        where = f"127.0.0.1:{self._port(POSTGRES)}/{database}"
        return f"postgresql+psycopg://{role}:{password}@{where}"
