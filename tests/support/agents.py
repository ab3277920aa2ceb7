"""Agents for tests: real ones, whose inputs tell them how to behave."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from agents.interface import Agent, AgentConfig, AgentContext
from agents.per_item import run_per_item
from agents.registry import AGENT_CLASSES, AgentRegistry
from domain.errors import ErrorCode
from domain.json_data import JsonObject
from domain.outcomes import AgentInput, AgentOutcome, AgentValue, Failure


class ProbeConfig(AgentConfig):
    """How to behave."""

    effects: str | None = None
    """File that gets one line per item and call: what was done, and may be done once only."""
    obey: bool = False
    """Whether to do what the input's `mode` says: fail, flaky, slow, slow_once, boom, hang,
    hang_once."""
    sleep_s: float = 0.0
    """Seconds that every call takes."""
    block_s: float = 0.0
    """Seconds for which every call keeps the whole process from doing anything else."""
    gate: str | None = None
    """File for which every call waits."""


class Probe(Agent[ProbeConfig]):
    """Answers with what it was given; fails, waits or breaks when it is told to."""

    type = "probe"
    description = "Answers with what it was given."
    example: ClassVar[JsonObject] = {}
    Config = ProbeConfig

    async def run(
        self, items: Sequence[AgentInput], context: AgentContext[ProbeConfig]
    ) -> Sequence[AgentOutcome]:
        await asyncio.sleep(context.config.sleep_s)
        time.sleep(context.config.block_s)
        while context.config.gate is not None and not Path(context.config.gate).exists():
            await asyncio.sleep(0.05)
        return await run_per_item(items, lambda item: self._one(item, context), context=context)

    async def _one(self, item: AgentInput, context: AgentContext[ProbeConfig]) -> AgentOutcome:
        mode = str(item.input_data.get("mode", "ok")) if context.config.obey else "ok"
        calls = _note(context, item)
        if mode == "hang" or (mode == "hang_once" and calls == 1):
            time.sleep(3600)
        if mode == "boom":
            raise ValueError(f"an error of its own, with {item.input_data.get('secret')}")
        if mode == "slow" or (mode == "slow_once" and calls == 1):
            await asyncio.sleep(3600)
        if mode == "fail" or (mode == "flaky" and calls == 1):
            failure = Failure(
                ErrorCode.AGENT_FAILED,
                "The probe was told to fail.",
                "Tell it otherwise.",
                retryable=mode == "flaky",
            )
            return AgentOutcome(failure=failure, duration_s=0.001)
        heard = {name: value.data for name, value in item.upstream.items()}
        return AgentOutcome(
            value=AgentValue({"heard": dict(heard), "input": item.input_data}), duration_s=0.001
        )


def _note(context: AgentContext[ProbeConfig], item: AgentInput) -> int:
    """Write down that an item was handled; return how often it has been by this agent."""
    if context.config.effects is None:
        return 1
    path, line = Path(context.config.effects), f"{item.execution_id} {context.agent_name}\n"
    with path.open("a") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return path.read_text().count(line)


def probe_registry() -> AgentRegistry:
    """All agents that Tenantry ships, and the probe."""
    return AgentRegistry([*(agent_class() for agent_class in AGENT_CLASSES), Probe()])
