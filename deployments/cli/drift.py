"""`tenantry drift`: compare Prefect with our rows now, and put right what differs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table
from rich.text import Text

from deployments.cli.failures import show_error
from deployments.cli.invocation import BAD_RESULT, DONE, WRONG_USE, Invoked
from deployments.cli.opening import find_prefect_api, open_quietly
from deployments.cli.screen import (
    Progress,
    answers,
    clean,
    make_facts,
    make_table,
    show_json,
    show_seconds,
    show_time,
)
from deployments.drift_report import DriftReport, check_drift
from domain.drift import Drift
from domain.json_data import JsonObject
from persistence.drift_log import LoggedRepair, Repair
from persistence.publishing import PublishingProgress
from persistence.steward_status import StewardStatus


def drift(
    *,
    repair: bool = False,
    last: Annotated[int, Parameter(validator=Number(gte=0, lte=1000))] = 10,
    call: Invoked,
) -> int:
    """Compare Prefect with the rows of all organizations, now. Exits with 1 if they differ.

    Changes nothing without `--repair`. The steward makes the same comparison by itself every
    few seconds; what it has put right is listed below.

    Args:
        repair: Put right what can be.
        last: How many repairs that were made before are listed, 0 to 1000.
    """
    with open_quietly(call) as installation, Progress("Comparing"):
        report = check_drift(
            installation.database,
            find_prefect_api(installation.settings),
            repair=repair,
            max_attempts=installation.settings.max_attempts,
            last=last,
        )
    if call.as_json:
        show_json(_document(report))
    else:
        _show(report)
    if report.prefect_problem is not None:
        if not call.as_json:
            show_error(report.prefect_problem, as_json=False)
        return WRONG_USE
    return BAD_RESULT if report.left else DONE


def _show(report: DriftReport) -> None:
    console = answers()
    if report.repairs:
        console.print(_table("Done now", report.repairs, times=None))
        console.print()
    if report.left:
        table = make_table("kind", "organization", "id", "here", "there", title="Drift")
        for each in report.left:
            table.add_row(Text(each.kind.value, "red"), *map(clean, _cells(each)))
        console.print(table)
    elif report.prefect_problem is None:
        console.print(Text.assemble(("✓ ", "green"), "No drift: both sides say the same."))
    else:
        console.print("Within the database everything fits.")
    if report.history:
        console.print()
        repairs = [each.repair for each in report.history]
        times = [each.at for each in report.history]
        console.print(_table("Done before, the newest first", repairs, times=times))
    console.print()
    console.print(make_facts(*_steward_facts(report.steward), _publishing_fact(report.publishing)))


def _table(title: str, repairs: Sequence[Repair], *, times: Sequence[datetime] | None) -> Table:
    columns = ["kind", "organization", "id", "here", "there", "what was done"]
    table = make_table(*(["time (UTC)", *columns] if times else columns), title=title)
    for number, each in enumerate(repairs):
        cells = [each.drift.kind.value, *_cells(each.drift), each.action]
        shown = [show_time(times[number]), *cells] if times else cells
        table.add_row(*map(clean, shown))
    return table


def _cells(each: Drift) -> list[str]:
    return [each.org_id, each.subject, each.here, each.there]


def _steward_facts(status: StewardStatus) -> list[tuple[str, str | None]]:
    troubles = ", ".join(f"{name}: {code}" for name, code in sorted(status.troubles.items()))
    return [
        ("Steward", status.leader or "none has led yet"),
        ("Last round", show_time(status.round_at) or None),
        ("Last check", show_time(status.checked_at) or None),
        ("It took", show_seconds(status.check_seconds) or None),
        ("Found so far", str(sum(status.found.values()))),
        ("Put right", str(sum(status.repaired.values()))),
        ("Lost workers", str(status.lost_workers)),
        ("Not done", troubles or None),
    ]


def _publishing_fact(publishing: PublishingProgress) -> tuple[str, str | None]:
    texts = [f"{publishing.waiting:,} workflows"] if publishing.waiting else []
    texts += [f"{publishing.refused:,} refused"] if publishing.refused else []
    return "To be published", ", ".join(texts) or None


def _document(report: DriftReport) -> JsonObject:
    status, problem = report.steward, report.prefect_problem
    error: JsonObject | None = None
    if problem is not None:
        error = {"code": problem.code.value, "message": problem.message, "hint": problem.hint}
    document: JsonObject = {
        "drift": [_drift_document(each) for each in report.left],
        "repaired": [_repair_document(each) for each in report.repairs],
        "history": [_logged_document(each) for each in report.history],
        "steward": {
            "leader": status.leader,
            "epoch": status.epoch,
            "round_at": _time(status.round_at),
            "checked_at": _time(status.checked_at),
            "check_seconds": status.check_seconds,
            "found": dict(status.found),
            "repaired": dict(status.repaired),
            "left": dict(status.left_over),
            "lost_workers": status.lost_workers,
            "troubles": dict(status.troubles),
        },
        "publishing": {
            "waiting": report.publishing.waiting,
            "refused": report.publishing.refused,
        },
    }
    if error is not None:
        document["error"] = error
    return document


def _drift_document(each: Drift) -> JsonObject:
    return {
        "kind": each.kind.value,
        "org_id": each.org_id,
        "id": each.subject,
        "here": each.here,
        "there": each.there,
    }


def _repair_document(each: Repair) -> JsonObject:
    return {
        **_drift_document(each.drift),
        "action": each.action,
        "is_repaired": each.is_repaired,
    }


def _logged_document(each: LoggedRepair) -> JsonObject:
    return {"at": _time(each.at), **_repair_document(each.repair)}


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
