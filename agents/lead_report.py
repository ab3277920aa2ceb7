"""The agent that turns qualified leads into a result table with a summary."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from agents.errors import AgentInputInvalid
from agents.interface import Agent, AgentConfig, AgentContext
from agents.json_output import to_json
from agents.per_item import run_per_item
from domain.json_data import JsonObject, JsonValue
from domain.outcomes import AgentInput, AgentOutcome, AgentValue

_TOP_NAMES = 5
_TIERS = ("A", "B", "C")


# Why a record was left out, by the key under which `sales_intelligence` counts it.
_LOSSES = {
    "status": "do not have the status",
    "place": "are not in the place",
    "place_excluded": "are in a place that is excluded",
    "industry": "are not in the industry",
    "industry_excluded": "are in an industry that is excluded",
    "head_count_unknown": "do not tell their employees",
    "head_count": "do not have so many employees",
    "founded_unknown": "do not tell when they were founded",
    "founded": "were not founded then",
    "founders": "do not have so many founders",
    "batch": "are not of the batch",
}


class LeadReportConfig(AgentConfig):
    """What the report shows."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "Qualified leads"
    """Heading of the report."""

    top: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many of the best leads the table shows; without a number, all."""

    columns: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...],
        Field(min_length=1, max_length=50),
    ] = (
        "name",
        "tier",
        "score",
        "place",
        "industries",
        "head_count",
        "website",
        "reasons",
    )
    """Fields of a lead to show, in this order."""


class LeadReport(Agent[LeadReportConfig]):
    """Makes the table and says in a few lines what is in it."""

    type = "lead_report"
    description = "Writes the result: a table of the leads and a short plain summary."
    example: ClassVar[JsonObject] = {"title": "Leads of the week", "top": 25}
    Config = LeadReportConfig

    async def run(
        self, items: Sequence[AgentInput], context: AgentContext[LeadReportConfig]
    ) -> Sequence[AgentOutcome]:
        """Write one report per item."""

        async def handle(item: AgentInput) -> AgentValue:
            return _report(item, context.config)

        return await run_per_item(items, handle, context=context)


def _report(item: AgentInput, config: LeadReportConfig) -> AgentValue:
    tables = [value for value in item.upstream.values() if value.records is not None]
    if not tables:
        raise AgentInputInvalid(
            "No agent before this one brings a table of leads.",
            hint="Put a `sales_intelligence` agent into the workflow, with an edge from it to "
            "this one.",
        )
    leads = [lead for value in tables for lead in value.records or ()]
    found = sum(_number(value.data.get("found"), len(value.records or ())) for value in tables)
    said = _merged([value.data for value in item.upstream.values()])
    shown = leads[: config.top]
    summary: dict[str, JsonValue] = {
        "title": config.title,
        "summary": _summary(leads, found=found, shown=len(shown), said=said),
        "found": found,
        "shown": len(shown),
        "tiers": {tier: sum(lead.get("tier") == tier for lead in leads) for tier in _TIERS},
        "top_leads": [to_json(lead.get("name")) for lead in leads[:_TOP_NAMES]],
        "columns": list(config.columns),
    }
    span = _head_count_span(leads)
    if span is not None:
        summary["head_count"] = {"smallest": span[0], "largest": span[1]}
    rows: list[JsonObject] = [
        {column: to_json(lead.get(column)) for column in config.columns} for lead in shown
    ]
    return AgentValue(data={**said, **summary}, records=tuple(rows))


def _summary(
    leads: Sequence[JsonObject], *, found: int, shown: int, said: Mapping[str, JsonValue]
) -> str:
    sentences = [f"{said['reading']}"] if isinstance(said.get("reading"), str) else []
    if not found:
        sentences.append("No record meets all of this; loosen one of the criteria.")
        sentences += _losses(said)
        return " ".join([*sentences, *_remarks(said)])
    part = "" if shown == found else f", {shown:,} listed"
    sentences.append(f"{found:,} {'lead' if found == 1 else 'leads'} found{part}.")
    counts = [
        f"{number} in tier {tier}"
        for tier in _TIERS
        if (number := sum(lead.get("tier") == tier for lead in leads))
    ]
    if counts:
        sentences.append(f"{_listed(counts)}.")
    names = [str(lead["name"]) for lead in leads[:_TOP_NAMES] if lead.get("name")]
    if names:
        sentences.append(f"At the top: {_listed(names).rstrip('.')}.")
    span = _head_count_span(leads)
    if span is not None:
        low, high = span
        shown_span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        sentences.append(f"They have {shown_span} employees.")
    return " ".join([*sentences, *_remarks(said)])


def _losses(said: Mapping[str, JsonValue]) -> list[str]:
    """Say how many records each criterion left out, in the order in which they were applied."""
    considered, dropped = said.get("considered"), said.get("dropped")
    if not isinstance(considered, int):
        return []
    if not considered:
        return ["There are no records to look at."]
    lost = dropped if isinstance(dropped, dict) else {}
    parts = [
        f"{count:,} {_LOSSES.get(reason, reason)}"
        for reason, count in lost.items()
        if isinstance(count, int)
    ]
    records = "one record" if considered == 1 else f"{considered:,} records"
    return [f"Of {records}, {_listed(parts)}."] if parts else []


def _remarks(said: Mapping[str, JsonValue]) -> list[str]:
    unsupported = said.get("unsupported")
    if not isinstance(unsupported, list) or not unsupported:
        return []
    asked = "; ".join(str(each) for each in unsupported)
    return [f"Not considered, because the records do not tell: {asked}."]


def _head_count_span(leads: Sequence[JsonObject]) -> tuple[int, int] | None:
    counts = [
        count
        for lead in leads
        if isinstance(count := lead.get("head_count"), int) and not isinstance(count, bool)
    ]
    return (min(counts), max(counts)) if counts else None


def _merged(given: Sequence[JsonObject]) -> JsonObject:
    """Collect what the agents before said of the request; the first one to say it is heard."""
    said: JsonObject = {}
    for data in given:
        for key in ("reading", "criteria", "notes", "unsupported", "considered", "dropped"):
            if key in data and key not in said:
                said[key] = to_json(data[key])
    return said


def _number(value: JsonValue, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _listed(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
