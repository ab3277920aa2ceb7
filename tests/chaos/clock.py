"""The clock of a run: it stands still while the machine is busy with starting Prefect again."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

_TICK_S = 0.1


@dataclass(slots=True)
class Clock:
    """Seconds in which there is something to disturb, from 0.

    Prefect's server starts in ten seconds or in eighty, by the machine and what else it does. With
    a plan of plain seconds, a slow machine would see all faults while nothing runs.
    """

    is_up: Callable[[], bool]
    """Says whether Prefect is there."""
    away_s: float
    """So long the clock goes on without it, each time: that is a fault of its own."""
    patience_s: float
    """So long it stands still, in all."""
    now_s: float = 0.0

    async def run(self) -> None:
        """Go on until cancelled."""
        before, away_s, stood_s = time.monotonic(), 0.0, 0.0
        while True:
            await asyncio.sleep(_TICK_S)
            passed_s = time.monotonic() - before
            before += passed_s
            away_s = 0.0 if self.is_up() else away_s + passed_s
            if away_s <= self.away_s or stood_s > self.patience_s:
                self.now_s += passed_s
            else:
                stood_s += passed_s

    async def wait_until(self, at_s: float) -> None:
        """Wait for a moment."""
        while self.now_s < at_s:
            await asyncio.sleep(_TICK_S)
