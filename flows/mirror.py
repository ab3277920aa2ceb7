"""The mirror: the one function that turns Prefect's states into the tenant's rows.

Hooks call it with the state that they were given, the steward with a run's whole history. Every
call merges what it is given into the run's known states and writes what the whole set means, so
repeated, late and disordered calls end in the same rows. Nothing else writes a status that came
from Prefect.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from prefect.client.schemas.objects import State

from domain.agent_runs import AgentRun
from domain.clock import utc_now
from domain.executions import FINAL, CarriedExecution, ExecutionStatus
from domain.ids import ExecutionId
from domain.runs import (
    Ending,
    Run,
    RunFacts,
    RunState,
    StateType,
    closing_type,
    read_history,
)
from domain.workflows import WorkflowDefinition
from flows.decision import decide, ending_called_off
from persistence.agent_runs import list_answers
from persistence.execution_moves import (
    FinishedExecution,
    finish_executions,
    pause_executions,
    requeue_executions,
    set_started_late,
    start_executions,
)
from persistence.executions import list_endings
from persistence.run_losses import get_loss
from persistence.runs import add_states, close_run, lock_run, record_facts
from persistence.sessions import Database, OrgSession
from persistence.workflows import get_definition

Answers = Mapping[ExecutionId, Sequence[AgentRun]]


def to_run_state(state: State) -> RunState:
    """Turn a Prefect state into ours, keyed by its id.

    A state that was made up on the client and never stored has an id that is in no history;
    callers read the history in those cases (cancellation).
    """
    return RunState(
        id=state.id, type=StateType(state.type.value), name=state.name or "", at=state.timestamp
    )


def apply(
    database: Database,
    run: Run,
    states: Iterable[RunState],
    *,
    max_attempts: int = 3,
    definition: WorkflowDefinition | None = None,
    answers: Answers | None = None,
    lease: UUID | None = None,
    again: bool = False,
) -> int:
    """Bring a run's executions up to what Prefect says; return how many rows changed.

    One transaction, serialized per run. Killed before the commit nothing is written; after it,
    the same call changes nothing.

    Args:
        definition: of the run's workflow version, if the caller has it; else it is read.
        answers: all that agents have answered and that is stored, likewise.
        lease: the token of a caller who carried the run out. One from whom it was taken has been
            asleep, and what it knows is old: it writes nothing.
        again: also if the run is closed and nothing is new, for executions that were left in it.

    Raises:
        LeaseLost: the run was taken from the caller.
    """
    with database.org(run.org_id) as session:
        is_open = lock_run(session, run.id, lease=lease)
        known, is_news = add_states(session, run.id, states)
        if not known or not (is_news or is_open or again):
            return 0
        facts = read_history(known)
        changed, closed_as = _start_or_pause(session, run, facts), None
        if facts.ending is not None:
            carried = list_endings(session, run.id)
            is_over = all(e.status in FINAL for e in carried)
            closed_as = closing_type(facts, [e.status for e in carried] if is_over else None)
            changed += _end(
                session,
                run,
                facts,
                carried,
                state=facts.latest,
                max_attempts=max_attempts,
                definition=definition,
                answers=answers,
            )
        record_facts(session, run.id, facts, closed_as=closed_as)
        return changed


def give_up(database: Database, run: Run, *, max_attempts: int = 3, again: bool = False) -> int:
    """Close a run that Prefect never had, or has deleted; its executions go back to the queue.

    Args:
        again: also if it is closed, for executions that were left in it.

    Returns:
        How many executions ended or went back.
    """
    with database.org(run.org_id) as session:
        if not lock_run(session, run.id) and not again:
            return 0
        gone = RunState(
            id=uuid5(NAMESPACE_URL, f"tenantry:gone:{run.id}"),
            type=StateType.CRASHED,
            name="Gone",
            at=utc_now(),
        )
        facts = RunFacts(ExecutionStatus.RUNNING, gone, None, Ending.LOST)
        carried = list_endings(session, run.id)
        changed = _end(session, run, facts, carried, state=None, max_attempts=max_attempts)
        close_run(session, run.id)
        return changed


def _start_or_pause(session: OrgSession, run: Run, facts: RunFacts) -> int:
    changed = 0
    if facts.started_at is not None:
        changed += start_executions(
            session,
            run.id,
            state=facts.latest,
            at=facts.started_at,
            resume=facts.status is not ExecutionStatus.PAUSED,
        )
        set_started_late(session, run.id, at=facts.started_at)
    if facts.status is ExecutionStatus.PAUSED:
        changed += pause_executions(session, run.id, state=facts.latest)
    return changed


def _end(
    session: OrgSession,
    run: Run,
    facts: RunFacts,
    carried: Sequence[CarriedExecution],
    *,
    state: RunState | None,
    max_attempts: int,
    definition: WorkflowDefinition | None = None,
    answers: Answers | None = None,
) -> int:
    unfinished = [e for e in carried if e.status not in FINAL]
    if facts.ending is None or not unfinished:
        return 0
    if definition is None:
        definition = WorkflowDefinition.model_validate(
            get_definition(session, run.workflow_id, version=run.workflow_version)
        )
    if answers is None:
        answers = _by_execution(list_answers(session, run.id))
    finished: list[FinishedExecution] = []
    returning: list[ExecutionId] = []
    loss = get_loss(session, run.id)
    for execution in unfinished:
        ended = decide(
            definition,
            execution.id,
            answers.get(execution.id, ()),
            ending=_ending_of(execution, facts.ending),
            may_retry=not loss.costs_attempt or execution.attempt < max_attempts,
        )
        if ended is None:
            returning.append(execution.id)
        else:
            finished.append(ended)
    changed = finish_executions(
        session, finished, at=facts.latest.at, started_at=facts.started_at, state=state
    )
    if returning:
        changed += requeue_executions(session, returning, run_id=run.id, at=_now(facts), loss=loss)
    return changed


def _ending_of(execution: CarriedExecution, ending: Ending) -> Ending:
    # Its worker was lost before it could act on what somebody had asked for.
    if ending is Ending.LOST:
        return ending_called_off(execution, at=utc_now()) or ending
    return ending


def _now(facts: RunFacts) -> datetime:
    return max(facts.latest.at, utc_now())


def _by_execution(runs: Sequence[AgentRun]) -> dict[ExecutionId, list[AgentRun]]:
    grouped: dict[ExecutionId, list[AgentRun]] = {}
    for run in runs:
        grouped.setdefault(run.execution_id, []).append(run)
    return grouped
