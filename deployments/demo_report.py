"""What the demo shows, for people and for programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from deployments.documents import (
    agent_results_in_order,
    audit_document,
    execution_document,
    flow_run_url,
    statistics_document,
)
from domain.audit import ChainedEntry, Verification
from domain.catalog import Workflow
from domain.errors import Problem
from domain.executions import Execution, ExecutionStatus
from domain.json_data import JsonObject, JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What came of the demo's steps."""

    request: str
    execution: Execution
    statistics: Workflow
    refused_name: str
    refused: Sequence[Problem]
    failed: Execution
    failed_statistics: Workflow
    audit: Sequence[ChainedEntry]
    failed_audit: Sequence[ChainedEntry]
    verification: Verification
    prefect_url: str | None
    home: str

    @property
    def leads(self) -> list[JsonObject]:
        """The leads that were found, best first."""
        output = self.execution.output or {}
        return cast("list[JsonObject]", output.get("records") or [])

    @property
    def is_as_promised(self) -> bool:
        """Say whether everything ended as the demo says it does."""
        return (
            self.execution.status is ExecutionStatus.COMPLETED
            and bool(self.leads)
            and len(self.refused) == 2
            and self.failed.status is ExecutionStatus.FAILED
            and self.verification.ok
        )


def report_document(result: DemoResult) -> JsonObject:
    """Write the demo's result as one JSON object."""
    problems: list[JsonValue] = [dict(problem.as_json()) for problem in result.refused]
    failed_url = None
    if result.prefect_url:
        failed_url = flow_run_url(result.prefect_url.split("/runs/")[0], result.failed)
    return {
        "request": result.request,
        "leads": list[JsonValue](result.leads),
        "execution": execution_document(result.execution, prefect_url=result.prefect_url),
        "refused": {
            "workflow": result.refused_name,
            "code": "workflow.invalid",
            "problems": problems,
        },
        "failed": {
            "execution": execution_document(result.failed, prefect_url=failed_url),
            "statistics": statistics_document(result.failed_statistics),
            "audit": [audit_document(item) for item in result.failed_audit],
        },
        "statistics": statistics_document(result.statistics),
        "audit": [audit_document(item) for item in result.audit],
        "audit_verified": result.verification.ok,
        "prefect_url": result.prefect_url,
    }


def print_report(console: Console, result: DemoResult) -> None:
    """Show the demo's result to people."""
    _print_search(console, result)
    _print_record(console, result.execution, result.statistics)
    _print_audit(console, "Audit trail of this execution", result.audit)
    _print_refused(console, result)
    _print_failed(console, result)
    verification = result.verification
    if verification.ok:
        console.print(f"[bold]audit verify:[/] [green]ok[/] ({verification.checked} entries)")
    else:
        console.print(
            f"[bold]audit verify:[/] [red]broken at entry {verification.first_bad_seq}[/]: "
            f"{verification.reason}"
        )
    if result.prefect_url:
        console.print(f"[bold]This run in Prefect:[/] {result.prefect_url}", soft_wrap=True)
    console.print(f"\nEverything has been stopped again and is kept in {result.home}.")
    console.print("Next: [bold]tenantry up[/] keeps it running; this asks another question:")
    console.print(
        '  [bold]tenantry run "Enterprise lead search" --input "fintechs in New York"[/]',
        highlight=False,
    )


def _print_search(console: Console, result: DemoResult) -> None:
    output = result.execution.output or {}
    console.rule("[bold]Enterprise lead search")
    console.print(f"[bold]Request:[/]  {escape(result.request)}")
    reading = _find_reading(result.execution)
    if reading:
        console.print(f"[bold]Read as:[/]  {escape(reading.removeprefix('Read as: '))}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Lead", overflow="fold")
    table.add_column("Place", overflow="fold")
    table.add_column("People", justify="right")
    table.add_column("Score", justify="right")
    table.add_column("Tier", justify="center")
    table.add_column("Why", overflow="fold")
    for lead in result.leads:
        reasons = lead.get("reasons")
        why = escape(" ".join(str(r) for r in reasons)) if isinstance(reasons, list) else ""
        table.add_row(
            _cell(lead.get("name")),
            _cell(lead.get("place")),
            _number(lead.get("head_count")),
            _cell(lead.get("score")),
            _cell(lead.get("tier")),
            why,
        )
    console.print(table)
    summary = output.get("summary")
    if summary:
        console.print(Panel(escape(str(summary)), title="Summary", title_align="left"))


