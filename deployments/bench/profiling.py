"""Where a process's time goes: CPU by code, and the calls that it waits for.

CPU is sampled from a thread beside: every few milliseconds, what each thread has used since the
last look is booked on what that thread is doing now. It needs no tool that is not there, and
slows the process down by a few percent.
"""

import json
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
from sqlalchemy import Engine, event

from domain.json_data import JsonObject, JsonValue

PACKAGES = ("domain", "persistence", "agents", "flows", "deployments", "api")
_EVERY_S = 0.004
_WRITE_EVERY_S = 1.0
_STARTED = "bench_started"


@dataclass(slots=True)
class _Samples:
    """CPU seconds, by where they were spent."""

    by_library: dict[str, float] = field(default_factory=dict[str, float])
    by_function: dict[str, float] = field(default_factory=dict[str, float])
    """Functions of ours and of Prefect's, with all that they call."""
    total_s: float = 0.0


@dataclass(slots=True)
class Calls:
    """Calls that were made, with the wall time that each took."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    rows: list[tuple[str, str, float, float]] = field(
        default_factory=list[tuple[str, str, float, float]]
    )

    def add(self, kind: str, text: str, seconds: float) -> None:
        with self.lock:
            self.rows.append((kind, text, time.time(), seconds))


@contextmanager
def profile_into(path: Path) -> Generator[None]:
    """Profile this process until the end of the block, and write what came out as JSON.

    Written anew every second, so that a process that is killed leaves it as well.
    """
    samples, calls, stop = _Samples(), Calls(), threading.Event()
    watch_statements(calls)
    _watch_requests(calls)
    thread = threading.Thread(
        target=_sample, args=(samples, calls, stop, path), name="profiler", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _sample(samples: _Samples, calls: Calls, stop: threading.Event, path: Path) -> None:
    seen: dict[int, float] = {}
    me = threading.get_ident()
    written = time.monotonic()
    while not stop.wait(_EVERY_S):
        for thread, frame in sys._current_frames().items():  # pyright: ignore[reportPrivateUsage] - the documented way to look at other threads
            if thread != me:
                _book(samples, seen, thread, frame)
        if time.monotonic() - written > _WRITE_EVERY_S:
            _write(path, samples, calls)
            written = time.monotonic()
    _write(path, samples, calls)


def _book(samples: _Samples, seen: dict[int, float], thread: int, frame: FrameType) -> None:
    try:
        used = time.clock_gettime(time.pthread_getcpuclockid(thread))
    except (OSError, OverflowError):
        return  # it has just ended
    spent = used - seen.get(thread, used)
    seen[thread] = used
    if spent <= 0:
        return
    samples.total_s += spent
    library = _library(frame)
    samples.by_library[library] = samples.by_library.get(library, 0.0) + spent
    for name in {_function(each) for each in _stack(frame)} - {""}:
        samples.by_function[name] = samples.by_function.get(name, 0.0) + spent


def _stack(frame: FrameType) -> Iterator[FrameType]:
    at: FrameType | None = frame
    while at is not None:
        yield at
        at = at.f_back


def _library(frame: FrameType) -> str:
    # The innermost frame that is of a package: what the standard library does is its caller's.
    for each in _stack(frame):
        package = _package(each)
        if package:
            return package
    return "Python itself"


def _package(frame: FrameType) -> str:
    module = str(frame.f_globals.get("__name__", ""))
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == "__main__":
        return ""
    return top


def _function(frame: FrameType) -> str:
    top = _package(frame)
    if top not in PACKAGES and top != "prefect":
        return ""
    return f"{frame.f_globals['__name__']}.{frame.f_code.co_qualname}"


def watch_statements(calls: Calls) -> None:
    def before(
        connection: Any, _cursor: Any, _statement: str, _values: Any, _context: Any, _many: bool
    ) -> None:
        connection.info[_STARTED] = time.perf_counter()

    def after(
        connection: Any, _cursor: Any, statement: str, _values: Any, _context: Any, many: bool
    ) -> None:
        text = " ".join(statement.split())
        calls.add("sql", text, time.perf_counter() - connection.info[_STARTED])

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)

    def at_commit(connection: Any) -> None:
        calls.add("sql", "COMMIT (not timed)", 0.0)

    event.listen(Engine, "commit", at_commit)


def _watch_requests(calls: Calls) -> None:
    send = httpx.AsyncClient.send

    async def timed(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return await send(self, request, **options)
        finally:
            path = request.url.path.removeprefix("/api")
            calls.add("http", f"{request.method} {path}", time.perf_counter() - started)

    httpx.AsyncClient.send = timed  # a profiler has to get in between


def _write(path: Path, samples: _Samples, calls: Calls) -> None:
    with calls.lock:
        rows = list(calls.rows)
    document: JsonObject = {
        "total_s": samples.total_s,
        "by_library": {**samples.by_library},
        "by_function": {**samples.by_function},
        "calls": [list[JsonValue](row) for row in rows],
    }
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(path)
