"""Dirty values become comparable ones, and never an exception."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.connectors.listed_companies import listed_companies
from agents.json_output import to_json
from agents.normalize.head_counts import MAX_HEAD_COUNT, parse_head_count
from agents.normalize.tags import split_labels, split_tags
from agents.normalize.years import parse_year
from agents.places.addresses import parse_locations
from agents.places.gazetteer import Location, load_gazetteer
from domain.errors import ErrorCode
from domain.json_checks import find_json_problems

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=60),
    st.binary(max_size=9),
)


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("23,299 (December, 2024)", 23_299),
        ("c. 3,500", 3_500),
        ("c.250 (2024)", 250),
        ("~1.2 million", 1_200_000),
        ("1,234 employees", 1_234),
        ("10-50", 10),
        ("2.5k", 2_500),
        ("360,000+ (2025)", 360_000),
        ("9 000 (2024)", 9_000),
        ("14.046 (December 2022)", 14_046),
        ("10,118 (FY25)", 10_118),
        ("337 (non-consolidated) 5,422 (consolidated) (2017)", 5_422),
        ("8,056 (44,495 consolidated)", 44_495),
        ("5,494 (Consolidated:44,336) (2022)", 44_336),
        ("Over 1 million (est.)", 1_000_000),
        (2276, 2_276),
        (12.0, 12),
    ],
)
def test_a_head_count_is_read_however_it_is_written(written, count):
    assert parse_head_count(written) == count


@pytest.mark.parametrize(
    "written", ["-1", -1, 0, "0", "unknown", "", None, math.nan, "(2024)", True]
)
def test_what_says_no_head_count_is_unknown(written):
    assert parse_head_count(written) is None


@given(st.integers(min_value=1, max_value=MAX_HEAD_COUNT), st.integers(1900, 2030))
def test_a_count_with_separators_and_a_date_is_read_back(count, year):
    assert parse_head_count(f"c. {count:,} (as of March 31, {year})") == count


@given(ANYTHING)
def test_a_head_count_is_positive_and_plausible_or_unknown(value):
    count = parse_head_count(value)
    assert count is None or 0 < count <= MAX_HEAD_COUNT


@given(ANYTHING)
def test_a_year_is_a_year_or_unknown(value):
    year = parse_year(value)
    assert year is None or 1500 <= year <= 2099


@pytest.mark.parametrize(
    ("written", "year"),
    [
        ("1988 ; 38 years ago ( 1988 )", 1988),
        ("June 1, 1948 in Tokyo", 1948),
        ("2020.0", 2020),
        ("0", None),
    ],
)
def test_a_year_is_found_in_its_remarks(written, year):
    assert parse_year(written) == year


@pytest.mark.parametrize(
    ("written", "country", "city", "region", "in_country"),
    [
        ("San Francisco", "US", "san francisco", "CA", "US"),
        ("  san FRANCISCO ", None, "san francisco", "CA", "US"),
        ("South San Francisco, CA", "US", "south san francisco", "CA", "US"),
        ("Ontario, CA", "US", "ontario", "CA", "US"),
        ("Toronto, Canada", "CA", "toronto", "ON", "CA"),
        ("Claymont, DE", "US", "claymont", "DE", "US"),
        ("Berlin, DE", None, "berlin", None, "DE"),
        ("Berlin, Singapore", "SG", "berlin", None, "SG"),
        ("Cambridge, United Kingdom", "GB", "cambridge", None, "GB"),
        ("Cambridge, MA", "US", "cambridge", "MA", "US"),
        ("NY", "US", None, "NY", "US"),
        ("CA", "CA", None, None, "CA"),
        ("Windhoek, Namibia", "NA", "windhoek", None, "NA"),
        (
            "1725 3rd St. San Francisco , California, United States",
            None,
            "san francisco",
            "CA",
            "US",
        ),
    ],
)
def test_a_place_is_read_with_what_the_country_settles(written, country, city, region, in_country):
    assert parse_locations(written, country=country) == (Location(city, region, in_country),)


def test_every_seat_of_a_company_is_read():
    found = parse_locations(
        "Sydney , New South Wales , Australia San Francisco , United States", country=None
    )
    assert [location.city for location in found] == ["sydney", "san francisco"]


def test_a_remark_in_parentheses_is_no_city():
    found = parse_locations("San Francisco , U.S. (corporate) New York City , U.S. (executive)")
    assert [location.city for location in found] == ["san francisco", "new york city"]


def test_remote_is_not_in_oregon():
    oregon = load_gazetteer().resolve("Oregon")
    assert not any(oregon.covers(each) for each in parse_locations("Remote, OR", country="US"))


@given(st.text(max_size=200), st.sampled_from([None, "US", "CA", "DE"]))
def test_any_text_is_read_as_some_places(text, country):
    for location in parse_locations(text, country=country):
        assert location != Location()


@given(ANYTHING)
def test_tags_and_labels_have_no_blanks_around_them_and_no_repeats(value):
    for found in (split_tags(value), split_labels(value)):
        assert len(set(found)) == len(found)
        assert all(part and part == part.strip() for part in found)


def test_a_comma_is_part_of_a_label_and_separates_tags():
    assert split_labels("Hotels, Motels & Cruise Lines|Retail") == (
        "Hotels, Motels & Cruise Lines",
        "Retail",
    )
    assert split_tags("SaaS, Real Estate") == ("saas", "real-estate")


@given(st.recursive(ANYTHING, lambda inner: st.lists(inner, max_size=3), max_leaves=8))
def test_whatever_a_source_holds_leaves_as_storable_json(value):
    found = to_json({"value": value, "array": np.asarray([1.5, math.nan])})
    assert find_json_problems(found, pointer="", code=ErrorCode.FIELD_INVALID) == []


def test_the_demo_records_are_the_1837_listed_companies_with_what_can_be_read_of_them():
    frame = listed_companies()
    assert len(frame) == 1837
    assert frame["name"].is_unique
    counts = [parse_head_count(value) for value in frame["employees"]]
    written = [value for value in frame["employees"] if value not in ("", "0")]
    assert sum(count is not None for count in counts) >= 0.99 * len(written)
