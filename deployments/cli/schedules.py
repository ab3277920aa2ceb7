"""`tenantry schedules`: have workflows run by themselves."""

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from cyclopts import App, Parameter
from rich.text import Text

from deployments.cli.documents import schedule_document
from deployments.cli.execution_inputs import input_or_default, read_given_input
from deployments.cli.invocation import DONE, Invoked
from deployments.cli.opening import open_desk
from deployments.cli.screen import answers, clean, make_facts, make_table, show_json
from domain.catalog import PausedBy, Schedule
from domain.clock import utc_now
from domain.cron_dialect import needs_both_days
from domain.ids import ScheduleId
from domain.schedules import ScheduleSpec, check_schedule, next_times, read_schedule
from persistence.schedules import (
    add_schedule,
    list_schedules,
    pause_schedule,
    remove_schedule,
    resume_schedule,
)
from persistence.workflows import check_runnable, get_workflow, list_workflows

_SHOWN_TIMES = 3
# What day of the month and day of the week mean together: Debian's cron's rule, by the `*`.
_DAYS: dict[bool | None, str] = {
    True: "only days on which the day of the month and the day of the week both hold",
    False: "days of the month, and days of the week as well",
}

app = App(name="schedules", help="Have workflows run by themselves.")


@app.command
def add(
    workflow: str,
    /,
    *,
    cron: Annotated[str, Parameter(allow_leading_hyphen=True)],
    timezone: str = "UTC",
    text: Annotated[
        str | None, Parameter(name=["--input", "-i"], allow_leading_hyphen=True)
    ] = None,
    input_file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    call: Invoked,
) -> int:
    """Run a workflow by the clock. Without an input its default input is used.

    Args:
        workflow: Its id, name or slug.
        cron: Minute, hour, day of the month, month, day of the week: `0 9 * * MON-FRI`.
        timezone: Whose clock, such as Europe/Berlin.
        text: The input, a text.
        input_file: The input as a file, a JSON object or a text; `-` reads standard input.
    """
    spec = read_schedule(cron, timezone=timezone)
    given = read_given_input(text, input_file)
    with open_desk(call) as desk, desk.session() as session:
        found = get_workflow(session, workflow)
        check_runnable(session, found)
        schedule = add_schedule(
            session,
            found.id,
            cron=spec.cron,
            timezone=spec.timezone,
            input_data=input_or_default(session, found, given),
        )
    times = next_times(spec, utc_now(), count=_SHOWN_TIMES)
    if call.as_json:
        show_json({"schedule": schedule_document(schedule, next_times=[*times])})
        return DONE
    console = answers()
    console.print(
        Text.assemble(("✓ ", "green"), (clean(found.name), "bold"), " will run by itself.")
    )
    console.print(
        make_facts(
            ("  id", schedule.id),
            ("  cron", f"{schedule.cron}  {schedule.timezone}"),
            ("  days", _DAYS.get(needs_both_days(schedule.cron))),
            ("  next", "\n".join(_local(at, schedule.timezone) for at in times)),
        )
    )
    if call.is_embedded:
        console.print("  It fires while `tenantry up` runs.")
    return DONE


@app.command(name="list")
def list_(*, workflow: str | None = None, call: Invoked) -> int:
    """List the schedules.

    Args:
        workflow: Only those of this workflow: its id, name or slug.
    """
    with open_desk(call) as desk, desk.session() as session:
        workflow_id = get_workflow(session, workflow).id if workflow is not None else None
        found = list_schedules(session, workflow_id=workflow_id)
        names = {each.id: each.name for each in list_workflows(session)}
    now = utc_now()
    if call.as_json:
        shown = [schedule_document(each, next_times=_next(each, now)) for each in found]
        show_json({"schedules": [*shown]})
        return DONE
    if not found:
        answers().print('No schedules. Add one: `tenantry schedules add WORKFLOW --cron "…"`')
        return DONE
    table = make_table("id", "workflow", "cron", "time zone", "next")
    for schedule in found:
        times = _next(schedule, now)
        table.add_row(
            schedule.id,
            clean(names.get(schedule.workflow_id, schedule.workflow_id)),
            schedule.cron,
            schedule.timezone,
            _local(times[0], schedule.timezone) if times else _why_never(schedule),
        )
    answers().print(table)
    return DONE


@app.command
def pause(schedule_id: Annotated[str, Parameter(name="ID")], /, *, call: Invoked) -> int:
    """Have a schedule fire no more until it is resumed; Prefect shows its switch as off.

    Args:
        schedule_id: Its id, `sched_…`.
    """
    with open_desk(call) as desk, desk.session() as session:
        paused = pause_schedule(session, ScheduleId(schedule_id))
    if call.as_json:
        show_json({"schedule": schedule_document(paused, next_times=[])})
    else:
        text = f"{paused.id} is paused. Go on with `tenantry schedules resume {paused.id}`."
        answers().print(Text.assemble(("✓ ", "green"), text))
    return DONE


@app.command
def resume(schedule_id: Annotated[str, Parameter(name="ID")], /, *, call: Invoked) -> int:
    """Have a paused schedule fire again; what was due meanwhile is not made up for.

    Args:
        schedule_id: Its id, `sched_…`.
    """
    with open_desk(call) as desk, desk.session() as session:
        resumed = resume_schedule(session, ScheduleId(schedule_id))
    times = _next(resumed, utc_now())
    if call.as_json:
        show_json({"schedule": schedule_document(resumed, next_times=times)})
        return DONE
    when = _local(times[0], resumed.timezone) if times else _why_never(resumed)
    answers().print(Text.assemble(("✓ ", "green"), f"{resumed.id} goes on. Next: {clean(when)}"))
    return DONE


@app.command
def remove(schedule_id: Annotated[str, Parameter(name="ID")], /, *, call: Invoked) -> int:
    """Remove a schedule; executions that it has started stay.

    Args:
        schedule_id: Its id, `sched_…`.
    """
    with open_desk(call) as desk, desk.session() as session:
        removed = remove_schedule(session, ScheduleId(schedule_id))
    if call.as_json:
        show_json({"removed": schedule_document(removed, next_times=[])})
    else:
        answers().print(Text.assemble(("✓ ", "green"), f"{removed.id} is removed."))
    return DONE


def _next(schedule: Schedule, now: datetime) -> list[datetime]:
    if schedule.paused_at is not None or check_schedule(schedule.cron, schedule.timezone):
        return []  # refused: added by a version that let it pass, and not published
    spec = ScheduleSpec(schedule.cron, schedule.timezone)
    return [*next_times(spec, now, count=_SHOWN_TIMES)]


def _why_never(schedule: Schedule) -> str:
    problems = check_schedule(schedule.cron, schedule.timezone)
    if problems:
        return f"never: {problems[0].message}"
    if schedule.paused_at is None:
        return "never"
    return "paused in Prefect" if schedule.paused_by in set(PausedBy) else "paused"


def _local(at: datetime, timezone: str) -> str:
    return at.astimezone(ZoneInfo(timezone)).strftime("%a %Y-%m-%d %H:%M")
