"""The application: its commands, its global options, and how a call ends.

Commands are named as text and imported when they are called: Prefect and pandas take seconds.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter

from deployments.cli.failures import show_error, show_unexpected
from deployments.cli.interrupts import was_interrupted
from deployments.cli.invocation import (
    INTERRUPTED,
    UNEXPECTED,
    WRONG_USE,
    CommandInvalid,
    Invocation,
    make_invocation,
)
from deployments.cli.screen import remarks, show_json
from deployments.settings import load_settings
from domain.errors import ErrorCode, TenantryError

_JSON_FLAG = "--json"
_WORK = Group("Work", sort_key=1)
_KEEP = Group("Data and people", sort_key=2)
_RUN = Group("Services", sort_key=3)

# Name, where it is, what the overview says, its group there.
_COMMANDS = (
    ("run", "running:run", "Run a workflow and show what comes out.", _WORK),
    ("workflows", "workflows:app", "Create, check and look at workflows.", _WORK),
    ("executions", "executions:app", "Look at executions.", _WORK),
    ("schedules", "schedules:app", "Have workflows run by themselves.", _WORK),
    ("demo", "demonstration:demo", "See it work, from nothing to leads.", _WORK),
    ("connectors", "connectors:app", "Say where records are.", _KEEP),
    ("data", "datasets:app", "Load records that Tenantry keeps.", _KEEP),
    ("audit", "audit:app", "Read the audit trail, and check it.", _KEEP),
    ("orgs", "organizations:app", "Create and list organizations.", _KEEP),
    ("limits", "limits:app", "Say how much may run and wait at a time.", _KEEP),
    ("users", "users:app", "Say who is in an organization, and as what.", _KEEP),
    ("tokens", "tokens:app", "Make, list and revoke tokens for the API.", _KEEP),
    ("up", "serving:up", "Start everything on this machine, until Ctrl-C.", _RUN),
    ("pause", "pausing:pause", "Start nothing, for any organization.", _RUN),
    ("resume", "pausing:resume", "Start what waits again.", _RUN),
    ("migrate", "migrating:migrate_tables", "Bring the database up to date.", _RUN),
    ("api", "api:api", "Serve the REST API.", _RUN),
    ("worker", "worker_service:worker", "Run a worker, in production.", _RUN),
    ("steward", "steward_service:steward", "Run the steward, in production.", _RUN),
    ("drift", "drift:drift", "Compare Prefect with our rows, and repair.", _RUN),
    ("bench", "benchmark:bench", "Measure it beside bare Prefect and DBOS.", _RUN),
    ("settings", "environment:settings", "List all settings and what they mean.", _RUN),
)


def main() -> None:
    """Run the command line of this process and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter shows `?`; it is no reason to fail.
        reconfigure: Callable[..., None] | None = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    code = run_command(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_standard_output()
    sys.exit(code)


def run_command(tokens: Sequence[str]) -> int:
    """Run one command and return its exit code; no exception leaves."""
    as_json = _JSON_FLAG in tokens
    try:
        return _dispatch(tokens)
    except CycloptsError as refused:
        # Cyclopts has told people already.
        if as_json:
            _show_usage_error(refused)
        return WRONG_USE
    except KeyboardInterrupt:
        return _say_interrupted()
    except TenantryError as error:
        if was_interrupted(error):
            return _say_interrupted()
        show_error(error, as_json=as_json)
        return WRONG_USE
    except BrokenPipeError:
        # `tenantry … | head` has seen enough.
        _forget_standard_output()
        return 0
    except Exception as error:
        if was_interrupted(error):
            return _say_interrupted()
        show_unexpected(error, home=_find_home(), as_json=as_json)
        return UNEXPECTED


def _say_interrupted() -> int:
    remarks().print("Interrupted.")
    return INTERRUPTED


def _dispatch(tokens: Sequence[str]) -> int:
    for token in tokens:
        if any("\ud800" <= character <= "\udfff" for character in token):
            raise CommandInvalid(
                "An argument is not encoded as UTF-8.",
                hint="Type it again; names of files on old disks may need to be renamed first.",
            )
    app = _make_app()
    code: object = app.meta(
        tokens,
        result_action="return_value",
        exit_on_error=False,
    )
    return code if isinstance(code, int) else 0


def _make_app() -> App:
    app = App(
        name="tenantry",
        help="Run the agent workflows of many organizations on one self-hosted Prefect.\n\n"
        "Start with `tenantry demo`, or with `tenantry workflows create -f FILE`.",
        help_format="plaintext",
        version=lambda: version("tenantry"),
        suppress_keyboard_interrupt=False,
    )
    own_group = Group("Global options", sort_key=9)
    app.register_install_completion_command(  # pyright: ignore[reportUnknownMemberType]
        help="Install completion for your shell: bash, zsh or fish.", group=own_group
    )
    app["--help"].group = app["--version"].group = own_group
    app.meta.group_parameters = own_group
    for name, place, text, group in _COMMANDS:
        path = f"deployments.cli.{place}"
        if path.endswith(":app"):
            app.command(path, name=name, help=text, group=group)
        else:
            # A function would inherit the group of the global options; an app has its own.
            own = Group("Parameters", sort_key=0)
            app.command(path, name=name, help=text, group=group, group_parameters=own)

    @app.meta.default
    def launch(  # pyright: ignore[reportUnusedFunction] - cyclopts calls it
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        org: str | None = None,
        user: str | None = None,
        as_json: Annotated[
            bool, Parameter(name=_JSON_FLAG, negative="", show_default=False)
        ] = False,
    ) -> int:
        """Run a command.

        Args:
            org: Organization to act for; else TENANTRY_ORG.
            user: User to act as, and to name in the audit trail; else TENANTRY_USER.
            as_json: Answer with one JSON document, for programs.
        """
        settings = load_settings(os.environ)
        command, bound, wants = app.parse_args(tokens, exit_on_error=False)
        invocations: dict[str, Invocation] = {}
        if wants:
            invocation = make_invocation(settings, org=org, user=user, as_json=as_json)
            invocations = dict.fromkeys(wants, invocation)
        code: object = command(*bound.args, **bound.kwargs, **invocations)
        return code if isinstance(code, int) else 0

    return app


def _find_home() -> Path | None:
    try:
        return load_settings(os.environ).home
    except TenantryError:
        return None


def _show_usage_error(refused: CycloptsError) -> None:
    show_json(
        {
            "error": {
                "code": ErrorCode.COMMAND_INVALID.value,
                "message": " ".join(str(refused).split()),
                "hint": "`tenantry --help` lists commands, `tenantry COMMAND --help` options.",
                "problems": [],
            }
        }
    )


def _forget_standard_output() -> None:
    # Python flushes it once more at exit, and would complain.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
