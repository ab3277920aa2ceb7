"""The three steps as agents: of the benchmark's own worker, not in the product's catalogue."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from agents.interface import Agent, AgentConfig, AgentContext
from agents.registry import AgentRegistry
from deployments.bench import steps
from domain.json_data import JsonObject
from domain.outcomes import AgentInput, AgentOutcome, AgentValue
from domain.workflows import WorkflowDefinition


class NoConfig(AgentConfig):
    """Nothing to set."""


class ReadRequest(Agent[NoConfig]):
    """The first step."""

    type = "bench_read_request"
    description = "Reads a request."
    example: ClassVar[JsonObject] = {}
    Config = NoConfig

    async def run(
        self, items: Sequence[AgentInput], context: AgentContext[NoConfig]
    ) -> Sequence[AgentOutcome]:
        """Read every item's request."""
        return [_answer(steps.read_request(item.input_data)) for item in items]


class Qualify(Agent[NoConfig]):
    """The second step."""

    type = "bench_qualify"
    description = "Scores what was read."
    example: ClassVar[JsonObject] = {}
    Config = NoConfig

    async def run(
        self, items: Sequence[AgentInput], context: AgentContext[NoConfig]
    ) -> Sequence[AgentOutcome]:
        """Score every item."""
        return [_answer(steps.qualify(item.upstream[READ].data)) for item in items]


class Report(Agent[NoConfig]):
    """The third step."""

    type = "bench_report"
    description = "Sums up."
    example: ClassVar[JsonObject] = {}
    Config = NoConfig

    async def run(
        self, items: Sequence[AgentInput], context: AgentContext[NoConfig]
    ) -> Sequence[AgentOutcome]:
        """Sum up every item."""
        return [_answer(steps.report(item.upstream[QUALIFY].data)) for item in items]


class WaitConfig(AgentConfig):
    """How long it takes."""

    seconds: float = 0.0
    """Of every call, whatever it is asked for."""


class Wait(Agent[WaitConfig]):
    """A step that waits for something else, as agents mostly do."""

    type = "bench_wait"
    description = "Waits, and hands on what it was given."
    example: ClassVar[JsonObject] = {"seconds": 0.5}
    Config = WaitConfig

    async def run(
        self, items: Sequence[AgentInput], context: AgentContext[WaitConfig]
    ) -> Sequence[AgentOutcome]:
        """Wait once for all of them."""
        await asyncio.sleep(context.config.seconds)
        return [_answer(item.input_data) for item in items]


READ, QUALIFY, REPORT = "Read request", "Qualify", "Report"
AGENTS = (READ, QUALIFY, REPORT)


def bench_registry() -> AgentRegistry:
    """Make the registry of the benchmark's worker."""
    return AgentRegistry([ReadRequest(), Qualify(), Report(), Wait()])


def bench_definition() -> WorkflowDefinition:
    """Define the workflow of the three steps."""
    types = (ReadRequest.type, Qualify.type, Report.type)
    return WorkflowDefinition.model_validate(
        {
            "name": "Benchmark",
            "agents": [
                {"name": name, "type": type} for name, type in zip(AGENTS, types, strict=True)
            ],
            "edges": [{"from": READ, "to": QUALIFY}, {"from": QUALIFY, "to": REPORT}],
        }
    )


def waiting_definition(seconds: float) -> WorkflowDefinition:
    """Define a workflow of one step that waits."""
    agent = {"name": "Wait", "type": Wait.type, "config": {"seconds": seconds}}
    return WorkflowDefinition.model_validate({"name": "Waiting", "agents": [agent], "edges": []})


def _answer(data: JsonObject) -> AgentOutcome:
    return AgentOutcome(value=AgentValue(data))
