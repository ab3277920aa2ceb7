"""`tenantry audit`: read the audit trail, and check it."""

import json
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.padding import Padding
from rich.text import Text

from deployments.cli.invocation import BAD_RESULT, DONE, Invoked
from deployments.cli.opening import open_desk
from deployments.cli.screen import (
    Progress,
    answers,
    clean,
    make_facts,
    make_table,
    remarks,
    show_json,
    show_time,
)
from deployments.documents import audit_document
from domain.audit import Verification
from domain.errors import ErrorCode
from domain.json_data import JsonObject
from persistence.audit import list_audit, verify_audit

_WIDE = 130

app = App(name="audit", help="Read the audit trail, and check it.")


@app.command(name="list")
def list_(
    *,
    resource: str | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 50,
    call: Invoked,
) -> int:
    """List who did what, the newest first.

    Args:
        resource: Only what was done to this: the id of an execution, a workflow, a schedule.
        limit: How many, 1 to 1000.
    """
    with open_desk(call) as desk, desk.session() as session:
        rows = list_audit(session, resource_id=resource, limit=limit)
    if call.as_json:
        show_json({"entries": [audit_document(row) for row in rows]})
        return DONE
    if not rows:
        answers().print("No entries.")
        return DONE
    columns = ["seq#", "time (UTC)", "user", "action", "resource", "ok", "details"]
    console = answers()
    has_room = console.width >= _WIDE
    table = make_table(*(columns if has_room else columns[:-1]))
    for row in rows:
        entry = row.entry
        table.add_row(
            str(row.seq),
            show_time(entry.timestamp),
            clean(entry.user_id or ""),
            entry.action,
            clean(entry.resource_id or ""),
            Text("yes", style="green") if entry.success else Text("no", style="red"),
            *([clean(_details(entry.details))] if has_room else []),
        )
    console.print(table)
    return DONE


@app.command
def verify(*, call: Invoked) -> int:
    """Check that no entry was changed, removed or inserted. Exits with 1 if one was."""
    with (
        open_desk(call) as desk,
        Progress("Walking along the audit trail"),
        desk.session(snapshot=True) as session,
    ):
        result = verify_audit(session)
    if call.as_json:
        _show_for_programs(result)
    elif result.ok:
        answers().print(
            Text.assemble(
                ("✓ ", "green"), f"The audit trail holds: {result.checked:,} entries checked."
            )
        )
        answers().print(_head(result))
        answers().print("  Note the hash elsewhere: it shows later whether the end was cut off.")
    else:
        bad = f"Entry {result.first_bad_seq:,}" if result.first_bad_seq else "An entry"
        console = remarks()
        console.print(
            Text.assemble(
                ("✗ ", "bold red"),
                f"The audit trail is broken. {bad}: {result.reason}.",
                (f"  {ErrorCode.AUDIT_BROKEN.value}", "dim"),
            )
        )
        console.print(make_facts(("  id", result.first_bad_id)))
        console.print(f"  The {result.checked:,} entries before it hold.")
        hint = Text.assemble(
            ("→ ", "green"), "Compare the entry with a backup, or check TENANTRY_AUDIT_KEY."
        )
        console.print(Padding.indent(hint, 2))
    return DONE if result.ok else BAD_RESULT


def _show_for_programs(result: Verification) -> None:
    show_json(
        {
            "ok": result.ok,
            "checked": result.checked,
            "head": {"seq": result.head.seq, "hash": result.head.hash.hex()},
            "first_bad": None
            if result.ok
            else {
                "seq": result.first_bad_seq,
                "id": result.first_bad_id,
                "reason": result.reason,
                "code": ErrorCode.AUDIT_BROKEN.value,
            },
        }
    )


def _head(result: Verification) -> Padding:
    facts = make_facts(("last", str(result.head.seq)), ("hash", result.head.hash.hex()))
    return Padding.indent(facts, 2)


def _details(details: JsonObject) -> str:
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in details.items()
    )
