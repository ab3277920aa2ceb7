"""What becomes of a lost run's executions: a poison is isolated, its neighbours lose nothing.

An execution that hangs or kills its worker takes along whatever the worker carries. Which one it
was is found by halves: what a lost run carried returns to the queue in runs a tenth as large, and
what was lost more than once is carried by a process of its own, one run at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_PART = 10


class LossCause(StrEnum):
    """What is known of why a run was lost."""

    OWN = "own"
    """It hung its worker, or broke off by itself."""
    BESIDE = "beside"
    """Its worker hung over another run, or was stopped: it has no part in that."""
    ALONE = "alone"
    """Its worker was lost, and carried nothing else."""
    AMONG = "among"
    """Its worker was lost, and carried other runs as well: any of them may be the reason."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What is known of a run that was lost."""

    size: int
    """Executions that it was started with."""
    was_asked: bool
    """Whether any agent was asked, or its own definition kept it from that."""
    cause: LossCause | None = None
    """`None`: it crashed by itself, in a worker that lives."""

    @property
    def is_held_against_it(self) -> bool:
        """Whether it may have been the reason itself."""
        return self.was_asked and self.cause is not LossCause.BESIDE

    @property
    def costs_attempt(self) -> bool:
        """Whether its execution loses an attempt: only what was lost alone does."""
        return self.is_held_against_it and self.size <= 1 and self.cause is not LossCause.AMONG

    @property
    def next_size(self) -> int | None:
        """The size of the runs in which its executions return; `None`: as before."""
        return max(1, self.size // _PART) if self.is_held_against_it else None

    @property
    def isolates(self) -> bool:
        """Whether its executions are carried in a process of their own from the first time on."""
        return self.is_held_against_it and self.cause is LossCause.OWN


def count_together(limits: Sequence[int | None]) -> int:
    """Count how many of the first executions of a line one run may carry.

    Args:
        limits: of each, in order, the size that runs with it may have; `None` is no limit.
            Executions of different limits are not carried together.
    """
    if not limits:
        return 0
    first = limits[0]
    same = next((n for n, limit in enumerate(limits) if limit != first), len(limits))
    return same if first is None else min(same, first)
