"""What a run knows while it is carried out: its executions, and each agent's answers so far."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from domain.agent_runs import AgentRun
from domain.clock import utc_now
from domain.errors import ErrorCode
from domain.executions import FINAL, ExecutionStatus, WorkItem
from domain.ids import ExecutionId, new_agent_run_id
from domain.outcomes import (
    AgentInput,
    AgentOutcome,
    AgentValue,
    Failure,
    timed_out_failure,
)
from domain.runs import Run
from domain.workflows import AgentNode, WorkflowDefinition
from flows.calling_off import call_off
from flows.decision import ending_called_off, is_retryable, last_answers
from persistence.agent_runs import add_agent_runs, list_answers
from persistence.executions import list_work
from persistence.happenings_log import log_lines
from persistence.patience import keep_trying
from persistence.run_losses import note_asked
from persistence.runs import hold_lease
from persistence.sessions import Database, OrgSession

# Shorter than any lease: what was heard so long ago may have changed.
_HELD_S = 2.0


@dataclass(slots=True)
class _Progress:
    """One agent's work on the run's items."""

    answers: dict[ExecutionId, AgentRun] = field(default_factory=dict[ExecutionId, AgentRun])
    unsaved: list[AgentRun] = field(default_factory=list[AgentRun])
    # Set while an attempt is under way: what it works on, and since when. Found set at the next
    # attempt, the one before was cut off by Prefect at its time limit.
    under_way: tuple[Sequence[ExecutionId], datetime] | None = None
    attempts: int = 0
    retried_items: int = 0


@dataclass(slots=True)
class RunBook:
    """The state of one run in this process. Lost with it: the database has what is finished."""

    database: Database
    run: Run
    definition: WorkflowDefinition
    executions: dict[ExecutionId, WorkItem]
    """What agents are still asked for."""
    called_off: dict[ExecutionId, ExecutionStatus] = field(
        default_factory=dict[ExecutionId, ExecutionStatus]
    )
    """What ended before its run did, and how."""
    is_lost: bool = False
    """Whether the run was taken from this worker."""
    held_at: float = field(default_factory=time.monotonic)
    """When the database last said that it was not."""
    _progress: dict[str, _Progress] = field(default_factory=dict[str, _Progress])
    _history: dict[ExecutionId, list[AgentRun]] = field(
        default_factory=dict[ExecutionId, list[AgentRun]]
    )
    _saving: asyncio.Lock = field(default_factory=asyncio.Lock)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _is_asked: bool = False

    def items_for(self, node: AgentNode) -> list[AgentInput]:
        """List what an agent has still to do: items whose upstream agents have all answered."""
        done = self._of(node.name).answers
        items: list[AgentInput] = []
        for execution in self.executions.values():
            answer = done.get(execution.id)
            if answer is not None and not is_retryable(answer):
                continue
            upstream = self._upstream(node, execution.id)
            if upstream is not None:
                items.append(
                    AgentInput(execution.id, execution.input_data, upstream, execution.attempt)
                )
        return items

    def drop(self, ended: Mapping[ExecutionId, ExecutionStatus]) -> None:
        """Ask no further agent for executions that have ended."""
        for id, status in ended.items():
            if self.executions.pop(id, None) is not None:
                self.called_off[id] = status

    def is_held_lately(self) -> bool:
        """Say whether the database was asked a moment ago, and said that the run was ours."""
        return time.monotonic() - self.held_at <= _HELD_S

    async def check_held(self) -> None:
        """Make sure that the run is still this worker's before its end is told to Prefect.

        A process that was frozen does not know it, and Prefect would take its word. The database
        is only asked when it was not a moment ago, as when an agent's answers were stored.

        Raises:
            LeaseLost: it was taken away.
        """
        if not self.is_held_lately():
            await asyncio.to_thread(keep_trying, self._hold)

    async def note_asked(self) -> None:
        """Write down that agents are asked from now on; waits for a database that is away.

        A run that is lost before has cost nobody an attempt.

        Raises:
            LeaseLost: the run was taken from this worker.
        """
        async with self._asking:
            if self._is_asked:
                return
            asked_at = time.monotonic()
            await asyncio.to_thread(keep_trying, self._note_asked)
            self._is_asked, self.held_at = True, asked_at

    def begin_attempt(self, node: AgentNode, items: Sequence[AgentInput]) -> None:
        """Note that an attempt starts; one still under way was cut off, and is a failure now."""
        progress = self._of(node.name)
        self._fail_under_way(node)
        if progress.attempts > 0:
            progress.retried_items += len(items)
        progress.attempts += 1
        progress.under_way = ([item.execution_id for item in items], utc_now())
        facts = f"run_id={self.run.id} agent_type={node.type}"
        log_lines(
            (("agent.started", item.execution_id, facts) for item in items),
            org_id=self.run.org_id,
        )

    def end_attempt(
        self, node: AgentNode, items: Sequence[AgentInput], outcomes: Sequence[AgentOutcome]
    ) -> None:
        """Note what an attempt gave, one outcome an item, in order."""
        progress = self._of(node.name)
        started_at = progress.under_way[1] if progress.under_way else utc_now()
        progress.under_way = None
        for item, outcome in zip(items, outcomes, strict=True):
            self._record(node, item.execution_id, outcome, started_at=started_at)

    def close_agent(self, node: AgentNode, *, timed_out: bool) -> None:
        """Note that no attempt follows; one that was cut off, or broke off, is a failure now."""
        self._fail_under_way(node, None if timed_out else broken_agent(node.name))

    async def save(self, agent_name: str) -> None:
        """Store an agent's new outcomes; wait for a database that is away, as long as needed.

        Storing twice stores once: each outcome has its id from the start.

        Raises:
            LeaseLost: the run was taken from this worker.
        """
        async with self._saving:
            progress = self._of(agent_name)
            batch = list(progress.unsaved)
            if not batch:
                return
            asked_at = time.monotonic()
            await asyncio.to_thread(keep_trying, lambda: self._store(agent_name, batch))
            self.held_at = asked_at
            progress.unsaved = progress.unsaved[len(batch) :]

    async def save_all(self) -> None:
        """Store what any agent's cut-off attempt has left."""
        for name in list(self._progress):
            await self.save(name)

    def failed_items(self, agent_name: str) -> list[AgentRun]:
        """List an agent's failures as they stand now."""
        return [run for run in self._answers_of(agent_name) if run.outcome.failure is not None]

    def answered_items(self, agent_name: str) -> list[AgentRun]:
        """List an agent's answers as they stand now."""
        return [run for run in self._answers_of(agent_name) if run.outcome.value is not None]

    def attempts(self, agent_name: str) -> int:
        """Count how often an agent was tried in this run."""
        return self._of(agent_name).attempts

    def completed_count(self) -> int:
        """Count the executions that every agent has answered."""
        return sum(
            all(
                (answer := self._of(node.name).answers.get(id)) is not None
                and answer.outcome.value is not None
                for node in self.definition.agents
            )
            for id in self.executions
        )

    def list_answers(self) -> dict[ExecutionId, list[AgentRun]]:
        """List what agents have answered for each execution, by start, as the tables have it.

        Once no agent is asked any more: all of it is stored then.
        """
        return {
            id: sorted(runs, key=lambda run: run.started_at) for id, runs in self._history.items()
        }

    def load(self, known: Sequence[AgentRun]) -> None:
        """Take over what agents answered before this process had the run."""
        by_agent: dict[str, list[AgentRun]] = {}
        for run in known:
            by_agent.setdefault(run.agent_name, []).append(run)
            self._history.setdefault(run.execution_id, []).append(run)
        for name, runs in by_agent.items():
            per_item: dict[ExecutionId, list[AgentRun]] = {}
            for run in runs:
                per_item.setdefault(run.execution_id, []).append(run)
            for id, own in per_item.items():
                self._of(name).answers[id] = last_answers(own)[name]

    def _answers_of(self, agent_name: str) -> list[AgentRun]:
        answers = self._of(agent_name).answers.values()
        return [run for run in answers if run.execution_id in self.executions]

    def _of(self, agent_name: str) -> _Progress:
        return self._progress.setdefault(agent_name, _Progress())

    def _upstream(self, node: AgentNode, id: ExecutionId) -> dict[str, AgentValue] | None:
        values: dict[str, AgentValue] = {}
        for name in self.definition.upstream_of(node.name):
            answer = self._of(name).answers.get(id)
            if answer is None or answer.outcome.value is None:
                return None
            values[name] = answer.outcome.value
        return values

    def _record(
        self, node: AgentNode, id: ExecutionId, outcome: AgentOutcome, *, started_at: datetime
    ) -> None:
        run = AgentRun(
            id=new_agent_run_id(),
            execution_id=id,
            run_id=self.run.id,
            agent_name=node.name,
            attempt=1,  # counted when it is stored: earlier runs of the execution count too
            outcome=outcome,
            started_at=started_at,
            completed_at=max(utc_now(), started_at),
        )
        progress = self._of(node.name)
        progress.answers[id] = run
        progress.unsaved.append(run)
        self._history.setdefault(id, []).append(run)

    def _fail_under_way(self, node: AgentNode, failure: Failure | None = None) -> None:
        progress = self._of(node.name)
        if progress.under_way is None:
            return
        ids, started_at = progress.under_way
        progress.under_way = None
        outcome = AgentOutcome(
            failure=failure or timed_out_failure(node.name, node.options.timeout_s),
            duration_s=(utc_now() - started_at).total_seconds(),
        )
        for id in ids:
            self._record(node, id, outcome, started_at=started_at)

    def _hold(self) -> None:
        with self.database.org(self.run.org_id) as session:
            hold_lease(session, self.run)

    def _note_asked(self) -> None:
        with self.database.org(self.run.org_id) as session:
            note_asked(session, self.run)

    def _store(self, agent_name: str, batch: Sequence[AgentRun]) -> None:
        with self.database.org(self.run.org_id) as session:
            add_agent_runs(session, self.run, agent_name, batch)


