"""`tenantry up`: start everything on this machine, until somebody stops it."""

import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import FrameType

from pydantic import SecretStr
from rich.text import Text
from sqlalchemy import make_url

from deployments.catalogue import write_catalogue
from deployments.cli.invocation import BAD_RESULT, DONE, CommandInvalid, Invocation, Invoked
from deployments.cli.opening import ensure_org, find_prefect_ui
from deployments.cli.own_database import check_database_urls
from deployments.cli.screen import Progress, answers, clean, make_facts, remarks, show_json
from deployments.embedded.layout import Home
from deployments.embedded.ports import choose_port
from deployments.embedded.state import Failure, read_state
from deployments.installation import (
    API,
    Installation,
    api_spec,
    api_url,
    open_installation,
)
from deployments.settings import Settings
from persistence.organizations import OrganizationNotFound

_WATCH_S = 1.0


class _Stopped(BaseException):
    """Somebody asks us to stop. Like KeyboardInterrupt no error, and never caught as one."""


def up(*, call: Invoked) -> int:
    """Start the database, Prefect, a worker, the steward and the API; stay until Ctrl-C.

    With a database of your own (TENANTRY_DATABASE_URL) worker, steward and API are yours to run.
    """
    if not call.is_embedded and call.settings.prefect_api_url is not None:
        raise CommandInvalid(
            "There is nothing to start here: database and Prefect are your own.",
            hint="Run `tenantry worker`, `tenantry steward` and `tenantry api`.",
        )
    check_database_urls(call.settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        failures = _serve(call)
    except _Stopped:
        remarks().print("Stopped.")
        return DONE
    if not failures:
        remarks().print("Stopped.")
        return DONE
    for name, failure in failures.items():
        _show_failure(name, failure)
    return BAD_RESULT


def _serve(call: Invocation) -> Mapping[str, Failure]:
    """Serve until a signal comes, or services fail for good; return those."""
    with ExitStack() as stack:
        with Progress("Starting PostgreSQL", show_after_s=0) as progress:
            installation = stack.enter_context(
                open_installation(call.settings, services=True, say=_say_nothing)
            )
            _ensure_newcomer(call, installation)
            served = _start_api(installation) if call.is_embedded else None
            progress.say("Starting Prefect and the services, which takes some fifteen seconds")
            installation.stack.wait_ready()
        _show_addresses(call, installation, api=served)
        failures: Mapping[str, Failure] = {}
        try:
            while not failures:
                time.sleep(_WATCH_S)
                failures = installation.stack.failures()
        except _Stopped:
            pass
        # A second signal raises in here: then the keeper stops everything without us.
        with Progress("Stopping: runs that are under way may finish", show_after_s=0):
            stack.close()
    return failures


def _say_nothing(_text: str) -> None:
    """Leave out the names of single services: all of them start at the same time."""


def _ensure_newcomer(call: Invocation, installation: Installation) -> None:
    try:
        ensure_org(call, installation.database)
    except OrganizationNotFound:
        # Another one than the newcomer's: it can be made while we are up.
        return


def _start_api(installation: Installation) -> str:
    """Have the API run; return its address."""
    found = installation.settings
    write_catalogue(found)
    settings = found.model_copy(update={"api_port": _choose_api_port(found)})
    installation.stack.ensure(extra=[api_spec(settings)])
    return f"{api_url(settings)}/api/v1"


def _choose_api_port(settings: Settings) -> int:
    # Where another `up` is at work its API stays as it is, and serves us too.
    state = read_state(Home(settings.home).state_file)
    running = state.services.get(API)
    if running is not None and running.port is not None:
        return running.port
    others = frozenset(port for name, port in state.ports.items() if name != API)
    return choose_port(preferred=settings.api_port, taken=others)


def _show_addresses(call: Invocation, installation: Installation, *, api: str | None) -> None:
    found = installation.settings
    ui = find_prefect_ui(found)
    home = Home(found.home)
    database = _database_address(found.database_url or found.database_app_url)
    if call.as_json:
        show_json(
            {
                "database": database,
                "api": api,
                "prefect_ui": ui,
                "home": str(home.path),
                "logs": str(home.logs),
            }
        )
        return
    console = answers()
    console.print(Text.assemble(("✓ ", "green"), ("Tenantry is up.", "bold")))
    console.print(
        make_facts(
            ("  API", api),
            ("  PostgreSQL", database),
            ("  Prefect", ui),
            ("  Home", str(home.path)),
            ("  Logs", str(home.logs)),
        )
    )
    if not call.is_embedded:
        console.print(
            "  Worker, steward and API are yours: `tenantry worker`, `tenantry steward`, "
            "`tenantry api`."
        )
    console.print("  Ctrl-C stops it. In another terminal: `tenantry workflows list`")
    if api is not None:
        console.print("  A token for the API: `tenantry tokens create --name laptop`")


def _database_address(url: SecretStr | None) -> str:
    if url is None:
        return ""
    parsed = make_url(url.get_secret_value())
    return f"{parsed.host}:{parsed.port or 5432}, database {parsed.database}"


def _show_failure(name: str, failure: Failure) -> None:
    console = remarks()
    console.print(Text.assemble(("✗ ", "bold red"), f"The service {name} has failed for good."))
    console.print(f"  {clean(failure.message)}")
    console.print(Text.assemble(("  → ", "green"), clean(failure.hint)))


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _Stopped
