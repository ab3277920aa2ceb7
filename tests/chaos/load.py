"""What is asked of the API, drawn from a seed: single executions with keys, and batches."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from domain.executions import ExecutionStatus
from domain.ids import OrgId
from domain.json_data import JsonObject
from domain.workflows import WorkflowDefinition

ORGS = tuple(OrgId(f"org_chaos{number}") for number in range(1, 7))
COALESCED, SINGLE = "coalesced", "single"
# A flow run each: Prefect starts a handful a second at best.
_SINGLES_OF_ORG = 15
_KEYED_OF_ORG = 185
_BATCHES_OF_ORG = 6
_INPUTS_OF_BATCH = 50
# People come in waves: what waits together shares a flow run.
_WAVES_OF_ORG = 8
_WAVE_S = 0.5
# Larger than any number of the load itself.
_ANEW = 1_000_000
_CANCELLED_SHARE = 0.04
_RETRIES = 3
AGENTS: Mapping[str, Sequence[str]] = {
    COALESCED: ("First", "Left", "Right"),
    SINGLE: ("First", "Second"),
}
# How often which mode: most answer.
_MODES = {"ok": 80, "fail": 7, "boom": 5, "flaky:1": 5, "flaky:2": 3}


@dataclass(frozen=True, slots=True)
class Wish:
    """One request: an execution with a key, or a batch without one."""

    at_s: float
    org_id: OrgId
    workflow: str
    name: str
    """The idempotency key, or the batch's id."""
    inputs: Sequence[JsonObject]
    priority: int
    is_batch: bool
    cancel_after_s: float | None = None
    """Call it off so many seconds after it was accepted."""

    @property
    def numbers(self) -> list[int]:
        """Give the numbers that its inputs carry; no other input has them."""
        return [number_of(given) for given in self.inputs]

    def anew(self, times: int) -> "Wish":
        """Make another wish of the same kind, with numbers and a name of its own."""
        inputs = [{**given, "number": number_of(given) + _ANEW * times} for given in self.inputs]
        return replace(self, name=f"{self.name}-{times}", inputs=inputs)


def make_load(seed: int, *, length_s: float) -> list[Wish]:
    """Draw 3,000 executions of six organizations, spread over some seconds."""
    draw = random.Random(f"load of {seed}")
    wishes: list[Wish] = []
    number = 0
    for org_id in ORGS:
        waves = [draw.uniform(0, length_s) for _ in range(_WAVES_OF_ORG)]
        kinds = [(SINGLE, False)] * _SINGLES_OF_ORG + [(COALESCED, False)] * _KEYED_OF_ORG
        for workflow, is_batch in [*kinds, *[(COALESCED, True)] * _BATCHES_OF_ORG]:
            count = _INPUTS_OF_BATCH if is_batch else 1
            inputs = [_make_input(draw, workflow, number + n) for n in range(count)]
            number += count
            is_cancelled = not is_batch and draw.random() < _CANCELLED_SHARE
            wishes.append(
                Wish(
                    at_s=_draw_moment(draw, workflow, waves, length_s=length_s),
                    org_id=org_id,
                    workflow=workflow,
                    name=f"{org_id}-{len(wishes)}",
                    inputs=inputs,
                    priority=draw.randint(1, 5),
                    is_batch=is_batch,
                    cancel_after_s=draw.uniform(0, 5) if is_cancelled else None,
                )
            )
    return sorted(wishes, key=lambda wish: wish.at_s)


def define_workflow(name: str, folder: str) -> WorkflowDefinition:
    """Define one of the two workflows: a fork, which is coalesced, and a chain, which is not."""
    agents = AGENTS[name]
    return WorkflowDefinition.model_validate(
        {
            "name": name.title(),
            "agents": [
                {
                    "name": agent,
                    "type": "unreliable",
                    "config": {"folder": folder, "sleep_s": 0.2},
                    "options": {"retries": _RETRIES, "retry_delay_s": 0.2},
                }
                for agent in agents
            ],
            "edges": [{"from": agents[0], "to": agent} for agent in agents[1:]],
        }
    )


def number_of(given: JsonObject) -> int:
    """Read the number that tells an input from all others."""
    number = given["number"]
    if not isinstance(number, int):
        raise TypeError(f"an input without a number: {number!r}")
    return number


def expect_status(given: JsonObject) -> ExecutionStatus:
    """Say how an execution of this input ends, if nobody calls it off."""
    modes = given["modes"]
    if not isinstance(modes, dict):
        raise TypeError(f"an input without modes: {modes!r}")
    fails = any(mode in ("fail", "boom") for mode in modes.values())
    return ExecutionStatus.FAILED if fails else ExecutionStatus.COMPLETED


def _draw_moment(
    draw: random.Random, workflow: str, waves: Sequence[float], *, length_s: float
) -> float:
    if workflow == SINGLE:
        # Early: they take longest.
        return draw.uniform(0, length_s * 0.6)
    return draw.choice(waves) + draw.uniform(0, _WAVE_S)


def _make_input(draw: random.Random, workflow: str, number: int) -> JsonObject:
    # One of the agents misbehaves, if any: what else it is depends on the order.
    mode = draw.choices(list(_MODES), weights=list(_MODES.values()))[0]
    return {"number": number, "modes": {draw.choice(AGENTS[workflow]): mode}}
