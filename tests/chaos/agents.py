"""The agent that the load is made of: its inputs tell it to answer or to fail."""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from agents.interface import Agent, AgentConfig, AgentContext
from agents.per_item import run_per_item
from agents.registry import AGENT_CLASSES, AgentRegistry
from domain.errors import ErrorCode
from domain.json_data import JsonObject
from domain.outcomes import AgentInput, AgentOutcome, AgentValue, Failure

EFFECTS = "effects"


@dataclass(frozen=True, slots=True)
class Effect:
    """What an agent did outside of our tables: it answered one execution's item."""

    execution_id: str
    agent: str
    attempt: int
    """The execution's: one higher each time it was given back to the queue."""
    pid: int
    at: float
    """Seconds since 1970."""


class UnreliableConfig(AgentConfig):
    """Where it leaves its traces, and how long it takes."""

    folder: str
    sleep_s: float = 0.1


class Unreliable(Agent[UnreliableConfig]):
    """Does what the input's `modes` say under its name: `ok`, `fail`, `boom`, `flaky:<times>`."""

    type = "unreliable"
    description = "Answers, fails or breaks as its input says."
    example: ClassVar[JsonObject] = {"folder": "/tmp"}
    Config = UnreliableConfig

    async def run(
        self, items: Sequence[AgentInput], context: AgentContext[UnreliableConfig]
    ) -> Sequence[AgentOutcome]:
        await asyncio.sleep(context.config.sleep_s)
        return await run_per_item(items, lambda item: self._one(item, context), context=context)

    async def _one(
        self, item: AgentInput, context: AgentContext[UnreliableConfig]
    ) -> AgentOutcome | AgentValue:
        modes = item.input_data["modes"]
        told = modes.get(context.agent_name, "ok") if isinstance(modes, dict) else "ok"
        mode, _, times = str(told).partition(":")
        folder = Path(context.config.folder)
        if mode == "boom":
            raise RuntimeError("an error of its own")
        if mode == "fail":
            return _failure(retryable=False)
        if mode == "flaky" and _count_call(folder, item, context.agent_name) <= int(times):
            return _failure(retryable=True)
        effect = Effect(
            item.execution_id, context.agent_name, item.attempt, os.getpid(), time.time()
        )
        _append(folder / EFFECTS, json.dumps(asdict(effect)) + "\n")
        return AgentValue({"number": item.input_data["number"], "by": context.agent_name})


def read_effects(folder: Path) -> list[Effect]:
    """Read what agents did, in the order in which they did it."""
    lines = (folder / EFFECTS).read_text().splitlines()
    return [Effect(**json.loads(line)) for line in lines]


def registry() -> AgentRegistry:
    """All agents that Tenantry ships, and this one."""
    return AgentRegistry([*(agent_class() for agent_class in AGENT_CLASSES), Unreliable()])


def _failure(*, retryable: bool) -> AgentOutcome:
    failure = Failure(
        ErrorCode.AGENT_FAILED, "It was told to fail.", "Tell it otherwise.", retryable=retryable
    )
    return AgentOutcome(failure=failure, duration_s=0.001)


def _count_call(folder: Path, item: AgentInput, agent_name: str) -> int:
    path = folder / f"{item.execution_id}.{agent_name}"
    _append(path, "x")
    return path.stat().st_size


def _append(path: Path, text: str) -> None:
    # One write, at the end wherever that is: a killed process leaves whole lines.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
