"""What a run knows while it is carried out: its executions, and each agent's answers so far."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from domain.agent_runs import AgentRun
from domain.clock import utc_now
from domain.errors import ErrorCode
from domain.executions import FINAL, Execution
from domain.ids import ExecutionId, new_agent_run_id
from domain.outcomes import AgentInput, AgentOutcome, AgentValue, Failure
from domain.runs import Run
from domain.workflows import AgentNode, WorkflowDefinition
from flows.decision import is_retryable, last_answers
from persistence.agent_runs import add_agent_runs, list_agent_runs
from persistence.executions import list_carried
from persistence.patience import keep_trying
from persistence.sessions import Database, OrgSession


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
    executions: Mapping[ExecutionId, Execution]
    _progress: dict[str, _Progress] = field(default_factory=dict[str, _Progress])
    _saving: asyncio.Lock = field(default_factory=asyncio.Lock)

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

    def begin_attempt(self, node: AgentNode, items: Sequence[AgentInput]) -> None:
        """Note that an attempt starts; one still under way was cut off, and is a failure now."""
        progress = self._of(node.name)
        self._fail_under_way(node)
        if progress.attempts > 0:
            progress.retried_items += len(items)
        progress.attempts += 1
        progress.under_way = ([item.execution_id for item in items], utc_now())

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
            await asyncio.to_thread(keep_trying, lambda: self._store(agent_name, batch))
            progress.unsaved = progress.unsaved[len(batch) :]

    async def save_all(self) -> None:
        """Store what any agent's cut-off attempt has left."""
        for name in list(self._progress):
            await self.save(name)

    def failed_items(self, agent_name: str) -> list[AgentRun]:
        """List an agent's failures as they stand now."""
        answers = self._of(agent_name).answers.values()
        return [run for run in answers if run.outcome.failure is not None]

    def answered_items(self, agent_name: str) -> list[AgentRun]:
        """List an agent's answers as they stand now."""
        answers = self._of(agent_name).answers.values()
        return [run for run in answers if run.outcome.value is not None]

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

    def load(self, known: Sequence[AgentRun]) -> None:
        """Take over what agents answered before this process had the run."""
        by_agent: dict[str, list[AgentRun]] = {}
        for run in known:
            by_agent.setdefault(run.agent_name, []).append(run)
        for name, runs in by_agent.items():
            per_item: dict[ExecutionId, list[AgentRun]] = {}
            for run in runs:
                per_item.setdefault(run.execution_id, []).append(run)
            for id, own in per_item.items():
                self._of(name).answers[id] = last_answers(own)[name]

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

    def _fail_under_way(self, node: AgentNode, failure: Failure | None = None) -> None:
        progress = self._of(node.name)
        if progress.under_way is None:
            return
        ids, started_at = progress.under_way
        progress.under_way = None
        outcome = AgentOutcome(
            failure=failure or _timed_out(node),
            duration_s=(utc_now() - started_at).total_seconds(),
        )
        for id in ids:
            self._record(node, id, outcome, started_at=started_at)

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


def _timed_out(node: AgentNode) -> Failure:
    limit_s = node.options.timeout_s
    return Failure(
        ErrorCode.AGENT_TIMED_OUT,
        f"`{node.name}` had not answered after {limit_s:g} seconds, its time limit.",
        f"Raise `timeout_s` in the options of `{node.name}`, or give it less to do.",
        retryable=True,
    )


def open_book(
    database: Database, session: OrgSession, run: Run, definition: WorkflowDefinition
) -> RunBook:
    """Read what a run carries, and what its agents have answered already."""
    carried = [e for e in list_carried(session, run.id) if e.status not in FINAL]
    known = list_agent_runs(session, [e.id for e in carried])
    book = RunBook(database, run, definition, {e.id: e for e in carried})
    book.load(known)
    return book
