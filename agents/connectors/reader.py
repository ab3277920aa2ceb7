"""Reading apart: each read in a child process that has a time limit and a memory limit.

Formats and databases decide how long a read takes and how much it brings, and tenants decide what
is in them. A thread that hangs in C code, or fills the memory, cannot be stopped; a process can.
"""

import atexit
import contextlib
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import cast
from weakref import WeakValueDictionary

import pandas as pd

from agents.connectors.limits import ReadLimits
from agents.connectors.replies import Failed, Frame, OutOfMemory, ReadJob, Refused, Reply
from agents.errors import ConnectorTimedOut, DataTooLarge, ReaderFailed

READS_AT_A_TIME = 2
"""Of one organization, in one worker: what it reads is held in memory."""
_GRACE_S = 5.0
_STOP_S = 2.0
_END_S = 0.2


class _Reader:
    """The process that forks a child for each read; started by the first, kept for the others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Start it, if it is not there; it loads its libraries by itself."""
        with self._lock:
            self._ensure()

    def connect(self) -> socket.socket:
        """Have a child forked and connect to it."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            try:
                socket.send_fds(self._ensure(), [b"r"], [theirs.fileno()])
            except OSError:
                # It was ended, by the kernel for its memory or by an operator: a new one.
                self._end()
                socket.send_fds(self._ensure(), [b"r"], [theirs.fileno()])
        return ours

    def has_ended(self) -> bool:
        """Say whether the process is gone; one that is being ended gets a moment for it."""
        with self._lock:
            if self._process is None:
                return True
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                return False
            return True

    def stop(self) -> None:
        """End it; children under way end with their reads."""
        with self._lock:
            self._end()

    def _ensure(self) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        self._end()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "agents.connectors.reader_main", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._control = ours
        return ours

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
        self._process = self._control = None


_reader = _Reader()
atexit.register(_reader.stop)


def start_reader() -> None:
    """Start the reading process ahead of the first read, which waits for its imports else."""
    _reader.start()


def read_apart(
    read: Callable[[], pd.DataFrame], *, shown: str, limits: ReadLimits, turn: str
) -> pd.DataFrame:
    """Call a picklable function that reads records, in a child process.

    Blocking, up to twice `limits.read_s`: call it in a thread of its own.

    Args:
        shown: names what is read, in errors.
        turn: whose read it is; of one and the same, `READS_AT_A_TIME` go on, others wait.
    Raises:
        TenantryError: what `read` raised.
        ConnectorTimedOut: it took longer than `limits.read_s`, or got no turn for so long.
        DataTooLarge: it needed more memory than `limits.memory_bytes`.
        ReaderFailed: it broke off, or raised what nobody foresaw.
    """
    with _turn_of(turn, limits=limits):
        reply, took_s = _read_once(read, limits)
        if reply is None and took_s < limits.read_s and _reader.has_ended():
            # It was ended, by the kernel or by an operator, before it had forked a child.
            reply, took_s = _read_once(read, limits)
    match reply:
        case Frame(frame):
            return frame
        case Refused(error):
            raise error
        case OutOfMemory():
            raise DataTooLarge(
                f"Reading {shown} needs more than {limits.memory_bytes // 2**20:,} MB of memory.",
                hint="Leave out rows and columns that no agent needs, the longest ones first.",
            )
        case Failed(text):
            raise ReaderFailed(shown) from RuntimeError(text)
        case None if took_s >= limits.read_s:
            raise ConnectorTimedOut(
                f"Reading {shown} took longer than {limits.read_s:g} seconds.",
                hint="Check that the database answers, and that the view comes to an end; make "
                "one with fewer rows.",
            )
        case None:
            raise ReaderFailed(shown)


def _read_once(read: Callable[[], pd.DataFrame], limits: ReadLimits) -> tuple[Reply | None, float]:
    started = time.monotonic()
    with _reader.connect() as connection:
        connection.settimeout(limits.read_s + _GRACE_S)
        return _exchange(connection, ReadJob(read, limits)), time.monotonic() - started


def _exchange(connection: socket.socket, job: ReadJob) -> Reply | None:
    """Ask and wait for the reply; None if the child ended without one."""
    try:
        with connection.makefile("wb") as requests:
            pickle.dump(job, requests, protocol=5)
        with connection.makefile("rb") as replies:
            # Our own code wrote it, in a process that has nothing of the tenant's but data.
            return cast("Reply", pickle.load(replies))
    except (EOFError, OSError, pickle.UnpicklingError):
        return None


class _Turns:
    def __init__(self) -> None:
        self.free = threading.BoundedSemaphore(READS_AT_A_TIME)


_turns: WeakValueDictionary[str, _Turns] = WeakValueDictionary()
_turns_lock = threading.Lock()


@contextmanager
def _turn_of(key: str, *, limits: ReadLimits) -> Generator[None]:
    with _turns_lock:
        turns = _turns.get(key)
        if turns is None:
            turns = _turns[key] = _Turns()
    if not turns.free.acquire(timeout=limits.read_s):
        raise ConnectorTimedOut(
            f"Your organization reads {READS_AT_A_TIME} other tables, and they did not come to "
            f"an end within {limits.read_s:g} seconds.",
            hint="It is tried again. Look for the connector whose database does not answer.",
        )
    try:
        yield
    finally:
        turns.free.release()


def _environment() -> dict[str, str]:
    """Make the reading process's environment: nothing of the worker's.

    libpq takes whatever a URL leaves out from `PG…` variables and from files in the home
    folder: a tenant's connector would sign in as the operator.
    """
    return {
        "PATH": os.defpath,
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
        # Threads of libraries do not survive a fork, and each keeps an arena of memory.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "MALLOC_ARENA_MAX": "1",
    }
