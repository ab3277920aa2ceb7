"""`tenantry limits`: how much an organization, or a workflow, may have at a time."""

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from deployments.cli.invocation import DONE, CommandInvalid, Invoked
from deployments.cli.opening import open_desk
from deployments.cli.screen import answers, make_facts, show_json
from domain.json_data import JsonObject
from domain.limits import MAX_BATCH, MAX_RUNNING, MAX_WEIGHT, MIN_WEIGHT, OrgLimits, WorkflowLimits
from persistence.limits import (
    get_org_limits,
    get_workflow_limits,
    set_org_limits,
    set_workflow_limits,
)
from persistence.sessions import OrgSession
from persistence.workflows import get_workflow

_WITHOUT = "none"
Count = Annotated[int | None, Parameter(validator=Number(gte=0, lte=MAX_RUNNING))]

app = App(name="limits", help="Say how much an organization or a workflow may have at a time.")


@app.command
def show(*, workflow: str | None = None, call: Invoked) -> int:
    """Show the limits of the organization, or of one of its workflows.

    Args:
        workflow: Its id, name or slug.
    """
    with open_desk(call) as desk, desk.session() as session:
        document = _read(session, workflow)
    return _show(document, as_json=call.as_json)


@app.command(name="set")
def set_(
    *,
    workflow: str | None = None,
    weight: Annotated[
        float | None, Parameter(validator=Number(gte=MIN_WEIGHT, lte=MAX_WEIGHT))
    ] = None,
    max_running: Count = None,
    max_queued: Count = None,
    max_batch: Annotated[int | None, Parameter(validator=Number(gte=1, lte=MAX_BATCH))] = None,
    pause: Annotated[bool | None, Parameter(negative="--resume")] = None,
    clear: tuple[str, ...] = (),
    call: Invoked,
) -> int:
    """Change limits, from now on; what is not named stays as it is, and what runs goes on.

    Args:
        workflow: Of this workflow, by id, name or slug; without it, of the organization.
        weight: The organization's share while others wait, too: 3 gets thrice what 1 gets.
        max_running: Executions that run at a time.
        max_queued: The organization's executions that wait; more are refused.
        max_batch: Executions of the workflow in one Prefect flow run.
        pause: Start nothing of it, until `--resume`.
        clear: A limit to take away: max-running, max-queued or max-batch.
    """
    given = {"max_running": max_running, "max_queued": max_queued, "max_batch": max_batch}
    changes: dict[str, int | float | bool | None] = {
        name: value for name, value in given.items() if value is not None
    }
    for name in clear:
        key = name.replace("-", "_")
        if key not in given:
            raise CommandInvalid(
                f"There is no limit `{name}` to take away.",
                hint="Name max-running, max-queued or max-batch.",
            )
        changes[key] = None
    if weight is not None:
        changes["weight"] = weight
    if pause is not None:
        changes["is_paused"] = pause
    allowed = {"max_running", "is_paused"}
    allowed |= {"weight", "max_queued"} if workflow is None else {"max_batch"}
    if not changes or not changes.keys() <= allowed:
        of = "an organization has" if workflow is None else "a workflow has"
        names = ", ".join(sorted(name.replace("_", "-") for name in allowed - {"is_paused"}))
        raise CommandInvalid(
            "Nothing to change is given." if not changes else "That is no limit of this.",
            hint=f"{of.capitalize()} {names}, and can be paused.",
        )
    with open_desk(call) as desk, desk.session() as session:
        now = {name: value for name, value in _read(session, workflow).items() if name in _FIELDS}
        wanted = {**now, **changes}
        if workflow is None:
            set_org_limits(session, OrgLimits(**wanted))  # pyright: ignore[reportArgumentType]
        else:
            found = get_workflow(session, workflow)
            limits = WorkflowLimits(**wanted)  # pyright: ignore[reportArgumentType]
            set_workflow_limits(session, found.id, limits)
        document = _read(session, workflow)
    return _show(document, as_json=call.as_json)


_FIELDS = frozenset({"weight", "max_running", "max_queued", "max_batch", "is_paused"})


def _read(session: OrgSession, workflow: str | None) -> JsonObject:
    if workflow is None:
        limits = get_org_limits(session)
        return {
            "organization": session.org_id,
            "weight": limits.weight,
            "max_running": limits.max_running,
            "max_queued": limits.max_queued,
            "is_paused": limits.is_paused,
        }
    found = get_workflow(session, workflow)
    own = get_workflow_limits(session, found.id)
    return {
        "workflow": found.slug,
        "max_running": own.max_running,
        "max_batch": own.max_batch,
        "is_paused": own.is_paused,
    }


def _show(document: JsonObject, *, as_json: bool) -> int:
    if as_json:
        show_json(document)
        return DONE
    facts = [
        (name.removeprefix("is_").replace("_", " "), _word(value))
        for name, value in document.items()
    ]
    answers().print(make_facts(*facts))
    return DONE


def _word(value: object) -> str:
    match value:
        case None:
            return _WITHOUT
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:g}"
        case _:
            return str(value)
