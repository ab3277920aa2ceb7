"""The three agents: one outcome per item, in order, over real records."""

import asyncio
import json
import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.connectors.definitions import DatasetConnector
from agents.connectors.opening import OrgConnectors
from agents.connectors.parquet import dataset_bytes
from agents.errors import AgentInputInvalid
from agents.interface import AgentConfig
from agents.lead_criteria import LeadCriteria
from agents.lead_report import _LOSSES, LeadReport, LeadReportConfig
from agents.lead_request import LeadRequest, LeadRequestConfig
from agents.leads.columns import LeadFields, find_columns
from agents.leads.filtering import _masks
from agents.leads.table import make_table
from agents.per_item import run_per_item
from agents.sales_intelligence import SalesIntelligence, SalesIntelligenceConfig
from domain.errors import ErrorCode
from domain.json_checks import find_json_problems
from domain.outcomes import AgentInput, AgentValue
from tests.unit.agents.conftest import ask, context_of, run_one

CANONICAL = "Find qualified leads for enterprise software in San Francisco with 100+ employees"
CRM = SalesIntelligenceConfig(connector="crm", object_type="companies")


def wanting(**criteria) -> AgentInput:
    """Make an item whose criteria an agent before has read."""
    return ask("…", request=AgentValue({"criteria": criteria}))


async def qualify(item, connectors, config=CRM):
    return await run_one(SalesIntelligence(), item, config=config, connectors=connectors)


async def leads_for(text, connectors, config=CRM) -> AgentValue:
    read = await run_one(
        LeadRequest(), ask(text), config=LeadRequestConfig(), connectors=connectors
    )
    found = await qualify(ask(text, request=read.value), connectors, config)
    assert found.value is not None, found.failure
    return found.value


async def test_the_canonical_request_finds_software_makers_and_not_their_neighbours(listed):
    found = await leads_for(CANONICAL, listed)
    names = {lead["name"] for lead in found.records}
    assert {"Salesforce", "Autodesk"} <= names
    assert not names & {"Wells Fargo", "Prologis", "Williams-Sonoma, Inc.", "Sunrun"}


async def test_every_lead_has_a_score_a_tier_and_reasons_and_the_best_come_first(listed):
    found = await leads_for("software companies in the US with 1,000+ employees", listed)
    scores = [lead["score"] for lead in found.records]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 100 for score in scores)
    assert all(lead["tier"] in ("A", "B", "C") and lead["reasons"] for lead in found.records)


async def test_every_record_is_either_found_or_counted_as_dropped(startups):
    found = await leads_for("fintech in New York with 50+ employees, not acquired", startups)
    data = found.data
    assert data["matching"] + sum(data["dropped"].values()) == data["considered"] == 4663


async def test_inactive_companies_are_leads_only_when_asked_for(startups):
    alive = await leads_for("edtech in the US", startups)
    dead = await leads_for("inactive edtech in the US", startups)
    assert {lead["status"] for lead in alive.records} & {"inactive"} == set()
    assert {lead["status"] for lead in dead.records} == {"inactive"}


async def test_canada_is_not_california(startups):
    found = await leads_for("companies in Canada with 50+ people", startups)
    assert {lead["country"] for lead in found.records} == {"CA"}
    found = await leads_for("saas in California with 50+ people", startups)
    assert {lead["country"] for lead in found.records} == {"US"}


async def test_the_order_does_not_depend_on_the_order_of_the_records(startups, shared_data):
    frame = startups.open("crm").load("companies").sample(frac=1, random_state=7)
    shuffled = OrgConnectors(
        {"crm": DatasetConnector(kind="dataset")},
        data_root=shared_data,
        read_dataset=lambda _name: dataset_bytes(frame),
    )
    text = "b2b saas in San Francisco, 20 to 90 people"
    first, second = await leads_for(text, startups), await leads_for(text, shuffled)
    assert [lead["id"] for lead in first.records] == [lead["id"] for lead in second.records]


async def test_a_field_map_that_names_no_column_names_the_columns_there(listed):
    config = CRM.model_copy(update={"fields": LeadFields(head_count="employes")})
    outcome = await qualify(wanting(places=["Boston"]), listed, config)
    assert outcome.failure.code is ErrorCode.DATA_FIELD_MISSING
    assert "`employees`" in outcome.failure.hint
    assert "`headquarters`" in outcome.failure.hint


async def test_an_item_without_criteria_fails_alone(listed):
    agent = SalesIntelligence()
    items = [wanting(places=["Boston"]), ask("nothing before"), wanting(places=["Atlanta"])]
    outcomes = await agent.run(items, context_of(CRM, listed))
    assert [outcome.failure is None for outcome in outcomes] == [True, False, True]
    assert outcomes[1].failure.code is ErrorCode.AGENT_INPUT_INVALID


async def test_a_missing_connector_is_every_items_failure(listed):
    config = CRM.model_copy(update={"connector": "cmr"})
    outcomes = await SalesIntelligence().run(
        [wanting(places=["Boston"])] * 2, context_of(config, listed)
    )
    assert {outcome.failure.code for outcome in outcomes} == {ErrorCode.CONNECTOR_NOT_FOUND}
    assert "Did you mean `crm`?" in outcomes[0].failure.hint


