"""What an agent is given and what it gives back, one of each per execution."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

from domain.errors import ErrorCode
from domain.ids import ExecutionId
from domain.json_data import JsonObject

NO_MONEY = Decimal(0)
_COST_PLACES = 8
_SMALLEST_COST = Decimal(1).scaleb(-_COST_PLACES)


@dataclass(frozen=True, slots=True)
class Usage:
    """What an agent spent on one item."""

    tokens: int = 0
    cost_usd: Decimal = NO_MONEY
    """Rounded to eight places, which is what the tables keep."""

    def __post_init__(self) -> None:
        exponent = self.cost_usd.as_tuple().exponent
        if isinstance(exponent, int) and exponent < -_COST_PLACES:
            rounded = self.cost_usd.quantize(_SMALLEST_COST, rounding=ROUND_HALF_UP)
            object.__setattr__(self, "cost_usd", rounded)


@dataclass(frozen=True, slots=True)
class AgentValue:
    """An agent's answer: JSON data and, for lead agents, a table as JSON rows in order."""

    data: JsonObject
    records: tuple[JsonObject, ...] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item has no answer, in words for the tenant: never an exception's own text."""

    code: ErrorCode
    message: str
    hint: str
    retryable: bool = False


def timed_out_failure(agent_name: str, limit_s: float) -> Failure:
    """Make the failure of an item that an agent had not answered within its time limit."""
    return Failure(
        ErrorCode.AGENT_TIMED_OUT,
        f"`{agent_name}` had not answered after {limit_s:g} seconds, its time limit.",
        f"Raise `timeout_s` in the options of `{agent_name}`, or give it less to do.",
        retryable=True,
    )


@dataclass(frozen=True, slots=True)
class AgentOutcome:
    """One item's result: a value or a failure, never both, with what it cost.

    `duration_s` is wall time spent on this item, in seconds.
    """

    value: AgentValue | None = None
    failure: Failure | None = None
    usage: Usage = field(default_factory=Usage)
    duration_s: float = 0.0

    def __post_init__(self) -> None:
        if (self.value is None) == (self.failure is None):
            raise ValueError("an outcome is either a value or a failure")


@dataclass(frozen=True, slots=True)
class AgentInput:
    """One execution's work for one agent.

    `input_data` is the execution's own input (`{"text": …}` for a sentence); `upstream` holds
    the values of the agents that lead here, by agent name.
    """

    execution_id: ExecutionId
    input_data: JsonObject
    upstream: Mapping[str, AgentValue]
    attempt: int = 1
