"""What processes use: CPU time and memory, as Linux counts them.

Elsewhere than on Linux nothing is known, and the figures are left out.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_SETTLE_LOOK_S = 0.5
_SETTLED_SHARE = 0.25  # of one CPU, all processes together; what is left over takes all of one
_SETTLE_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process and all that it has started use."""

    cpu_s: float
    rss_mb: float


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    own_ticks: int
    ended_children_ticks: int
    rss_pages: int


def read_usage(roots: Mapping[str, int]) -> dict[str, Usage]:
    """Read what each named process uses, with its descendants; those that are gone are left out.

    CPU time of descendants that have ended counts, once their parent has noticed. Memory is the
    sum of what is resident, so that pages shared by PostgreSQL's processes count for each.
    """
    if not _PROC.is_dir():
        return {}
    processes = _read_processes()
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    used: dict[str, Usage] = {}
    for name, root in roots.items():
        if root not in processes:
            continue
        ticks = pages = 0
        waiting = [root]
        while waiting:
            pid = waiting.pop()
            process = processes[pid]
            ticks += process.own_ticks + process.ended_children_ticks
            pages += process.rss_pages
            waiting += children.get(pid, [])
        used[name] = Usage(
            ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        )
    return used


def cpu_between(before: Mapping[str, Usage], after: Mapping[str, Usage]) -> dict[str, float]:
    """Subtract: CPU seconds of those that were there at both times."""
    return {name: after[name].cpu_s - before[name].cpu_s for name in after if name in before}


def settle(look: Callable[[], Mapping[str, Usage]]) -> None:
    """Wait until the stack has worked off what it was left with, but not for ever.

    Prefect's server works on a flow run's events for seconds after its end: the next contender
    must not pay for them.
    """
    deadline = time.monotonic() + _SETTLE_LIMIT_S
    before = look()
    while time.monotonic() < deadline:
        time.sleep(_SETTLE_LOOK_S)
        after = look()
        if sum(cpu_between(before, after).values()) < _SETTLED_SHARE * _SETTLE_LOOK_S:
            return
        before = after


def _read_processes() -> dict[int, _Process]:
    found: dict[int, _Process] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            # Processes end while we look.
            with suppress(OSError):
                stat = (entry / "stat").read_text("utf-8", "replace")
                # The second field is the program's name in brackets, which may hold brackets.
                fields = stat.rpartition(")")[2].split()
                found[int(entry.name)] = _Process(
                    parent=int(fields[1]),
                    own_ticks=int(fields[11]) + int(fields[12]),
                    ended_children_ticks=int(fields[13]) + int(fields[14]),
                    rss_pages=int(fields[21]),
                )
    return found
