"""One installation as a command uses it: its settings, its database, its services."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from deployments.embedded.errors import StackStartFailed
from deployments.embedded.prefect_server import ZONES_FROM_PACKAGE
from deployments.embedded.specs import POSTGRES, PREFECT, ServiceSpec
from deployments.embedded.stack import EmbeddedStack, open_stack
from deployments.settings import Settings, as_environ
from deployments.wiring import open_database_of, owner_url, role_urls, without_owner
from persistence.schema_version import check_migrated, is_migrated
from persistence.sessions import Database

_LOG = logging.getLogger("tenantry.installation")
WORKER = "worker"
STEWARD = "steward"
API = "api"
# What `api.service` gives the answers that are under way, and some more.
_API_STOP_S = 20

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Installation:
    """What a command works on, for as long as its `with` block lasts."""

    settings: Settings
    database: Database
    stack: EmbeddedStack


@contextmanager
def open_installation(settings: Settings, *, services: bool, say: Say) -> Generator[Installation]:
    """Open the installation that the settings describe; start the embedded parts that it needs.

    Where nobody has set a database of their own, PostgreSQL is started here and the tables are
    brought up to date; leaving the block stops what nobody else uses.

    Args:
        services: also Prefect, a worker and the steward. With a database of your own, worker
            and steward are yours to run.
        say: gets short texts for people while something takes time.

    Raises:
        StackStartFailed: a part cannot be started.
        DatabaseNotMigrated: your own database needs `tenantry migrate`.
    """
    embedded = settings.database_url is None and settings.database_app_url is None
    wanted = (POSTGRES, PREFECT) if services else (POSTGRES,)
    if not embedded:
        wanted = wanted[1:]
    with open_stack(settings, wanted, on_progress=say) as stack:
        found = stack.settings
        if found.audit_key is None and embedded:
            found = found.model_copy(update={"audit_key": SecretStr(stack.secret("audit"))})
        if embedded:
            _migrate(found, always=services)
        database = open_database_of(found)
        try:
            if not embedded:
                check_migrated(database)
            if services and embedded:
                stack.ensure(extra=[service_spec(WORKER, found), service_spec(STEWARD, found)])
            yield Installation(found, database, stack)
        finally:
            database.close()


def _migrate(settings: Settings, *, always: bool) -> None:
    """Bring the embedded database up to date, in a process of its own; commands stay light.

    Args:
        always: also where nothing is behind, for what is done after all migrations.

    Raises:
        StackStartFailed: it could not be done.
    """
    owner = owner_url(settings)
    if not always and is_migrated(owner):
        return
    app, platform = role_urls(settings)
    urls = {"owner": owner, "app": app, "platform": platform}
    shown = {name: url.render_as_string(hide_password=False) for name, url in urls.items()}
    ended = subprocess.run(
        [sys.executable, "-m", "persistence.migrate_child"],
        input=json.dumps(shown),
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode == 0:
        return
    if ended.stdout:
        error = json.loads(ended.stdout)
        raise StackStartFailed(str(error["message"]), hint=str(error["hint"]))
    _LOG.error("migrating failed: %s", ended.stderr)
    raise StackStartFailed(
        "The embedded database could not be brought up to date.",
        hint="The log says why; start again, or report it.",
    )


def service_spec(name: str, settings: Settings) -> ServiceSpec:
    """Describe one of our own services to the keeper. It waits for Prefect by itself."""
    return ServiceSpec(
        name=name,
        argv=(sys.executable, "-m", f"deployments.{name}"),
        env={**as_environ(settings), **prefect_client_environ(settings)},
        # It waits for both by itself: its own start takes as long as theirs.
        uses=(POSTGRES, PREFECT),
        stop_grace_s=settings.drain_grace_s + 15,
    )


def api_argv() -> tuple[str, ...]:
    """Say how the API is started: that floor is above this one, and not imported here."""
    return (sys.executable, "-m", "api.service")


def api_url(settings: Settings) -> str:
    """Give the address at which the API is reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.api_host, settings.api_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.api_port}"


def api_spec(settings: Settings) -> ServiceSpec:
    """Describe the API to the keeper."""
    return ServiceSpec(
        name=API,
        argv=api_argv(),
        env=as_environ(without_owner(settings)),
        after=(POSTGRES,),
        port=settings.api_port,
        ready_url=f"{api_url(settings)}/ready",
        stop_grace_s=_API_STOP_S,
    )


def prefect_client_environ(settings: Settings) -> dict[str, str]:
    """Give the settings of Prefect's client that our processes run with."""
    return {
        "PREFECT_HOME": str(settings.home / "prefect"),
        # Never fall back to a server in the own process, with rows that nobody sees.
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        # A token per client and run, which a server on 127.0.0.1 does not ask for.
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        **ZONES_FROM_PACKAGE,
        "DO_NOT_TRACK": "1",
    }