def broken_agent(agent_name: str) -> Failure:
    """Make the failure of an agent that stopped with an error that is no answer."""
    return Failure(
        ErrorCode.AGENT_FAILED,
        f"`{agent_name}` stopped with an error of its own.",
        "The worker's log has the details, under this execution's id: show it to the operator.",
        retryable=True,
    )


@dataclass(frozen=True, slots=True)
class CarriedWork:
    """What a run carries, and what its agents have answered already, as it was read."""

    executions: Sequence[WorkItem]
    answers: Sequence[AgentRun]
    read_at: float
    """By this process's monotonic clock, before the database was asked."""


def read_carried_work(session: OrgSession, run: Run) -> CarriedWork:
    """Read what a run carries. Nothing is written."""
    read_at = time.monotonic()
    executions = list_work(session, run.id)
    return CarriedWork(executions, list_answers(session, run.id), read_at)


def open_book(
    database: Database, run: Run, definition: WorkflowDefinition, work: CarriedWork
) -> RunBook:
    """Make the book of a run.

    What shall not go on, because it was cancelled or its deadline passed since it was claimed,
    is ended here.

    Raises:
        LeaseLost: the run was taken from this worker.
    """
    now = utc_now()
    ended = {e.id: e.status for e in work.executions if e.status in FINAL}
    going_on = {e.id: e for e in work.executions if e.status not in FINAL}
    if any(ending_called_off(e, at=now) is not None for e in going_on.values()):
        ended |= call_off(database, run)
    book = RunBook(
        database,
        run,
        definition,
        {id: e for id, e in going_on.items() if id not in ended},
        ended,
        held_at=work.read_at,
    )
    book.load(work.answers)
    return book
