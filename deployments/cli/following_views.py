"""What people see on standard error while an execution is on its way."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.text import Text

from deployments.cli.screen import (
    Progress,
    clean,
    make_table,
    remarks,
    show_seconds,
    show_status,
)
from domain.agent_runs import AgentRun
from domain.executions import Execution, ExecutionStatus


class View(ABC):
    """Shows where an execution stands, between `with` and the block's end."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @abstractmethod
    def update(
        self, execution: Execution, answers: Mapping[str, AgentRun], *, waits_for: str
    ) -> None:
        """Show the present state; `waits_for` says what for, while no worker has taken it."""


def make_view(agents: Mapping[str, str], *, watch: bool) -> View:
    """Choose the view for this terminal; `agents` maps names to types."""
    if not watch:
        return _OneLine(agents)
    return _LiveTable(agents) if remarks().is_terminal else _LinePerAgent(agents)


class _OneLine(View):
    def __init__(self, agents: Mapping[str, str]) -> None:
        self._agents = agents
        self._progress = Progress()

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def update(
        self, execution: Execution, answers: Mapping[str, AgentRun], *, waits_for: str
    ) -> None:
        said = _standing(execution, waits_for=waits_for)
        if execution.status is ExecutionStatus.RUNNING:
            said += f", {len(answers)} of {len(self._agents)} agents done"
        self._progress.say(f"{execution.id} {said}")


class _LinePerAgent(View):
    def __init__(self, agents: Mapping[str, str]) -> None:
        self._agents, self._said = agents, set[str]()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def update(
        self, execution: Execution, answers: Mapping[str, AgentRun], *, waits_for: str
    ) -> None:
        self._say(f"{execution.id} {_standing(execution, waits_for=waits_for)}")
        for name in self._agents:
            run = answers.get(name)
            if run is not None:
                status = "FAILED" if run.outcome.failure else "COMPLETED"
                took = show_seconds(run.outcome.duration_s)
                self._say(f"{clean(name)}: {status} in {took}, attempt {run.attempt}")

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            remarks().print(text)


class _LiveTable(View):
    def __init__(self, agents: Mapping[str, str]) -> None:
        self._agents = agents
        self._live = Live(console=remarks(), refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def update(
        self, execution: Execution, answers: Mapping[str, AgentRun], *, waits_for: str
    ) -> None:
        table = make_table("agent", "type", "status", "attempt#", "took#")
        for name, type_name in self._agents.items():
            run = answers.get(name)
            if run is None:
                table.add_row(clean(name), clean(type_name), Text("waiting", style="dim"))
                continue
            table.add_row(
                clean(name),
                clean(type_name),
                show_status("FAILED" if run.outcome.failure else "COMPLETED"),
                str(run.attempt),
                show_seconds(run.outcome.duration_s),
            )
        said = _standing(execution, waits_for=waits_for)
        self._live.update(Group(Text(f"{execution.id} {said}"), table))


def _standing(execution: Execution, *, waits_for: str) -> str:
    if execution.run_id is None:
        return f"is {execution.status.value}: it waits for {waits_for}"
    if execution.status is ExecutionStatus.PAUSED:
        return "is PAUSED: it waits for a person"
    return f"is {execution.status.value}"
