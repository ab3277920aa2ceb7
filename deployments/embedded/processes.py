"""Recognise processes, end them, and have them end with their parent."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process for good: pids are used again, a pid with its time of start is not."""

    pid: int
    start: str

    @property
    def alive(self) -> bool:
        """Whether it still runs; one that has ended and only waits for its parent doesn't."""
        return find_start(self.pid) == self.start

    def send(self, signum: int) -> None:
        """Send a signal, if it still runs."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def kill_group(self) -> None:
        """End it at once, with what it has started in its group, if it still runs."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


def identify(pid: int) -> ProcessId:
    """Name a process that is our child, alive or not yet reaped."""
    return ProcessId(pid, find_start(pid) or "ended")


def find_start(pid: int) -> str | None:
    """Return a text that tells a process from others with the same pid; `None` if it is dead.

    On Linux that is the boot and the clock tick of its start.
    """
    if sys.platform != "linux":
        return _find_start_by_ps(pid)
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets, which may itself hold brackets.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        return None
    boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{fields[19]}"


def _find_start_by_ps(pid: int) -> str | None:
    status, _, start = _ask_ps(pid, "stat=,lstart=").partition(" ")
    return None if not status or status.startswith("Z") else start.strip()


def find_command(pid: int) -> str:
    """Return the command line of a live process; empty if there is none with this pid."""
    if sys.platform == "linux":
        try:
            command = (_PROC / str(pid) / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return command.replace(b"\0", b" ").decode("utf-8", "replace")
    return _ask_ps(pid, "command=")


def _ask_ps(pid: int, columns: str) -> str:
    asked = subprocess.run(
        ["/bin/ps", "-o", columns, "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()


def list_pids_in(folder: Path) -> tuple[int, ...]:
    """List the live processes whose working folder is the given one (Linux; elsewhere none).

    All processes of a PostgreSQL cluster work in its data folder and nothing else does, so
    this finds also those that have lost their parent.
    """
    if sys.platform != "linux":
        return ()
    found: list[int] = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            # Processes end while we look, and those of other users can't be looked at.
            with suppress(OSError):
                if (entry / "cwd").readlink() == folder:
                    found.append(int(entry.name))
    return tuple(found)


def end_with_parent(signum: int) -> Callable[[], None] | None:
    """Return what a child must do before its program starts, to get a signal when we die.

    Works on Linux only: elsewhere `None`, and the next start ends what is left.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return ask_kernel
