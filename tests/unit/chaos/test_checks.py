"""Each check of the chaos test can fail: every doctored row is found, and an honest run is not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from domain.ids import OrgId
from domain.json_data import JsonObject
from tests.chaos.agents import Effect
from tests.chaos.checks import CHECKS, count_repeated, find_problems
from tests.chaos.client import Answer
from tests.chaos.evidence import (
    AgentRunFact,
    AuditFact,
    CounterFact,
    EventFact,
    Evidence,
    ExecutionFact,
)
from tests.chaos.load import Wish

ORG = OrgId("org_1")
NOON = 43_200.0


def execution(id: str, number: int, **changes: Any) -> ExecutionFact:
    fact = ExecutionFact(
        id=id,
        org_id=ORG,
        workflow_id="wf",
        status="COMPLETED",
        attempt=1,
        input_data={"number": number, "modes": {}},
        output={"number": number, "by": "First"},
        error_code=None,
        idempotency_key=f"key {number}",
        batch_id=None,
        is_ordered=True,
        agents=("First",),
    )
    return replace(fact, **changes)


def wish(name: str, inputs: list[JsonObject], *, is_batch: bool = False) -> Wish:
    return Wish(0.0, ORG, "coalesced", name, inputs, 3, is_batch)


def trail(first_seq: int, id: str, *actions: str) -> list[AuditFact]:
    return [
        AuditFact(ORG, first_seq + n, id, f"execution.{action}") for n, action in enumerate(actions)
    ]


def honest() -> Evidence:
    """Make a run in which one was completed, one failed after a lost worker, one was called off."""
    failing: JsonObject = {"number": 2, "modes": {"First": "fail"}}
    executions = [
        execution("a", 1),
        execution("b", 2, status="FAILED", input_data=failing, output=None, attempt=2),
        execution("c", 3, status="CANCELLED", output=None),
    ]
    statuses = {"a": "COMPLETED", "b": "FAILED", "c": "CANCELLED"}
    told = [
        ("a", "PENDING"),
        ("b", "PENDING"),
        ("c", "PENDING"),
        ("a", "RUNNING"),
        ("b", "RUNNING"),
        *statuses.items(),
    ]
    answers = [
        Answer(wish(f"key {n}", [e.input_data]), {e.id}, True) for n, e in enumerate(executions, 1)
    ]
    answers[2].cancel_was_asked = True
    lost: JsonObject = {"number": 4, "modes": {}}
    answers.append(Answer(wish("batch", [lost], is_batch=True)))
    return Evidence(
        executions=executions,
        audit=[
            *trail(1, "a", "created", "started", "completed", "output_read"),
            *trail(11, "b", "created", "started", "requeued", "failed"),
            *trail(21, "c", "created", "cancel_requested", "cancelled"),
        ],
        events=[EventFact(ORG, n, id, status) for n, (id, status) in enumerate(told, 1)],
        agent_runs=[
            AgentRunFact("a", "First", "COMPLETED", NOON),
            AgentRunFact("b", "First", "FAILED", NOON),
        ],
        counters=[CounterFact("wf", 3, 1, 1, 1)],
        broken_chains=[],
        open_runs=[],
        unfinished_in_prefect=[],
        unfinished_tasks=0,
        drift=[],
        effects=[Effect("a", "First", 1, 7, NOON - 0.1)],
        answers=answers,
        max_attempts=3,
    )


def changed(index: int, **changes: Any) -> Callable[[Evidence], Evidence]:
    def change(evidence: Evidence) -> Evidence:
        executions = list(evidence.executions)
        executions[index] = replace(executions[index], **changes)
        return replace(evidence, executions=executions)

    return change


def added(name: str, *items: object) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, **{name: [*getattr(evidence, name), *items]})


def without(name: str, index: int) -> Callable[[Evidence], Evidence]:
    def change(evidence: Evidence) -> Evidence:
        items = list(getattr(evidence, name))
        del items[index]
        return replace(evidence, **{name: items})

    return change


def accepted(index: int, **changes: Any) -> Callable[[Evidence], Evidence]:
    def change(evidence: Evidence) -> Evidence:
        answers = list(evidence.answers)
        answers[index] = replace(answers[index], **changes)
        return replace(evidence, answers=answers)

    return change


DOCTORED = {
    "an accepted execution is not there": without("executions", 0),
    "a key has two executions": added("executions", execution("z", 1)),
    "a key was answered with two ids": accepted(0, ids={"a", "z"}),
    "an accepted batch is not there": accepted(3, is_accepted=True),
    "something is there that nobody asked for": added("executions", execution("z", 9)),
    "an execution has not ended": changed(0, status="RUNNING"),
    "one that should be completed failed": changed(0, status="FAILED", error_code="agent.failed"),
    "one that should fail was completed": changed(1, status="COMPLETED"),
    "one was cancelled that nobody called off": accepted(2, cancel_was_asked=False),
    "one was lost before all its attempts": changed(
        0, status="FAILED", error_code="execution.lost", attempt=2
    ),
    "one was tried more often than allowed": changed(1, attempt=4),
    "the times are out of order": changed(0, is_ordered=False),
    "one has another one's answer": changed(0, output={"number": 2}),
    "an end is missing in the trail": without("audit", 2),
    "an end is in the trail twice": added("audit", *trail(30, "a", "completed")),
    "the trail has another end": added("audit", *trail(30, "b", "completed")),
    "the trail has work after the end": added("audit", *trail(30, "a", "started")),
    "the trail has a return to the queue after the end": added(
        "audit", *trail(30, "a", "requeued")
    ),
    "one was started twice": added("audit", *trail(30, "c", "started", "started")),
    "an attempt has no entry": without("audit", 6),
    "the trail has an execution that is not there": added("audit", *trail(30, "z", "created")),
    "a chain is broken": lambda evidence: replace(evidence, broken_chains=["row 7"]),
    "an event says that it went back": added("events", EventFact(ORG, 9, "a", "RUNNING")),
    "the events do not tell the end": without("events", -1),
    "an event is missing": without("events", 3),
    "an event came twice": added("events", EventFact(ORG, 8, "c", "CANCELLED")),
    "a counter is too high": lambda evidence: replace(
        evidence, counters=[CounterFact("wf", 3, 2, 1, 1)]
    ),
    "an answer was recorded twice": added(
        "agent_runs", AgentRunFact("a", "First", "COMPLETED", NOON)
    ),
    "a completed one lacks an answer": changed(0, agents=("First", "Second")),
    "an agent did its work twice in one attempt": added(
        "effects", Effect("a", "First", 1, 7, NOON - 0.05)
    ),
    "an agent was asked after its answer was recorded": added(
        "effects", Effect("a", "First", 2, 8, NOON + 1)
    ),
    "an answer was recorded of nothing": without("effects", 0),
    "a run is open": lambda evidence: replace(evidence, open_runs=["run_1"]),
    "Prefect has a run left": lambda evidence: replace(
        evidence, unfinished_in_prefect=["run_1 RUNNING"]
    ),
    "Prefect has a task left": lambda evidence: replace(evidence, unfinished_tasks=1),
    "there is drift": lambda evidence: replace(evidence, drift=["counters_off"]),
}


def test_an_honest_run_has_no_problems():
    assert find_problems(honest()) == []


@pytest.mark.parametrize("doctor", DOCTORED.values(), ids=DOCTORED.keys())
def test_every_doctored_row_is_found(doctor: Callable[[Evidence], Evidence]):
    assert find_problems(doctor(honest())) != []


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_finds_something_that_no_other_one_hides(check):
    found = [name for name, doctor in DOCTORED.items() if list(check(doctor(honest())))]
    assert found


def test_an_unanswered_batch_may_be_there_whole():
    whole = execution("d", 4, idempotency_key=None, batch_id="batch")
    evidence = added("executions", whole)(honest())
    problems = find_problems(evidence)
    assert not [problem for problem in problems if "batch" in problem or "asked" in problem]


def test_what_was_lost_in_every_attempt_may_have_failed():
    lost = changed(0, status="FAILED", error_code="execution.lost", attempt=3)(honest())
    assert not [problem for problem in find_problems(lost) if "and not" in problem]


def test_work_that_is_done_again_in_another_attempt_is_counted():
    again = [Effect("a", "First", 1, 7, NOON - 9), Effect("a", "First", 2, 8, NOON - 0.1)]
    evidence = replace(honest(), effects=again)
    assert find_problems(evidence) == []
    assert count_repeated(again) == 1
