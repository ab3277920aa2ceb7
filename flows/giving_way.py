"""Large runs give way, in this process, to small ones that are being started.

The rows of a large run take Python a tenth of a second at a time. A small run that starts meanwhile
shares the processor with each of them, at every one of its own short steps: so no such stretch is
begun while one is being started, for a moment at most.
"""

import asyncio
from dataclasses import dataclass, field

from domain.ids import RunId

_SMALL = 25
_LONGEST_S = 0.2


@dataclass(slots=True)
class _Starting:
    """Small runs that are being started, and the event of the last one's having begun.

    A new event whenever there are some again: one belongs to the loop in which it is waited for.
    """

    runs: set[RunId] = field(default_factory=set[RunId])
    over: asyncio.Event = field(default_factory=asyncio.Event)


_now = _Starting()


def note_starting(run_id: RunId, size: int) -> None:
    """Note that a run is being started; a small one is given way to until `note_started`."""
    if size <= _SMALL:
        if not _now.runs:
            _now.over = asyncio.Event()
        _now.runs.add(run_id)


def note_started(run_id: RunId) -> None:
    """Note that a run's agents are asked now, or that it is over; noted again, nothing changes."""
    _now.runs.discard(run_id)
    if not _now.runs:
        _now.over.set()


async def give_way(size: int) -> None:
    """Wait for small runs that are being started, before so many rows are worked on."""
    if size <= _SMALL or not _now.runs:
        return
    try:
        async with asyncio.timeout(_LONGEST_S):
            await _now.over.wait()
    except TimeoutError:
        # Whoever starts one after the other must not keep it waiting for ever.
        return
