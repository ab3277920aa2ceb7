"""Whose work starts next: fair by weight, bounded by limits, and nobody waits for ever."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.fairness import FairPlan, share_of
from domain.ids import OrgId, WorkflowId
from domain.queue_shares import (
    OrgShare,
    Rules,
    WaitingLine,
    WorkerRoom,
    WorkflowShare,
    jain_index,
    level_of,
)


def line(org: str, *, priority: int = 3, age_s: float = 0.0, workflow: str = "") -> WaitingLine:
    return WaitingLine(
        org_id=OrgId(org),
        workflow_id=WorkflowId(workflow or f"wf_{org}"),
        version=1,
        priority=priority,
        oldest_id=f"exec_{org}",
        oldest_age_s=age_s,
    )


def plan(
    *lines: WaitingLine,
    runs: int = 1_000,
    executions: int = 10**9,
    time: float = 0.0,
    orgs: dict[str, OrgShare] | None = None,
    workflows: dict[str, WorkflowShare] | None = None,
    **rules: float,
) -> FairPlan:
    known = {each.org_id: OrgShare() for each in lines} | {
        OrgId(name): share for name, share in (orgs or {}).items()
    }
    flows = {each.workflow_id: WorkflowShare() for each in lines} | {
        WorkflowId(name): share for name, share in (workflows or {}).items()
    }
    room = WorkerRoom(runs=runs, free_runs=runs, free_executions=executions, all_runs=runs)
    return FairPlan(list(lines), known, flows, room, time, Rules(**rules))  # type: ignore[arg-type]


def serve(made: FairPlan, turns: int, *, size: int = 10, ends: bool = True) -> Counter[str]:
    """Serve lines that never run dry; each run ends before the next turn, if `ends`."""
    served: Counter[str] = Counter()
    for _ in range(turns):
        pick = made.choose()
        if pick is None:
            break
        count = min(size, pick.most)
        made.take(pick, count, is_empty=False)
        served[pick.line.org_id] += count
        if ends:
            made.room.free_runs += 1
            made.room.free_executions += count
            made.orgs[pick.line.org_id].runs -= 1
            made.orgs[pick.line.org_id].running -= count
            made.workflows[pick.line.workflow_id].running -= count
    return served


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_shares_are_as_weights(weights: list[int]):
    orgs = {f"o{number}": OrgShare(weight=weight) for number, weight in enumerate(weights)}
    served = serve(plan(*(line(name) for name in orgs), orgs=orgs), turns=40 * sum(weights))
    for name, share in orgs.items():
        fair = share.weight / sum(weights)
        assert served[name] / served.total() == pytest.approx(fair, rel=0.05)


@given(
    st.integers(2, 12),
    st.integers(1, 60),
    st.lists(st.integers(1, 100), min_size=100, max_size=100),
)
def test_nobody_is_ever_ahead_by_more_than_one_run(count: int, turns: int, sizes: list[int]):
    made = plan(*(line(f"o{number}") for number in range(count)))
    served: Counter[str] = Counter()
    for size in sizes[:turns]:
        pick = made.choose()
        assert pick is not None
        made.take(pick, size, is_empty=False)
        served[pick.line.org_id] += size
        made.orgs[pick.line.org_id].runs = 0
        made.orgs[pick.line.org_id].running = 0
    assert max(served.values()) - min(served[f"o{n}"] for n in range(count)) <= 2 * max(sizes)


def test_who_was_idle_has_nothing_saved_up():
    orgs = {"busy": OrgShare(clock=5_000.0), "idle": OrgShare(clock=0.0)}
    served = serve(plan(line("busy"), line("idle"), time=5_000.0, orgs=orgs), turns=20)
    assert served["busy"] == served["idle"]


def test_a_higher_priority_comes_first_whatever_was_served():
    orgs = {"urgent": OrgShare(clock=9_999.0)}
    made = plan(line("calm"), line("urgent", priority=1), orgs=orgs)
    pick = made.choose()
    assert pick is not None
    assert pick.line.org_id == "urgent"


@given(st.integers(1, 5), st.integers(1, 5), st.floats(1, 1_000))
def test_whoever_waits_long_enough_comes_to_the_top(priority: int, other: int, ageing_s: float):
    waits = line("old", priority=priority, age_s=ageing_s * 5)
    rules = Rules(ageing_s=ageing_s)
    assert level_of(waits, rules) == 1 <= level_of(line("new", priority=other), rules)
    pick = plan(line("new", priority=1), waits, ageing_s=ageing_s).choose()
    assert pick is not None
    assert pick.line.org_id == "old"


@given(st.integers(0, 30), st.integers(0, 30), st.integers(5, 50))
def test_no_limit_is_ever_exceeded(org_limit: int, workflow_limit: int, turns: int):
    made = plan(
        line("a", workflow="w1"),
        line("a", workflow="w2"),
        line("b"),
        orgs={"a": OrgShare(max_running=org_limit)},
        workflows={"w1": WorkflowShare(max_running=workflow_limit)},
    )
    serve(made, turns, size=7, ends=False)
    assert made.orgs[OrgId("a")].running <= org_limit
    assert made.workflows[WorkflowId("w1")].running <= workflow_limit
    assert made.orgs[OrgId("b")].running > 0


def test_the_paused_get_nothing():
    made = plan(line("a"), line("b"), orgs={"a": OrgShare(is_paused=True)})
    assert set(serve(made, 10)) == {"b"}


def test_the_last_place_is_kept_for_who_has_nothing_running():
    made = plan(line("heavy"), runs=4)
    serve(made, 10, ends=False)
    assert made.room.free_runs == 1
    made.orgs[OrgId("light")] = OrgShare(clock=10**6)
    made.workflows[WorkflowId("wf_light")] = WorkflowShare()
    made.add_lines([line("light")])
    pick = made.choose()
    assert pick is not None
    assert pick.line.org_id == "light"


def test_a_worker_with_one_place_uses_it():
    made = plan(line("a"), runs=1)
    assert serve(made, 5, ends=False)["a"] == 10


def test_batches_end_where_the_worker_is_full_but_not_for_newcomers():
    made = plan(line("heavy"), executions=25)
    assert serve(made, 10, ends=False)["heavy"] == 30
    made.orgs[OrgId("light")] = OrgShare()
    made.workflows[WorkflowId("wf_light")] = WorkflowShare()
    made.add_lines([line("light")])
    assert serve(made, 10, ends=False) == {"light": 10}


def test_while_others_wait_places_are_dealt_out_by_weight():
    made = plan(line("a"), line("b"), runs=16, orgs={"a": OrgShare(weight=3.0)})
    serve(made, 50, ends=False)
    assert (made.orgs[OrgId("a")].runs, made.orgs[OrgId("b")].runs) == (6, 2)


def test_what_is_urgent_keeps_in_step_with_nobody():
    begun = OrgShare(clock=30.0, running=30, taken=30, runs=1, has_begun=True)
    ahead = OrgShare(clock=30.0, taken=30)
    for priority, expected in ((3, None), (2, "ahead")):
        orgs = {"ahead": ahead, "begun": begun}
        made = plan(line("ahead", priority=priority), orgs=orgs, is_in_step=True)
        pick = made.choose()
        assert (pick and pick.line.org_id) == expected


def test_a_line_whose_rows_are_held_by_others_is_passed_over():
    made = plan(line("a"), line("b"))
    pick = made.choose()
    assert pick is not None
    made.take(pick, 0, is_empty=True)
    after = made.choose()
    assert after is not None
    assert after.line.org_id != pick.line.org_id
    assert made.orgs[pick.line.org_id].clock == 0


def test_a_share_is_a_tenth_while_others_wait_and_all_that_fits_otherwise():
    contended = plan(line("a"), line("b")).choose()
    alone = plan(line("a")).choose()
    assert contended is not None
    assert alone is not None
    assert share_of(contended, waiting=300, taken=0) == 30
    assert share_of(contended, waiting=30, taken=270) == 30
    assert share_of(contended, waiting=8, taken=0) == 25
    assert share_of(contended, waiting=1_500, taken=100) == 400
    assert share_of(contended, waiting=10**6, taken=0) == Rules().max_batch
    assert share_of(alone, waiting=300, taken=0) == Rules().max_batch


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=50))
def test_jains_index_is_between_one_nth_and_one(shares: list[float]):
    assert 1 / len(shares) - 1e-9 <= jain_index(shares) <= 1 + 1e-9


def test_jains_index_of_known_shares():
    assert jain_index([5, 5, 5]) == pytest.approx(1)
    assert jain_index([1, 0, 0, 0]) == pytest.approx(0.25)
    assert jain_index([]) == 1
