"""The agent that finds and qualifies leads among an organization's own records."""

import asyncio
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, ValidationError

from agents.connectors.definitions import ObjectType
from agents.errors import AgentInputInvalid
from agents.interface import Agent, AgentConfig, AgentContext
from agents.lead_criteria import LeadCriteria
from agents.leads.columns import LeadFields, find_columns
from agents.leads.filtering import filter_leads
from agents.leads.rows import lead_row, rank_leads
from agents.leads.scoring import ScoringWeights
from agents.leads.table import LeadTable, make_table
from agents.own_thread import call_in_own_thread
from agents.per_item import fail_every, run_per_item
from domain.errors import TenantryError
from domain.json_data import JsonObject, JsonValue
from domain.outcomes import AgentInput, AgentOutcome, AgentValue


class SalesIntelligenceConfig(AgentConfig):
    """Where the records are and how to judge them."""

    connector: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """Name of the organization's connector to read from."""

    object_type: ObjectType
    """Kind of records to read, such as `companies`: a table's or a file's name."""

    fields: LeadFields = LeadFields()
    """Which column holds what; only needed where the columns have unusual names."""

    only_active: bool = True
    """Leave out companies that are no longer active, unless a request speaks of status."""

    max_leads: Annotated[int, Field(ge=1, le=10_000)] = 200
    """How many leads one answer lists at most; the number found is always told."""

    weights: ScoringWeights = ScoringWeights()
    """How much each side of a lead counts."""


class SalesIntelligence(Agent[SalesIntelligenceConfig]):
    """Reads the records once for the whole batch, then applies each item's criteria."""

    type = "sales_intelligence"
    description = (
        "Finds leads in your own records: filters by the criteria of a request, scores every "
        "lead from 0 to 100 and says why."
    )
    example: ClassVar[JsonObject] = {"connector": "crm", "object_type": "companies"}
    Config = SalesIntelligenceConfig
    concurrency = 1

    async def run(
        self, items: Sequence[AgentInput], context: AgentContext[SalesIntelligenceConfig]
    ) -> Sequence[AgentOutcome]:
        """Qualify leads for every item. If the records cannot be read, every item says why."""
        if not items:
            return ()
        started = perf_counter()
        try:
            table = await call_in_own_thread(lambda: _load_table(context), name="connector-read")
        except TenantryError as error:
            share_s = (perf_counter() - started) / len(items)
            return fail_every(items, error, duration_s=share_s)

        async def handle(item: AgentInput) -> AgentValue:
            criteria, carried = _find_criteria(item.upstream)
            # One thread after the other: the table keeps what it compares for the next item.
            return await asyncio.to_thread(
                _qualify, table, criteria, carried=carried, config=context.config
            )

        return await run_per_item(items, handle, context=context, concurrency=self.concurrency)


def _load_table(context: AgentContext[SalesIntelligenceConfig]) -> LeadTable:
    config = context.config
    frame = context.connectors.open(config.connector).load(config.object_type)
    return make_table(frame, find_columns(config.fields, frame))


def _qualify(
    table: LeadTable,
    criteria: LeadCriteria,
    *,
    carried: JsonObject,
    config: SalesIntelligenceConfig,
) -> AgentValue:
    filtered = filter_leads(table, criteria, only_active=config.only_active)
    ranked = rank_leads(table, filtered, criteria, weights=config.weights)
    shown = ranked[: config.max_leads]
    dropped: dict[str, JsonValue] = dict(filtered.dropped)
    return AgentValue(
        data={
            "found": len(ranked),
            "matching": len(filtered.rows),
            "considered": len(table),
            "listed": len(shown),
            "criteria": criteria.model_dump(mode="json", exclude_defaults=True),
            "dropped": dropped,
            **carried,
        },
        records=tuple(lead_row(table, row, scored) for row, scored in shown),
    )


def _find_criteria(upstream: Mapping[str, AgentValue]) -> tuple[LeadCriteria, JsonObject]:
    """Find the criteria among what the agents before this one said, and what to pass on."""
    for value in upstream.values():
        if "criteria" not in value.data:
            continue
        try:
            criteria = LeadCriteria.model_validate(value.data["criteria"])
        except ValidationError as error:
            raise AgentInputInvalid(
                "The criteria that came from the agent before are not understood.",
                hint="Let a `lead_request` agent lead to this one, or give criteria in its form.",
            ) from error
        carried: JsonObject = {
            key: value.data[key] for key in ("reading", "notes", "unsupported") if key in value.data
        }
        return criteria, carried
    raise AgentInputInvalid(
        "No agent before this one says what kind of leads to find.",
        hint="Put a `lead_request` agent into the workflow, with an edge from it to this one.",
    )
