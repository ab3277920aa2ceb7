"""The reading process: forks a child for each read, with a time and a memory limit of its own.

Started by `agents.connectors.reader`, with nothing of the worker's environment: no credentials, no
addresses. It has the libraries loaded, so that a child costs a fork and not a second of imports.
"""

import contextlib
import gc
import io
import os
import pickle
import resource
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import BinaryIO, cast

import pandas as pd

from agents.connectors import opening as _preloaded
from agents.connectors.parquet import dataset_bytes, parquet_frame
from agents.connectors.replies import Failed, Frame, OutOfMemory, ReadJob, Refused, Reply
from domain.errors import TenantryError

__all__ = ["main"]

_PRELOADED = _preloaded
# What a child needs to say that it has no memory left.
_RESERVE_BYTES = 8 * 1024**2
_BEYOND_ALARM_S = 5


def main(control_fd: int) -> None:
    """Fork a child for every socket that arrives, until the worker closes its end."""
    # Ctrl-C is the worker's: it closes this socket when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control = socket.socket(fileno=control_fd)
    _warm_up()
    # Nothing that is loaded now is garbage: children need not touch, and so copy, its pages.
    gc.collect()
    gc.freeze()
    while True:
        data, fds, _, _ = socket.recv_fds(control, 1, 1)
        if not data:
            return
        for fd in fds:
            with contextlib.suppress(OSError):  # no process or no memory: the reader hears an end
                if os.fork() == 0:
                    control.close()
                    _serve(fd)
            os.close(fd)


def _warm_up() -> None:
    """Read a small table once: what libraries import and make at first use, children have then."""
    content = dataset_bytes(pd.DataFrame({"name": ["A"], "count": [1]}))
    pickle.dumps(parquet_frame(content, shown="a table"), protocol=5)
    pd.read_csv(io.StringIO("name\nA\n"), dtype=str, chunksize=1).read()


def _serve(fd: int) -> None:
    """Do one read in this child, which never returns."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection = socket.socket(fileno=fd)
        with connection.makefile("rb") as requests, connection.makefile("wb") as replies:
            job = cast("ReadJob", pickle.load(requests))
            _limit(job)
            _answer(job, cast("BinaryIO", replies))
    finally:
        os._exit(0)


def _limit(job: ReadJob) -> None:
    # The worker, and with it all other tenants, goes first where cores are short.
    os.nice(5)
    gc.disable()
    # The default action ends the process whatever C code it is in; no handler has to run.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, job.limits.read_s)
    cpu_s = int(job.limits.read_s) + _BEYOND_ALARM_S
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        most = pages * resource.getpagesize() + job.limits.memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        # Should the machine itself run out, this process is the one to go.
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _answer(job: ReadJob, replies: BinaryIO) -> None:
    reserve = bytearray(_RESERVE_BYTES)
    reply: Reply
    try:
        reply = Frame(job.read())
    except TenantryError as error:
        # Without the driver's exception: its text quotes addresses, and may not be picklable.
        error.__cause__ = error.__context__ = None
        reply = Refused(error)
    except MemoryError:
        del reserve
        reply = OutOfMemory()
    except Exception:
        reply = Failed(traceback.format_exc())
    # Should this fail half-way, the reader hears the end of the stream, and no reply.
    pickle.dump(reply, replies, protocol=5)
    replies.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
