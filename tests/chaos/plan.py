"""Which faults happen when: drawn from a seed, so that a run that failed can be made again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from deployments.embedded.specs import POSTGRES, PREFECT
from deployments.installation import API, STEWARD

WORKERS = ("worker-1", "worker-2")
SERVICES = (*WORKERS, STEWARD, API, POSTGRES, PREFECT)
LINKS = (
    *((client, POSTGRES) for client in (*WORKERS, STEWARD, API)),
    *((client, PREFECT) for client in (*WORKERS, STEWARD)),
)
# At most so often: the keeper gives a service up that dies six times in a minute.
_MOST_KILLS = 3
_NETWORK_FAULTS = 16


class FaultKind(StrEnum):
    """What happens."""

    KILL = "kill"
    """A service gets SIGKILL; its keeper starts it again."""
    RESET = "reset"
    """All connections of a link are reset, once."""
    DELAY = "delay"
    """Everything takes longer."""
    HOLD = "hold"
    """Nothing comes through; afterwards all of it does, late."""
    BLACKHOLE = "blackhole"
    """What is sent is lost, without a word; afterwards the connections are reset."""
    REFUSE = "refuse"
    """Connections are reset, and new ones are refused."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: when (seconds from the load's beginning), what, where, and for how long."""

    at_s: float
    kind: FaultKind
    service: str
    """Whom it hits: the killed service, or the client of a link."""
    server: str | None = None
    """The other end of the link."""
    for_s: float = 0.0
    delay_s: float = 0.0

    def __str__(self) -> str:
        """Write it as a line of the plan."""
        where = self.service if self.server is None else f"{self.service} > {self.server}"
        span = f" for {self.for_s:.1f} s" if self.for_s else ""
        by = f" by {self.delay_s:.2f} s" if self.delay_s else ""
        return f"{self.at_s:6.1f} s  {self.kind.value:9} {where}{span}{by}"


def make_plan(seed: int, *, length_s: float) -> list[Fault]:
    """Draw the faults of a run: every service is killed, and every link is hit by something."""
    draw = random.Random(f"faults of {seed}")
    faults: list[Fault] = []
    for service in SERVICES:
        # The two that take longest to come back are killed least.
        most = 2 if service in (POSTGRES, PREFECT) else _MOST_KILLS
        for _ in range(draw.randint(1, most)):
            faults.append(Fault(_moment(draw, length_s), FaultKind.KILL, service))
    kinds = [kind for kind in FaultKind if kind is not FaultKind.KILL]
    links = [*LINKS, *draw.choices(LINKS, k=_NETWORK_FAULTS - len(LINKS))]
    draw.shuffle(links)
    for number, (client, server) in enumerate(links):
        kind = kinds[number % len(kinds)]
        faults.append(
            Fault(
                _moment(draw, length_s),
                kind,
                client,
                server,
                for_s=0.0 if kind is FaultKind.RESET else round(draw.uniform(1, 9), 1),
                delay_s=round(draw.uniform(0.02, 0.3), 2) if kind is FaultKind.DELAY else 0.0,
            )
        )
    return sorted(faults, key=lambda fault: (fault.at_s, fault.service))


def describe_plan(seed: int, plan: Sequence[Fault]) -> str:
    """Write a plan down."""
    return "\n".join([f"seed {seed}: {len(plan)} faults", *(f"  {fault}" for fault in plan)])


def _moment(draw: random.Random, length_s: float) -> float:
    # Not at once: something has to be under way.
    return round(draw.uniform(3, length_s), 1)
