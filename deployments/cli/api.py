"""`tenantry api`: serve the REST API as a service of its own."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from types import FrameType

from rich.text import Text

from deployments.catalogue import write_catalogue
from deployments.cli.invocation import BAD_RESULT, DONE, CommandInvalid, Invocation, Invoked
from deployments.cli.opening import ensure_org, open_quietly
from deployments.cli.own_database import check_database_urls
from deployments.cli.screen import answers, show_json
from deployments.embedded.ports import choose_port
from deployments.embedded.processes import end_with_parent
from deployments.installation import api_argv, api_url
from deployments.settings import PREFIX, Settings, as_environ
from deployments.wiring import open_database_of, without_owner
from persistence.organizations import OrganizationNotFound
from persistence.schema_version import check_migrated


def api(*, call: Invoked) -> int:
    """Serve the REST API until it is stopped; on a machine of one's own `tenantry up` does.

    With a database of your own it needs TENANTRY_DATABASE_URL (or the two roles' URLs) and
    TENANTRY_AUDIT_KEY, and `tenantry migrate` before it. It never calls Prefect.
    """
    if not call.is_embedded:
        return _serve_own(call)
    _check_port(call.settings)
    with open_quietly(call) as installation:
        # Another one than the newcomer's can be made while we serve.
        with suppress(OrganizationNotFound):
            ensure_org(call, installation.database)
        write_catalogue(installation.settings)
        _say_address(call)
        return _run(installation.settings)


def _serve_own(call: Invocation) -> int:
    check_database_urls(call.settings)
    database = open_database_of(call.settings)
    try:
        check_migrated(database)
    finally:
        database.close()
    _say_address(call)
    sys.stdout.flush()
    # In our place: a service manager's signals reach it, and nothing of us stays in memory.
    os.execve(sys.executable, api_argv(), _environ(call.settings))


def _check_port(settings: Settings) -> None:
    port = settings.api_port
    if settings.api_host == "127.0.0.1" and choose_port(preferred=port) != port:
        raise CommandInvalid(
            f"Port {port} on 127.0.0.1 is taken.",
            hint="Set TENANTRY_API_PORT to another one; or is `tenantry up` serving already?",
        )


def _say_address(call: Invocation) -> None:
    address = f"{api_url(call.settings)}/api/v1"
    if call.as_json:
        show_json({"api": address})
        return
    answers().print(Text.assemble("The API is at ", (address, "bold"), ". Ctrl-C stops it."))
    answers().print("  A token for it: `tenantry tokens create --name laptop`")


def _run(settings: Settings) -> int:
    """Run it as a child, while this process keeps the database up."""
    with subprocess.Popen(
        api_argv(), env=_environ(settings), preexec_fn=end_with_parent(signal.SIGTERM)
    ) as service:

        def stop(_number: int, _frame: FrameType | None) -> None:
            # Ctrl-C reaches it too; to be asked twice changes nothing.
            service.terminate()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        return DONE if service.wait() == 0 else BAD_RESULT


def _environ(settings: Settings) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**inherited, **as_environ(without_owner(settings))}
