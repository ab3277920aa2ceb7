"""What must hold after a run, as pure functions: evidence in, sentences of what is wrong out."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import pairwise
from typing import TypeVar

from domain.errors import ErrorCode
from domain.execution_ends import END_ACTIONS, end_action
from domain.executions import FINAL, ExecutionStatus
from tests.chaos.agents import Effect
from tests.chaos.evidence import Evidence, ExecutionFact
from tests.chaos.load import expect_status, number_of

T = TypeVar("T")
_RANKS = {
    ExecutionStatus.PENDING.value: 0,
    ExecutionStatus.RUNNING.value: 1,
    ExecutionStatus.PAUSED.value: 1,
    **{status.value: 2 for status in FINAL},
}
# What an entry of the trail says that an execution is from then on; others move nothing.
_STATUS_BY_ACTION = {
    "execution.created": ExecutionStatus.PENDING.value,
    "execution.started": ExecutionStatus.RUNNING.value,
    "execution.paused": ExecutionStatus.PAUSED.value,
    **{end_action(status): status.value for status in FINAL},
}
# Nothing of this may follow an execution's end.
_WORK = frozenset({"execution.created", "execution.started", "execution.paused"}) | END_ACTIONS
_REQUEUED = "execution.requeued"
_COMPLETED = ExecutionStatus.COMPLETED.value


def find_problems(evidence: Evidence) -> list[str]:
    """Check everything; no problem is hidden by another one."""
    return [problem for check in CHECKS for problem in check(evidence)]


def check_all_are_there_once(evidence: Evidence) -> Iterable[str]:
    """Every accepted wish is there once, an unanswered batch whole or not at all."""
    by_number = Counter(number_of(e.input_data) for e in evidence.executions)
    ids = _group(evidence.executions, lambda e: e.idempotency_key or e.batch_id or "")
    wished: set[int] = set()
    for answer in evidence.answers:
        wish = answer.wish
        wished |= set(wish.numbers)
        counts = {by_number[number] for number in wish.numbers}
        if counts != {1} and (answer.is_accepted or not wish.is_batch or counts != {0}):
            yield f"{wish.name} is there {sorted(counts)} times, accepted: {answer.is_accepted}"
        found = {e.id for e in ids.get(wish.name, ())}
        if answer.ids and answer.ids != found:
            yield f"{wish.name} was answered {sorted(answer.ids)[:3]}, and is {sorted(found)[:3]}"
    for number in by_number.keys() - wished:
        yield f"nobody asked for number {number}"


def check_all_ended_as_they_must(evidence: Evidence) -> Iterable[str]:
    """Every execution is final, in the way that its input asked for, with its own answer."""
    called_off = {id for a in evidence.answers if a.cancel_was_asked for id in a.ids}
    for each in evidence.executions:
        wanted = {expect_status(each.input_data).value}
        if each.id in called_off:
            wanted.add(ExecutionStatus.CANCELLED.value)
        if each.status not in _RANKS or _RANKS[each.status] < 2:
            yield f"{each.id} is {each.status}"
        elif each.status not in wanted and not _is_lost(each, evidence.max_attempts):
            yield f"{each.id} is {each.status} ({each.error_code}), and not {sorted(wanted)}"
        if not each.is_ordered:
            yield f"{each.id} was not created, started and completed in this order"
        if each.status == _COMPLETED:
            numbers = set(_numbers_in(each.output))
            if numbers != {number_of(each.input_data)}:
                yield f"{each.id} has the answer of {sorted(numbers)}"
        if each.attempt > evidence.max_attempts:
            yield f"{each.id} was tried {each.attempt} times"


def check_audit(evidence: Evidence) -> Iterable[str]:
    """Each execution has one terminal entry, its last one, and moved forwards only."""
    trails = _group(evidence.audit, lambda entry: entry.execution_id)
    for each in evidence.executions:
        actions = [entry.action for entry in trails.get(each.id, ())]
        ends = [action for action in actions if action in END_ACTIONS]
        if ends != [f"execution.{each.status.lower()}"]:
            yield f"{each.id} is {each.status}, and the trail has the ends {ends}"
        told = [_STATUS_BY_ACTION[a] for a in actions if a in _STATUS_BY_ACTION]
        yield from _find_steps_back(f"{each.id} in the trail", told)
        if ends:
            after = actions[actions.index(ends[0]) + 1 :]
            late = [action for action in after if action in _WORK or action == _REQUEUED]
            if late:
                yield f"{each.id} has {late} after its end"
        requeued = actions.count(_REQUEUED)
        if requeued < each.attempt - 1:
            yield f"{each.id} was requeued {requeued} times, and is at attempt {each.attempt}"
    for id in trails.keys() - {e.id for e in evidence.executions}:
        yield f"the trail has {id}, which is not there"
    for chain in evidence.broken_chains:
        yield f"broken chain: {chain}"


def check_events(evidence: Evidence) -> Iterable[str]:
    """Listeners heard of each status once, forwards, and of the one that it has last."""
    told = _group(evidence.events, lambda event: event.execution_id)
    for each in evidence.executions:
        statuses = [event.status for event in told.get(each.id, ())]
        yield from _find_steps_back(f"{each.id} in the events", statuses)
        if statuses[-1:] != [each.status]:
            yield f"{each.id} is {each.status}, and the events say {statuses}"
    numbers = _group(evidence.events, lambda event: event.org_id)
    for org_id, events in numbers.items():
        if [event.place for event in events] != list(range(1, len(events) + 1)):
            yield f"{org_id} has events missing, or twice"


def check_counters(evidence: Evidence) -> Iterable[str]:
    """Counters are the numbers of executions."""
    by_workflow = _group(evidence.executions, lambda e: e.workflow_id)
    for kept in evidence.counters:
        statuses = Counter(e.status for e in by_workflow.get(kept.workflow_id, ()))
        counted = (
            sum(statuses[status.value] for status in FINAL),
            statuses[_COMPLETED],
            statuses[ExecutionStatus.FAILED.value],
            statuses[ExecutionStatus.CANCELLED.value],
        )
        if (kept.total, kept.completed, kept.failed, kept.cancelled) != counted:
            yield f"{kept} should be {counted}"


def check_agent_runs(evidence: Evidence) -> Iterable[str]:
    """Each agent's answer for an execution was recorded once, and all of a completed one's."""
    recorded = Counter(
        (run.execution_id, run.agent) for run in evidence.agent_runs if run.status == _COMPLETED
    )
    for (id, agent), count in recorded.items():
        if count > 1:
            yield f"{id} has {count} answers of {agent}"
    for each in evidence.executions:
        missing = [agent for agent in each.agents if not recorded[each.id, agent]]
        if each.status == _COMPLETED and missing:
            yield f"{each.id} is COMPLETED without answers of {missing}"


def check_effects(evidence: Evidence) -> Iterable[str]:
    """What was recorded was done, and was not done again; nothing was done twice in one attempt."""
    by_item = _group(evidence.effects, lambda e: (e.execution_id, e.agent))
    for (id, agent), effects in by_item.items():
        for attempt, count in Counter(e.attempt for e in effects).items():
            if count > 1:
                yield f"{agent} did its work for {id} {count} times in attempt {attempt}"
    for run in evidence.agent_runs:
        if run.status != _COMPLETED:
            continue
        done = by_item.get((run.execution_id, run.agent), [])
        if not done:
            yield f"{run.agent} has an answer for {run.execution_id}, and did nothing"
        # The clocks are one machine's; a process may write its effect just after the other's end.
        again = [e for e in done if e.at > run.at and e.attempt > _attempt_at(done, run.at)]
        if again:
            yield f"{run.agent} was asked for {run.execution_id} after its answer was recorded"


def check_prefect(evidence: Evidence) -> Iterable[str]:
    """Nothing is left open, here or there, and both sides say the same."""
    for id in evidence.open_runs:
        yield f"run {id} is open"
    for run in evidence.unfinished_in_prefect:
        yield f"Prefect has {run}"
    if evidence.unfinished_tasks:
        yield f"Prefect has {evidence.unfinished_tasks} tasks that have not ended"
    for drift in evidence.drift:
        yield f"drift: {drift}"


CHECKS = (
    check_all_are_there_once,
    check_all_ended_as_they_must,
    check_audit,
    check_events,
    check_counters,
    check_agent_runs,
    check_effects,
    check_prefect,
)


def count_repeated(effects: Collection[Effect]) -> int:
    """Count what was done again, because its worker was lost before it could be recorded."""
    return len(effects) - len({(e.execution_id, e.agent) for e in effects})


def _is_lost(each: ExecutionFact, max_attempts: int) -> bool:
    return each.error_code == ErrorCode.EXECUTION_LOST.value and each.attempt == max_attempts


def _attempt_at(done: Iterable[Effect], at: float) -> int:
    return max((effect.attempt for effect in done if effect.at <= at), default=0)


def _find_steps_back(what: str, statuses: list[str]) -> Iterable[str]:
    ranks = [_RANKS[status] for status in statuses]
    if any(after <= before for before, after in pairwise(ranks)):
        yield f"{what} went {' > '.join(statuses)}"


def _numbers_in(value: object) -> Iterable[int]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name == "number" and isinstance(inner, int):
                yield inner
            else:
                yield from _numbers_in(inner)


def _group(items: Iterable[T], key: Callable[[T], object]) -> dict[object, list[T]]:
    grouped: dict[object, list[T]] = defaultdict(list)
    for item in items:
        grouped[key(item)].append(item)
    return dict(grouped)
