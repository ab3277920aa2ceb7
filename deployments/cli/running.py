"""`tenantry run`: start a workflow, and wait for what comes out."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.text import Text

from deployments.cli.execution_inputs import input_or_default, read_given_input
from deployments.cli.execution_views import show_result
from deployments.cli.following import follow_execution
from deployments.cli.invocation import (
    BAD_RESULT,
    DONE,
    INTERRUPTED,
    CommandInvalid,
    Invocation,
    Invoked,
)
from deployments.cli.opening import Desk, open_desk
from deployments.cli.screen import answers, remarks, show_json
from deployments.documents import execution_document
from deployments.embedded.layout import Home
from deployments.embedded.locks import is_held
from domain.catalog import Workflow
from domain.executions import Execution, ExecutionStatus, Trigger
from domain.json_data import JsonObject, encode_json
from domain.text import quote, read_name
from persistence.executions import add_execution, get_execution
from persistence.missing_sources import check_sources
from persistence.text_limits import check_long_text
from persistence.workflows import check_runnable, get_definition, get_workflow

_KEY_CHARS = 200


def run(
    workflow: str,
    /,
    *,
    text: Annotated[
        str | None, Parameter(name=["--input", "-i"], allow_leading_hyphen=True)
    ] = None,
    input_file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    watch: Annotated[bool, Parameter(negative="")] = False,
    wait: bool = True,
    priority: Annotated[int, Parameter(validator=Number(gte=1, lte=5))] = 3,
    idempotency_key: str | None = None,
    call: Invoked,
) -> int:
    """Run a workflow, wait for its end, and show what came out.

    Without an input the workflow's default input is used.

    Args:
        workflow: Its id, name or slug.
        text: The input, a text.
        input_file: The input as a file, a JSON object or a text; `-` reads standard input.
        watch: Show the agents as they finish.
        wait: Wait for the end; `--no-wait` returns as soon as it is queued.
        priority: 1 runs first, 5 last.
        idempotency_key: The same key again gives the first execution, and starts nothing.
    """
    given = read_given_input(text, input_file)
    key = _read_key(idempotency_key)
    # On a database of your own, worker and steward run elsewhere.
    services = wait and call.is_embedded
    is_cold = services and not is_held(Home(call.settings.home).keeper_lock)
    with open_desk(call, services=services) as desk:
        found, execution, definition = _add(desk, workflow, given, priority=priority, key=key)
        if given is None and not call.as_json:
            _show_default(execution.input_data)
        if not wait:
            _show_queued(call, execution)
            return DONE
        try:
            ended = follow_execution(
                desk, execution, definition=definition, watch=watch, is_cold=is_cold
            )
        except KeyboardInterrupt:
            _show_left(call, desk, execution)
            return INTERRUPTED
        link = desk.prefect_link(ended)
        if call.as_json:
            show_json(execution_document(ended, prefect_url=link))
        else:
            show_result(ended, workflow_name=found.name, prefect_url=link)
            if is_cold:
                remarks().print(
                    "\nTip: keep `tenantry up` running in another terminal. Runs then start at "
                    "once, and Prefect's pages stay open."
                )
    return DONE if ended.status is ExecutionStatus.COMPLETED else BAD_RESULT


def _add(
    desk: Desk, reference: str, given: JsonObject | None, *, priority: int, key: str | None
) -> tuple[Workflow, Execution, JsonObject]:
    with desk.session() as session:
        workflow = get_workflow(session, reference)
        version = check_runnable(session, workflow)
        check_sources(session, workflow, version=version)
        definition = get_definition(session, workflow.id, version=version)
        input_data = input_or_default(session, workflow, given)
        check_long_text(session, workflow.id, input_data, version=version)
        execution = add_execution(
            session,
            workflow.id,
            version=version,
            input_data=input_data,
            trigger=Trigger.CLI,
            priority=priority,
            idempotency_key=key,
        )
        return workflow, execution, definition


def _show_default(input_data: JsonObject) -> None:
    only_text = input_data.get("text") if len(input_data) == 1 else None
    shown = only_text if isinstance(only_text, str) else encode_json(input_data)
    remarks().print(f"No input is given: this is the workflow's default, {quote(shown)}.")


def _read_key(key: str | None) -> str | None:
    if key is None:
        return None
    try:
        return read_name(key, max_chars=_KEY_CHARS)
    except ValueError as error:
        raise CommandInvalid(
            f"The idempotency key {error}.",
            hint=f"Give 1 to {_KEY_CHARS} plain characters, such as an order's number.",
        ) from error


def _show_queued(call: Invocation, execution: Execution) -> None:
    if call.as_json:
        show_json(execution_document(execution, prefect_url=None))
        return
    console = answers()
    console.print(Text.assemble(("✓ ", "green"), f"{execution.id} is {execution.status.value}."))
    if call.is_embedded:
        console.print("  It runs as soon as `tenantry up` runs.")
    console.print(f"  Look at it: `tenantry executions show {execution.id}`")


def _show_left(call: Invocation, desk: Desk, execution: Execution) -> None:
    with desk.session() as session:
        now = get_execution(session, execution.id)
    if call.as_json:
        link = desk.prefect_link(now)
        show_json(execution_document(now, prefect_url=link))
    console = remarks()
    console.print(
        f"\nNot waiting any longer. {now.id} is {now.status.value}; nothing is cancelled."
    )
    if call.is_embedded:
        console.print("It goes on when `tenantry up` runs.")
    console.print(f"Look at it: `tenantry executions show {now.id}`")
