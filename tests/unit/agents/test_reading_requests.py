"""What sentences mean: rules, not sentences learnt by heart."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.errors import RequestUnclear
from agents.requests.reading import read_request
from benchmarks.lead_requests import measure, summary


def criteria_of(text: str) -> dict[str, object]:
    found = read_request(text, this_year=2026).criteria
    return found.model_dump(mode="json", exclude_defaults=True)


@pytest.mark.parametrize(
    ("words", "low", "high"),
    [
        ("100+ employees", 100, None),
        ("at least 30 heads", 30, None),
        ("fifty or more employees", 50, None),
        ("5 people minimum", 5, None),
        ("no fewer than fifteen people", 15, None),
        ("a thousand+ staff", 1000, None),
        ("more than 20 staff", 21, None),
        ("headcount north of 150", 151, None),
        ("more than a dozen people", 13, None),
        ("more then 5 ppl", 6, None),
        ("under 10 people", None, 9),
        ("no more than 40 workers", None, 40),
        ("up to 60 ppl", None, 60),
        ("15 employees or fewer", None, 15),
        ("between 50 and 200 ppl", 50, 200),
        ("11-50 employees", 11, 50),
        ("a dozen to fifty employees", 12, 50),
        ("double-digit headcount", 10, 99),
        ("headcount in three figures", 100, 999),
        ("at least 10 but no more than 30 people", 10, 30),
        ("nothing under 50 people", 50, None),
    ],
)
def test_a_number_of_employees_is_read(words, low, high):
    found = criteria_of(f"companies in Boston, {words}")
    assert (found.get("head_count_min"), found.get("head_count_max")) == (low, high)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("fintech in SF", ["San Francisco"]),
        ("b2b saas san fransisco", ["San Francisco"]),
        ("fintech, South SF", ["South San Francisco"]),
        ("marketplaces in Paris, Berlin or London", ["Paris", "Berlin", "London"]),
        ("Bangalore-based saas", ["Bengaluru"]),
        ("German fintechs", ["Germany"]),
        ("give us fintech in the us", ["United States"]),
        ("GIVE ME FINTECH IN THE US", ["United States"]),
        ("biotech in Cambridge, UK", ["Cambridge, United Kingdom"]),
        ("marketing in Portland (Maine, not Oregon)", ["Portland, ME"]),
        ("companies in London, Ontario", ["London, ON"]),
        ("edtech in New York State", ["New York State"]),
        ("biotech in CA", ["California"]),
    ],
)
def test_places_are_read_with_what_stands_beside_them(text, places):
    assert criteria_of(text)["places"] == places


@pytest.mark.parametrize(
    ("text", "field", "unwanted"),
    [
        ("saas in Boston, no fintech", "industries_not", ["fintech"]),
        ("saas in Boston, leave out crypto or gaming", "industries_not", ["crypto", "gaming"]),
        (
            "saas in Boston, no fintech, crypto or gaming, 10+",
            "industries_not",
            ["fintech", "crypto", "gaming"],
        ),
        ("security in California outside San Francisco", "places_not", ["San Francisco"]),
        ("fintech across LatAm except Brazil", "places_not", ["Brazil"]),
        ("non-US insurance companies", "places_not", ["United States"]),
        ("fintech excluded, everything in Boston", "industries_not", ["fintech"]),
        ("crypto, but no NFT stuff", "industries_not", ["nft"]),
    ],
)
def test_exclusions_reach_as_far_as_people_mean_them(text, field, unwanted):
    assert criteria_of(text)[field] == unwanted


def test_an_exclusion_does_not_reach_the_next_criterion():
    found = criteria_of("gaming studios, not mobile, LA, 10+ people")
    assert found == {"industries": [["gaming"]], "places": ["Los Angeles"], "head_count_min": 10}


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("b2b saas in Boston", [["b2b", "saas"]]),
        ("logistics or supply chain", [["logistics"], ["supply chain"]]),
        ("AI for healthcare", [["ai", "healthcare"]]),
        ("AI for healthcare or insurance", [["ai", "healthcare"], ["ai", "insurance"]]),
        ("helthcare firms", [["healthcare"]]),
        ("we sell payroll software; find food delivery companies", [["food delivery"]]),
    ],
)
def test_industries_side_by_side_must_all_fit_and_joined_ones_are_alternatives(text, groups):
    assert criteria_of(text)["industries"] == groups


@pytest.mark.parametrize(
    ("words", "statuses"),
    [
        ("acquired", ["acquired"]),
        ("active only", ["active"]),
        ("not acquired", ["active", "public"]),
        ("exclude anything that's shut down or been bought", ["active", "public"]),
        ("including dead ones", ["active", "public", "acquired", "inactive"]),
        ("public or acquired", ["public", "acquired"]),
    ],
)
def test_words_of_status_are_read(words, statuses):
    assert criteria_of(f"fintech in Boston, {words}")["statuses"] == statuses


def test_orders_limits_years_batches_and_founders_are_read():
    assert criteria_of("the ten biggest robotics companies in the States") == {
        "industries": [["robotics"]],
        "places": ["United States"],
        "sort": "largest_first",
        "limit": 10,
    }
    assert criteria_of("pre-2012 companies")["founded_max"] == 2011
    assert criteria_of("founded in the last three years, fintech")["founded_min"] == 2023
    assert criteria_of("French AI startups, S19 or winter 2020 batch")["batches"] == ["S19", "W20"]
    assert criteria_of("solo founders in devtools")["founders_max"] == 1


def test_what_no_record_tells_is_reported_and_left_out():
    found = read_request("fintech in Boston with revenue above $10M", this_year=2026)
    assert found.unsupported == ("revenue above $10M",)
    assert found.criteria.head_count_min is None


@pytest.mark.parametrize(
    "text",
    [
        "qualified leads near me",
        "give me some good leads",
        "fintech with more than 500 but fewer than 100 employees",
        "fintech but no fintech",
        "companies in Chicago but not in Illinois",
        "companies with revenue above $10M",
        "🦄🦄🦄",
    ],
)
def test_a_request_that_cannot_be_answered_asks_back_with_a_hint(text):
    with pytest.raises(RequestUnclear) as refused:
        read_request(text, this_year=2026)
    assert refused.value.hint


PIECES = (
    "not no except fintech AI in the Boston Georgia , ( ) . - 5 1,000 99999999999 people between",
    "and to over under founded before 2015 0 founders W21 top biggest acquired revenue $5M us US",
    "🦄 % k one hundred dozen pre- zero excl. both for",
)
WORDS = st.sampled_from(" ".join(PIECES).split())


@settings(max_examples=300)
@given(st.one_of(st.lists(WORDS, max_size=25).map(" ".join), st.text(max_size=120)))
def test_any_text_is_read_or_refused_in_our_own_words(text):
    try:
        found = read_request(text, this_year=2026)
    except RequestUnclear:
        return
    assert found.reading.startswith("Read as: ")
    assert not found.criteria.is_empty()


def test_the_labelled_requests_are_answered_company_by_company(shared_data):
    scored = asyncio.run(measure(shared_data / "requests" / "requests_dev.jsonl", shared_data))
    exact, f1 = summary(scored)
    assert exact >= 0.95, [each.id for each in scored if not each.exact]
    assert f1 >= 0.98
