"""`tenantry executions`: look at executions, and cancel them."""

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.text import Text

from deployments.cli.documents import summary_document
from deployments.cli.execution_views import show_execution
from deployments.cli.invocation import DONE, CommandInvalid, Invoked
from deployments.cli.opening import open_desk
from deployments.cli.screen import (
    answers,
    clean,
    make_table,
    show_json,
    show_seconds,
    show_status,
    show_time,
)
from deployments.documents import execution_document
from domain.clock import utc_now
from domain.executions import ExecutionStatus
from domain.ids import ExecutionId
from domain.waiting import expect_start, find_blockers
from persistence.execution_cancel import Cancellation, request_cancel
from persistence.executions import get_execution, list_executions
from persistence.waiting import find_place, see_workers
from persistence.workflows import get_workflow, list_workflows

app = App(name="executions", help="Look at executions, and cancel them.")


@app.command(name="list")
def list_(
    *,
    workflow: str | None = None,
    status: ExecutionStatus | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=500))] = 20,
    before: str | None = None,
    call: Invoked,
) -> int:
    """List executions, the newest first.

    Args:
        workflow: Only those of this workflow: its id, name or slug.
        status: Only those that stand there.
        limit: How many, 1 to 500.
        before: Go on after this id, the last one of the page before.
    """
    with open_desk(call) as desk, desk.session() as session:
        workflow_id = get_workflow(session, workflow).id if workflow is not None else None
        found = list_executions(
            session,
            workflow_id=workflow_id,
            status=status,
            before=ExecutionId(before) if before else None,
            limit=limit,
        )
        names = {each.id: each.name for each in list_workflows(session)}
    is_full = len(found) == limit
    if call.as_json:
        show_json(
            {
                "executions": [summary_document(execution) for execution in found],
                "next_before": found[-1].id if is_full else None,
            }
        )
        return DONE
    console = answers()
    if not found:
        console.print('No executions. Start one: `tenantry run WORKFLOW --input "…"`')
        return DONE
    table = make_table("id", "workflow", "status", "created (UTC)", "took#")
    for execution in found:
        table.add_row(
            execution.id,
            clean(names.get(execution.workflow_id, execution.workflow_id)),
            show_status(execution.status.value),
            show_time(execution.created_at),
            show_seconds(execution.duration_seconds),
        )
    console.print(table)
    if is_full:
        console.print(f"Older ones: `tenantry executions list --before {found[-1].id}`")
    return DONE


@app.command
def explain(execution_id: Annotated[str, Parameter(name="ID")], /, *, call: Invoked) -> int:
    """Tell why an execution waits, and when it may start.

    Args:
        execution_id: Its id, `exec_…`.
    """
    with open_desk(call) as desk:
        with desk.installation.database.for_platform() as session:
            seen = see_workers(session)
        with desk.session(snapshot=True) as session:
            facts = find_place(session, ExecutionId(execution_id), seen)
    blockers, expected = find_blockers(facts), expect_start(facts, now=utc_now())
    if call.as_json:
        show_json(
            {
                "execution_id": execution_id,
                "status": facts.status.value,
                "blockers": [
                    {"kind": b.kind.value, "message": b.message, "hint": b.hint, "count": b.count}
                    for b in blockers
                ],
                "expected_start": expected.isoformat() if expected else None,
            }
        )
        return DONE
    console = answers()
    for number, blocker in enumerate(blockers, 1):
        console.print(f"{number}. {clean(blocker.message)}\n   {clean(blocker.hint)}")
    if expected is not None:
        console.print(f"It may start at about {show_time(expected)} (UTC).")
    return DONE


@app.command
def show(execution_id: Annotated[str, Parameter(name="ID")], /, *, call: Invoked) -> int:
    """Show everything about one execution.

    Args:
        execution_id: Its id, `exec_…`.
    """
    with open_desk(call) as desk:
        with desk.session() as session:
            execution = get_execution(session, ExecutionId(execution_id))
            workflow = get_workflow(session, execution.workflow_id)
        link = desk.prefect_link(execution)
    if call.as_json:
        show_json(execution_document(execution, prefect_url=link))
        return DONE
    show_execution(execution, workflow_name=workflow.name, prefect_url=link)
    return DONE


@app.command
def cancel(*execution_ids: Annotated[str, Parameter(name="ID")], call: Invoked) -> int:
    """Cancel executions. One that waits ends at once, one that runs as soon as it can.

    One that is cancelled already is no error; at the first that has ended otherwise this stops.

    Args:
        execution_ids: Their ids, `exec_…`.
    """
    if not execution_ids:
        raise CommandInvalid(
            "No execution is named.", hint="Give one id or several: `tenantry executions list`."
        )
    done: list[Cancellation] = []
    with open_desk(call) as desk:
        for execution_id in execution_ids:
            # One transaction each: what is cancelled stays so, whatever the next one is.
            with desk.session() as session:
                done.append(request_cancel(session, ExecutionId(execution_id)))
            if not call.as_json:
                answers().print(_tell_cancelled(done[-1]))
    if call.as_json:
        show_json(
            {
                "executions": [
                    {
                        "id": each.record.execution.id,
                        "status": each.record.execution.status.value,
                        "was_cancelled": each.was_cancelled,
                    }
                    for each in done
                ]
            }
        )
    return DONE


def _tell_cancelled(cancellation: Cancellation) -> Text:
    execution = cancellation.record.execution
    if cancellation.was_cancelled:
        said = f"{execution.id} was cancelled before."
    elif execution.status is ExecutionStatus.CANCELLED:
        said = f"{execution.id} is cancelled."
    else:
        said = f"{execution.id} runs: its worker ends it as soon as it can."
    return Text.assemble(("✓ ", "green"), said)
