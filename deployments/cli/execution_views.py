"""How an execution is shown to people."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import cast

from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from deployments.cli.screen import (
    STATUS_STYLES,
    answers,
    clean,
    make_facts,
    make_table,
    show_cost,
    show_seconds,
    show_status,
    show_time,
)
from domain.executions import Execution, ExecutionStatus
from domain.json_data import JsonObject, JsonValue

_MARKS = {"COMPLETED": "✓", "FAILED": "✗", "CANCELLED": "✗"}
_SHOWN_RECORDS = 20
_LONG_CHARS = 24
_GAP = 2
_TEXT_CHARS = 4_000


def show_result(execution: Execution, *, workflow_name: str, prefect_url: str | None) -> None:
    """Show what came out of an execution that has just ended."""
    console = answers()
    console.print(_headline(execution, workflow_name))
    console.print(
        make_facts(
            ("  waited", _span(execution.created_at, execution.started_at)),
            ("  ran", show_seconds(execution.duration_seconds) or None),
            ("  cost", f"{show_cost(execution.cost)}, {execution.tokens_used:,} tokens"),
            ("  prefect", prefect_url),
        )
    )
    for part in (*_error_parts(execution), *_output_parts(execution.output)):
        console.print(part)


def show_execution(execution: Execution, *, workflow_name: str, prefect_url: str | None) -> None:
    """Show everything that is known about an execution."""
    console = answers()
    console.print(_headline(execution, workflow_name))
    console.print(
        make_facts(
            ("  trigger", f"{execution.trigger.value}, by {execution.requested_by or 'nobody'}"),
            ("  created", _at(execution.created_at)),
            ("  started", _at(execution.started_at)),
            ("  completed", _at(execution.completed_at)),
            ("  waited", _span(execution.created_at, execution.started_at)),
            ("  ran", show_seconds(execution.duration_seconds) or None),
            ("  attempt", str(execution.attempt)),
            ("  priority", str(execution.priority)),
            ("  cost", f"{show_cost(execution.cost)}, {execution.tokens_used:,} tokens"),
            ("  idempotency key", execution.idempotency_key),
            ("  replay of", execution.replay_of),
            ("  cancel asked", _at(execution.cancel_requested_at)),
            ("  run", execution.run_id),
            ("  prefect", prefect_url or execution.prefect_flow_run_id),
        )
    )
    for part in (
        *_error_parts(execution),
        *_input_parts(execution.input_data),
        *_agent_parts(execution),
        *_output_parts(execution.output),
    ):
        console.print(part)


def _headline(execution: Execution, workflow_name: str) -> Text:
    status = execution.status.value
    style = STATUS_STYLES.get(status, "")
    return Text.assemble(
        (f"{_MARKS.get(status, '•')} {status}", style),
        "  ",
        (clean(workflow_name), "bold"),
        (f" version {execution.workflow_version}", "dim"),
        f"  {execution.id}",
    )


def _error_parts(execution: Execution) -> Iterator[RenderableType]:
    error = execution.error
    if error is None:
        return
    style = "yellow" if execution.status is ExecutionStatus.CANCELLED else "red"
    yield Text()
    yield Padding.indent(
        Group(
            Text.assemble(clean(error.message), (f"  {error.code.value}", "dim"), style=style),
            Text.assemble(("→ ", "green"), clean(error.hint)),
        ),
        2,
    )


def _input_parts(input_data: JsonObject) -> Iterator[RenderableType]:
    yield _heading("Input")
    text = input_data.get("text")
    is_plain = set(input_data) == {"text"} and isinstance(text, str)
    yield _block(str(text) if is_plain else _pretty(input_data))


def _agent_parts(execution: Execution) -> Iterator[RenderableType]:
    results = execution.agent_results
    if not results:
        return
    yield _heading("Agents")
    table = make_table("agent", "type", "status", "attempts#", "took#", "records#", "cost#")
    errors: list[RenderableType] = []
    # The graph has the agents in their order, which the object of results has not kept.
    nodes = _objects((execution.execution_graph or {}).get("nodes"))
    order = [str(node.get("name")) for node in nodes]
    for name in [*order, *(name for name in results if name not in order)]:
        raw = results.get(name)
        result = cast("JsonObject", raw) if isinstance(raw, dict) else {}
        took = result.get("duration_seconds")
        table.add_row(
            clean(name),
            clean(str(result.get("type", ""))),
            show_status(str(result.get("status", ""))),
            str(result.get("attempts", "")),
            show_seconds(float(took)) if isinstance(took, int | float) else "",
            str(result.get("record_count", "")),
            str(result.get("cost", "")),
        )
        error = result.get("error")
        if isinstance(error, dict):
            said = f"{clean(name)}: {clean(str(error.get('message', '')))}"
            errors.append(Text.assemble((said, "red"), (f"  {error.get('code', '')}", "dim")))
    yield Padding.indent(table, 2)
    yield from (Padding.indent(error, 2) for error in errors)
    if execution.execution_graph:
        yield _heading("Graph")
        yield _block("\n".join(_graph_lines(execution.execution_graph)))


def _graph_lines(graph: JsonObject) -> Iterator[str]:
    """Write the graph as one line where it is a chain, else as one line per agent that leads on."""
    targets: dict[str, list[str]] = {}
    for edge in _objects(graph.get("edges")):
        targets.setdefault(str(edge.get("from")), []).append(str(edge.get("to")))
    names = [str(node.get("name")) for node in _objects(graph.get("nodes"))]
    led_to = {name for after in targets.values() for name in after}
    starts = [name for name in names if name not in led_to]
    is_chain = len(targets) == len(names) - 1 == sum(map(len, targets.values()))
    if is_chain and len(starts) == 1:
        chain = starts[:]
        while chain[-1] in targets:
            chain.append(targets[chain[-1]][0])
        if len(chain) == len(names):
            yield " → ".join(chain)
            return
    for name in names:
        after = targets.get(name)
        if after:
            yield f"{name} → {', '.join(after)}"
        elif name not in led_to:
            yield name


def _output_parts(output: JsonObject | None) -> Iterator[RenderableType]:
    if output is None:
        return
    yield _heading("Output")
    records = _objects(output.get("records"))
    rest = {key: value for key, value in output.items() if key != "records"}
    summary = rest.pop("summary", None)
    if isinstance(summary, str):
        yield _block(summary)
    if records:
        yield Text()
        yield from _records_parts(records, output.get("columns"), width=answers().width - 2)
    elif rest or not isinstance(summary, str):
        yield _block(_pretty(rest))


def _records_parts(
    records: Sequence[JsonObject], columns: JsonValue, *, width: int
) -> Iterator[RenderableType]:
    """Lay out the first records, one line each, in the columns that are filled and that fit."""
    named = [str(column) for column in columns] if isinstance(columns, list) else None
    found = named or list(dict.fromkeys(key for record in records[:50] for key in record))
    shown = records[:_SHOWN_RECORDS]
    cells = {name: [_cell(record.get(name)) for record in shown] for name in found}
    filled = [name for name in found if any(cells[name])]
    widths = {name: max(map(cell_len, [name, *cells[name]])) + _GAP for name in filled}
    kept = filled[:]
    while len(kept) > 1 and sum(min(widths[name], _LONG_CHARS) for name in kept) > width:
        kept.pop()
    # Long texts share what the short ones leave over.
    long = [name for name in kept if widths[name] > _LONG_CHARS]
    left = width - sum(widths[name] for name in kept if name not in long)
    share = left // len(long) - _GAP if long else 0
    table = make_table(*(clean(name) for name in kept))
    for row in range(len(shown)):
        texts = {name: cells[name][row] for name in kept}
        table.add_row(
            *(_cut(text, share) if name in long else text for name, text in texts.items())
        )
    yield Padding.indent(table, 2)
    if len(kept) < len(filled):
        yield _block(f"Not shown: {', '.join(filled[len(kept) :])}; `--json` has all.")
    if len(records) > _SHOWN_RECORDS:
        yield _block(f"… and {len(records) - _SHOWN_RECORDS:,} more; `--json` has all.")


def _cut(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - 1, 1)).rstrip() + "…"


def _cell(value: JsonValue) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        text = "; ".join(_cell(item) for item in value)
    elif isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, float):
        text = f"{value:g}"
    else:
        text = str(value)
    return clean(" ".join(text.split()))


def _objects(value: JsonValue) -> list[JsonObject]:
    if not isinstance(value, list):
        return []
    return [cast("JsonObject", item) for item in value if isinstance(item, dict)]


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _block(text: str) -> Padding:
    cut = text if len(text) <= _TEXT_CHARS else f"{text[:_TEXT_CHARS]}… (`--json` has all)"
    return Padding.indent(Text(clean(cut)), 2)


def _pretty(value: Mapping[str, JsonValue]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _at(at: datetime | None) -> str | None:
    return f"{show_time(at)} UTC" if at else None


def _span(start: datetime, end: datetime | None) -> str | None:
    return show_seconds((end - start).total_seconds()) if end else None
