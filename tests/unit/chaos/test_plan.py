"""A seed gives the same faults and the same load, always, and another seed gives others."""

import pytest

from deployments.embedded.specs import POSTGRES, PREFECT
from tests.chaos.load import ORGS, SINGLE, expect_status, make_load
from tests.chaos.plan import LINKS, SERVICES, FaultKind, describe_plan, make_plan

SEEDS = range(1, 40)


@pytest.mark.parametrize("make", [make_plan, make_load])
def test_a_seed_says_everything(make):
    assert make(7, length_s=60) == make(7, length_s=60) != make(8, length_s=60)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_service_is_killed_and_every_link_is_hit_in_every_way_there_is(seed: int):
    plan = make_plan(seed, length_s=60)
    killed = [fault.service for fault in plan if fault.kind is FaultKind.KILL]
    assert set(killed) == set(SERVICES)
    # More often, and the keeper of the services would give it up.
    assert max(map(killed.count, SERVICES)) <= 3
    assert {(fault.service, fault.server) for fault in plan if fault.server} == set(LINKS)
    assert {fault.kind for fault in plan} == set(FaultKind)
    assert {server for _, server in LINKS} == {POSTGRES, PREFECT}
    assert [fault.at_s for fault in plan] == sorted(fault.at_s for fault in plan)
    assert all(3 <= fault.at_s <= 60 for fault in plan)


def test_a_wish_that_is_made_anew_shares_no_number_and_no_name():
    (wish, *_) = [wish for wish in make_load(7, length_s=60) if wish.is_batch]
    anew = [wish.anew(1), wish.anew(2)]
    assert len({number for each in (wish, *anew) for number in each.numbers}) == 150
    assert len({each.name for each in (wish, *anew)}) == 3
    assert anew[0].numbers[0] > 3_000


def test_a_plan_is_written_down_with_its_seed():
    plan = make_plan(7, length_s=60)
    lines = describe_plan(7, plan).splitlines()
    assert lines[0] == f"seed 7: {len(plan)} faults"
    assert len(lines) == len(plan) + 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_load_is_three_thousand_executions_of_six_organizations(seed: int):
    load = make_load(seed, length_s=60)
    numbers = [number for wish in load for number in wish.numbers]
    assert sorted(numbers) == list(range(3_000))
    assert {wish.org_id for wish in load} == set(ORGS)
    assert len({wish.name for wish in load}) == len(load)
    singles = [wish for wish in load if wish.workflow == SINGLE]
    assert {wish.org_id for wish in singles} == set(ORGS)
    assert {len(wish.inputs) for wish in singles} == {1}
    assert len({wish.priority for wish in load}) == 5
    assert any(wish.cancel_after_s is not None for wish in load)
    expected = {expect_status(given).value for wish in load for given in wish.inputs}
    assert expected == {"COMPLETED", "FAILED"}