def _print_record(console: Console, execution: Execution, statistics: Workflow) -> None:
    grid = Table.grid(padding=(0, 2))
    rows = (
        ("Execution", execution.id),
        ("Status", _coloured(execution.status)),
        ("Created", _time(execution.created_at)),
        ("Started", _time(execution.started_at)),
        ("Completed", _time(execution.completed_at)),
        ("Duration", f"{execution.duration_seconds or 0:.3f} s"),
        ("Cost", f"{execution.cost.normalize():f} USD, {execution.tokens_used} tokens"),
        ("Statistics", _statistics(statistics)),
    )
    for name, value in rows:
        grid.add_row(f"[bold]{name}[/]", str(value))
    console.print(Panel(grid, title="Execution record", title_align="left"))
    table = Table("Agent", "Status", "Attempts", "Seconds", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, result in agent_results_in_order(execution):
        table.add_row(
            escape(name),
            _cell(result.get("status")),
            _cell(result.get("attempts")),
            _cell(result.get("duration_seconds")),
        )
    console.print(table)


def _print_refused(console: Console, result: DemoResult) -> None:
    console.rule(f"[bold]{result.refused_name}")
    console.print(
        f"Refused before anything runs, with {len(result.refused)} problems in one answer:\n"
    )
    for problem in result.refused:
        console.print(f"  [red]{problem.code.value}[/] at [cyan]{problem.pointer}[/]")
        console.print(f"    {problem.message}")
        console.print(f"    [green]Fix:[/] {problem.hint}\n")


def _print_failed(console: Console, result: DemoResult) -> None:
    failed, error = result.failed, result.failed.error
    console.print("Then with a connector, but a table that is not there:\n")
    console.print(f"  [bold]Execution[/] {failed.id}: {_coloured(failed.status)}")
    if error is not None:
        console.print(f"  [red]{error.code.value}[/]: {error.message}")
        console.print(f"  [green]Fix:[/] {error.hint}")
    console.print(f"  [bold]Statistics[/] {_statistics(result.failed_statistics)}")
    _print_audit(console, "Audit trail of the failed execution", result.failed_audit)


def _print_audit(console: Console, title: str, entries: Sequence[ChainedEntry]) -> None:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("No.", "Time (UTC)", "User", "Action", "Success", "Seal"):
        table.add_column(name, no_wrap=True)
    for item in entries:
        table.add_row(
            str(item.seq),
            _time(item.entry.timestamp)[11:],
            item.entry.user_id or "",
            item.entry.action,
            "[green]true[/]" if item.entry.success else "[red]false[/]",
            item.hash.hex()[:8],
        )
    console.print(table)


def _find_reading(execution: Execution) -> str | None:
    for _, result in agent_results_in_order(execution):
        data = result.get("data")
        if isinstance(data, dict) and data.get("reading"):
            return str(data["reading"])
    return None


def _statistics(workflow: Workflow) -> str:
    return (
        f"{workflow.execution_count} executed, {workflow.success_count} succeeded, "
        f"{workflow.failure_count} failed"
    )


def _coloured(status: ExecutionStatus) -> str:
    colour = "green" if status is ExecutionStatus.COMPLETED else "red"
    return f"[{colour}]{status.value}[/]"


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}" if at else ""


def _cell(value: JsonValue) -> str:
    # Data is shown as it is: brackets in a name are no markup.
    return "" if value is None else escape(str(value))


def _number(value: JsonValue) -> str:
    return f"{value:,}" if isinstance(value, int) else _cell(value)
