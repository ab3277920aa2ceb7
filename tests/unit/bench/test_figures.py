"""Medians, ratios, and how they are shown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.bench.figures import Line, Measured, Spread, make_ratios
from deployments.bench.report import COLUMNS, line_document, outcome_document, table_rows
from deployments.bench.running import Outcome
from deployments.bench.turns import DBOS_MISSING


def measured(
    count: int = 10,
    seconds: float = 1.0,
    *,
    latencies: tuple[float, ...] = (),
    pickups: tuple[float, ...] = (),
    cut_off_of: int | None = None,
) -> Measured:
    return Measured(
        count=count,
        elapsed_s=seconds,
        latencies_ms=latencies,
        pickups_ms=pickups,
        cut_off_of=cut_off_of,
        cpu_s={"worker": 0.5},
    )


def all_lines() -> list[Line]:
    return [
        Line("bare", 1, [measured(3, latencies=(300.0, 100.0, 200.0))]),
        Line("bare", 8, [measured(4), measured(6), measured(5)]),
        Line("dbos", 8, [measured(50)]),
        Line("dbos", 32, [measured(40)]),
        Line("single", 1, [measured(latencies=(250.0, 300.0, 350.0), pickups=(60.0, 90.0, 80.0))]),
        Line("single", 8, [measured(latencies=(9_000.0,), pickups=(9_000.0,))]),
        Line("coalesced", None, [measured(20_000, 40.0)]),
        Line("process_worker", 1, [measured(1, latencies=(6_000.0,))]),
    ]


def test_throughput_is_set_against_the_best_that_the_other_side_reached():
    ratios = make_ratios(all_lines())
    assert ratios["coalesced_over_dbos"] == 10
    assert ratios["coalesced_over_bare"] == 100


def test_latency_is_compared_with_one_at_a_time():
    ratios = make_ratios(all_lines())
    assert ratios["single_latency_over_bare"] == 1.5
    assert ratios["single_latency_over_process_worker"] == 0.05
    assert ratios["pickup_ms_p50"] == 80


@pytest.mark.parametrize(
    ("missing", "ratio"),
    [
        ("dbos", "coalesced_over_dbos"),
        ("bare", "coalesced_over_bare"),
        ("bare", "single_latency_over_bare"),
        ("single", "pickup_ms_p50"),
    ],
)
def test_what_was_not_measured_is_compared_with_nothing(missing: str, ratio: str):
    lines = [line for line in all_lines() if line.contender != missing]
    assert make_ratios(lines)[ratio] is None
    assert [name for name, value in make_ratios(lines).items() if value is None].count(ratio) == 1


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=9))
def test_a_median_lies_between_the_least_and_the_most(values: list[float]):
    spread = Spread.of(values)
    assert min(values) == spread.least <= spread.median <= spread.most == max(values)


def test_cpu_is_for_each_execution():
    line = Line("single", 1, [measured(10), measured(20), measured(50)])
    assert line.cpu_ms() == {"worker": 25}


def test_the_document_has_all_ratios_and_is_json():
    outcome = Outcome(lines=all_lines(), problems=["Something is wrong."])
    document = json.loads(json.dumps(outcome_document(outcome, rounds=3), allow_nan=False))
    assert set(document["ratios"]) == {
        "coalesced_over_dbos",
        "coalesced_over_bare",
        "single_latency_over_bare",
        "single_latency_over_process_worker",
        "pickup_ms_p50",
    }
    assert document["problems"] == ["Something is wrong."]
    assert [line["contender"] for line in document["lines"]].count("bare") == 2


def test_a_round_that_was_cut_off_says_how_far_it_came():
    line = Line("coalesced", None, [measured(300, 120.0, cut_off_of=20_000), measured(20_000, 30)])
    assert line_document(line)["cut_off"] is True
    (row,) = table_rows([line])
    assert "cut off after 120 s with 300 of 20,000 done" in row[-1]


def test_a_table_without_dbos_says_how_to_get_it():
    (row,) = table_rows([Line("dbos", None, (), missing=DBOS_MISSING)])
    assert len(row) == len(COLUMNS)
    assert row[-1] == "DBOS is not installed: uv sync --group bench"


def test_a_table_shows_the_median_with_the_least_and_the_most():
    (row,) = table_rows([Line("bare", 8, [measured(400), measured(600), measured(500)])])
    assert row[:3] == ("bare Prefect", "8", "500 (400–600)")