async def test_records_with_nul_nan_dates_and_lists_become_storable_json():
    frame = pd.DataFrame(
        {
            "name": ["Ac\x00me 🦄", "Globex"],
            "city": ["Boston", "Boston"],
            "tags": [np.asarray(["saas", "b2b"]), None],
            "employees": [12.0, float("nan")],
            "country": [pd.Timestamp("2024-01-01"), pd.NaT],
            "website": [float("nan"), "x" * 1_000_000],
        }
    ).astype({"country": "object"})

    class Given:
        def open(self, _name):
            return self

        def load(self, _object_type):
            return frame

    outcome = await qualify(wanting(places=["Boston"]), Given())
    rows = list(outcome.value.records)
    assert find_json_problems(rows, pointer="", code=ErrorCode.FIELD_INVALID) == []
    assert {row["name"] for row in rows} == {"Acme 🦄", "Globex"}
    json.dumps(rows, allow_nan=False)


@pytest.mark.parametrize("text", [None, "", "   ", 5, "a" * 20_001, "fintech\x00", "\ud800"])
async def test_an_unusable_text_is_refused_with_a_hint(text, listed):
    outcome = await run_one(LeadRequest(), ask(text), config=LeadRequestConfig(), connectors=listed)
    assert outcome.failure.code is ErrorCode.AGENT_INPUT_INVALID
    assert outcome.failure.hint


async def test_a_request_says_which_reading_it_took(listed):
    outcome = await run_one(
        LeadRequest(), ask(CANONICAL), config=LeadRequestConfig(), connectors=listed
    )
    assert outcome.value.data["reading"] == (
        "Read as: companies that work in enterprise software (not: that buy it), "
        "in San Francisco, with at least 100 employees, inactive companies left out."
    )


async def test_the_report_shows_the_top_and_counts_all(startups):
    leads = await leads_for("fintech in New York with revenue over $5M", startups)
    outcome = await run_one(
        LeadReport(),
        ask("…", qualify=leads),
        config=LeadReportConfig(top=3, columns=("name", "score")),
        connectors=startups,
    )
    data = outcome.value.data
    assert [set(row) for row in outcome.value.records] == [{"name", "score"}] * 3
    assert data["found"] == leads.data["found"] > 3
    assert sum(data["tiers"].values()) == len(leads.records)
    assert "Not considered" in data["summary"]
    assert "revenue over $5M" in data["summary"]


async def test_a_report_of_nothing_says_so(startups):
    leads = await leads_for("fintech in Antarctica", startups)
    outcome = await run_one(
        LeadReport(), ask("…", q=leads), config=LeadReportConfig(), connectors=startups
    )
    assert outcome.value.records == ()
    summary = outcome.value.data["summary"]
    assert "No record meets all of this" in summary
    considered, dropped = leads.data["considered"], leads.data["dropped"]
    assert f"Of {considered:,} records, " in summary
    # Each record was left out by one criterion, and each criterion is named with its number.
    assert sum(dropped.values()) == considered
    assert all(f"{count:,} " in summary for count in dropped.values())
    assert f"{dropped['place']:,} are not in the place" in summary


def test_every_reason_for_leaving_a_record_out_has_its_words(startups):
    frame = startups.open("crm").load("companies")
    table = make_table(frame, find_columns(LeadFields(), frame))
    criteria = LeadCriteria.model_validate(
        {
            "places": ["Ohio"],
            "places_not": ["Utah"],
            "industries": [["fintech"]],
            "industries_not": ["health"],
            "head_count_min": 1,
            "founded_min": 1900,
            "founders_min": 1,
            "batches": ["W21"],
        }
    )
    reasons = {reason for reason, _ in _masks(table, criteria, only_active=True)}
    assert reasons <= _LOSSES.keys()
    assert len(reasons) >= 8


async def test_a_report_without_leads_before_it_is_refused(listed):
    outcome = await run_one(LeadReport(), ask("…"), config=LeadReportConfig(), connectors=listed)
    assert outcome.failure.code is ErrorCode.AGENT_INPUT_INVALID


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["good", "ours", "foreign"]), max_size=12))
def test_one_outcome_per_item_in_order_and_no_failure_touches_a_neighbour(kinds):
    async def handle(item: AgentInput) -> AgentValue:
        kind = item.input_data["text"]
        await asyncio.sleep(0)
        if kind == "ours":
            raise AgentInputInvalid("No.", hint="Do so.")
        if kind == "foreign":
            raise KeyError("secret")
        return AgentValue({"id": item.execution_id})

    items = [ask(kind) for kind in kinds]
    context = context_of(AgentConfig(), OrgConnectors({}, data_root=None, read_dataset=None))
    context.log.setLevel(logging.CRITICAL)
    outcomes = asyncio.run(run_per_item(items, handle, context=context, concurrency=3))
    assert len(outcomes) == len(items)
    for kind, item, outcome in zip(kinds, items, outcomes, strict=True):
        if kind == "good":
            assert outcome.value.data == {"id": item.execution_id}
        elif kind == "ours":
            assert (outcome.failure.message, outcome.failure.hint) == ("No.", "Do so.")
        else:
            assert outcome.failure.code is ErrorCode.AGENT_FAILED
            assert "secret" not in outcome.failure.message + outcome.failure.hint
            assert item.execution_id in outcome.failure.hint


async def test_an_unexpected_error_is_logged_with_the_execution_id(listed, caplog):
    async def handle(_item: AgentInput) -> AgentValue:
        raise KeyError("what went wrong")

    item = ask("…")
    logging.getLogger("tests.agents").setLevel(logging.ERROR)
    await run_per_item([item], handle, context=context_of(AgentConfig(), listed))
    assert item.execution_id in caplog.text
    assert "what went wrong" in caplog.text


async def test_cancellation_ends_the_batch(listed):
    async def handle(_item: AgentInput) -> AgentValue:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run_per_item([ask("…")], handle, context=context_of(AgentConfig(), listed))
