"""Shares of what was done, and how equal they are, seen by weight and by what was asked for."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import OrgId
from domain.served import OrgService, choose_shown, deal_fairly, sum_up

WEIGHTS = st.floats(0.01, 1_000)
COUNTS = st.integers(0, 10**6)
CLAIMS = st.lists(st.tuples(WEIGHTS, st.floats(0, 1e6)), max_size=12)


def org(name: str, **known: object) -> OrgService:
    return OrgService(org_id=OrgId(name), **known)  # type: ignore[arg-type]


@st.composite
def platforms(draw: st.DrawFn) -> list[OrgService]:
    return [
        org(
            f"o{number}",
            weight=draw(WEIGHTS),
            waiting=draw(COUNTS),
            running=draw(COUNTS),
            started=draw(COUNTS),
            completed=draw(COUNTS),
            is_held=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 8)))
    ]


@given(platforms())
def test_shares_add_up_to_one_or_are_none(orgs: list[OrgService]):
    found = sum_up(orgs, window_s=60)
    for shares in (found.started, found.completed):
        total = sum(shares.by_org.values())
        assert total == pytest.approx(1) if shares.total else total == 0


@given(platforms())
def test_both_indexes_are_between_one_nth_and_one(orgs: list[OrgService]):
    found = sum_up(orgs, window_s=60).completed
    least = 1 / max(1, len(orgs)) - 1e-9
    assert least <= found.index <= 1 + 1e-9
    assert least <= found.index_of_fair_parts <= 1 + 1e-9


@given(st.floats(0, 1e7), CLAIMS)
def test_all_is_dealt_out_and_to_nobody_more_than_wanted(total: float, claims):
    parts = deal_fairly(total, claims)
    assert all(part <= want + 1e-6 for part, (_, want) in zip(parts, claims, strict=True))
    wanted = min(total, sum(want for _, want in claims))
    assert math.isclose(sum(parts), wanted, rel_tol=1e-6, abs_tol=1e-6)


@given(st.floats(0, 1e7), CLAIMS)
def test_who_gets_less_than_wanted_gets_no_less_for_its_weight_than_anybody(total: float, claims):
    parts = deal_fairly(total, claims)
    most = max((p / w for p, (w, _) in zip(parts, claims, strict=True)), default=0.0)
    for part, (weight, want) in zip(parts, claims, strict=True):
        if part < want * (1 - 1e-9):
            assert part / weight >= most * (1 - 1e-6) - 1e-6


@given(st.lists(st.tuples(WEIGHTS, st.integers(0, 10**6)), min_size=1, max_size=8))
def test_a_fair_dealing_has_the_index_one(claims: list[tuple[float, int]]):
    """What was asked for was done: nobody could have had more, however much the others asked."""
    orgs = [org(f"o{n}", weight=w, completed=done) for n, (w, done) in enumerate(claims)]
    assert sum_up(orgs, window_s=60).completed.index_of_fair_parts == pytest.approx(1)


@given(st.integers(2, 9), st.integers(1, 10**6))
def test_one_that_takes_all_while_others_wait_is_seen(count: int, done: int):
    greedy = org("greedy", completed=done * count, waiting=done * count)
    others = [org(f"o{n}", waiting=done * count) for n in range(1, count)]
    found = sum_up([greedy, *others], window_s=60).completed
    assert found.index == pytest.approx(1 / count)
    assert found.index_of_fair_parts == pytest.approx(1 / count)
    assert found.of(OrgId("greedy")) == 1


def test_a_light_one_that_got_what_it_asked_for_is_no_unfairness():
    light, heavy = org("light", completed=10), org("heavy", completed=990, waiting=10_000)
    found = sum_up([light, heavy], window_s=60).completed
    assert found.index == pytest.approx(1_000**2 / (2 * (10**2 + 990**2)))
    assert found.index_of_fair_parts == pytest.approx(1)


def test_weights_count():
    three, one = (
        org(name, weight=weight, completed=done, waiting=10_000)
        for name, weight, done in (("three", 3.0, 750), ("one", 1.0, 250))
    )
    found = sum_up([three, one], window_s=60).completed
    assert (found.index, found.index_of_fair_parts) == pytest.approx((1, 1))
    assert found.of(OrgId("three")) == 0.75


def test_who_is_paused_or_at_its_own_limit_is_not_wronged():
    held = org("held", waiting=500, is_held=True)
    found = sum_up([held, org("other", completed=100, waiting=10)], window_s=60)
    assert found.completed.index == 1
    assert OrgId("held") not in found.completed.by_org
    assert [each.org_id for each in found.orgs] == ["held", "other"]


def test_nothing_done_is_nothing_unfair():
    found = sum_up([org("a", waiting=5), org("b")], window_s=60)
    assert (found.completed.index, found.completed.index_of_fair_parts) == (1, 1)
    assert [each.org_id for each in found.orgs] == ["a"]


@given(platforms(), st.integers(0, 10))
def test_no_more_are_shown_than_there_is_room_for(orgs: list[OrgService], most: int):
    shown = choose_shown(orgs, most=most)
    assert len(shown) == min(most, len(orgs))
    assert len({each.org_id for each in shown}) == len(shown)


def test_large_ones_do_not_hide_a_small_one_that_waits_for_long():
    large = [org(f"large_{n}", completed=10**6 - n, oldest_age_s=1.0) for n in range(50)]
    shown = choose_shown([*large, org("small", waiting=1, oldest_age_s=900.0)], most=4)
    assert {"large_0", "large_1", "small"} <= {each.org_id for each in shown}
