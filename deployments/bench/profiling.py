"""Where a process's time goes: CPU by code, and the calls that it waits for.

CPU is counted call by call in every thread, by the thread's own CPU clock, so that waiting counts
nothing. That makes the process up to twice as slow: shares are right, sums are too large. (Looking
at the stacks now and then costs less and is wrong here: a thread that looks at the others gets its
turn when they wait, and finds all of them at the places where they wait.) Needs Python 3.11: later
ones have one profile for all threads of a process.
"""

import cProfile
import json
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import httpx
from sqlalchemy import Engine, event

from domain.json_data import JsonObject, JsonValue

ROOT = Path(__file__).parents[2]
PACKAGES = ("domain", "persistence", "agents", "flows", "deployments", "api")
_WRITE_EVERY_S = 1.0
_STARTED = "bench_started"


@dataclass(slots=True)
class _Cpu:
    """One profile a thread; those of threads that have ended stay."""

    profiles: list[cProfile.Profile] = field(default_factory=list[cProfile.Profile])

    def start_here(self) -> None:
        """Count what this thread uses from now on."""
        # What is written in C counts for its caller.
        profile = cProfile.Profile(time.thread_time, builtins=False)
        self.profiles.append(profile)
        profile.enable()

    def start_in_thread(self, _frame: FrameType, _event: str, _value: object) -> None:
        """Take over from `threading.setprofile`, which calls it as a new thread begins."""
        sys.setprofile(None)
        self.start_here()

    def add_up(self) -> tuple[float, dict[str, float], dict[str, float]]:
        """Give seconds: of all threads, by library, and by function with all that it calls."""
        total, by_library, by_function = 0.0, dict[str, float](), dict[str, float]()
        for profile in list(self.profiles):
            for entry in profile.getstats():
                if isinstance(entry.code, str):
                    continue
                total += entry.inlinetime
                library = _library(entry.code.co_filename)
                by_library[library] = by_library.get(library, 0.0) + entry.inlinetime
                if library in PACKAGES or library == "prefect":
                    name = _function(entry.code)
                    by_function[name] = by_function.get(name, 0.0) + entry.totaltime
        return total, by_library, by_function


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
    cpu, calls, stop = _Cpu(), Calls(), threading.Event()
    watch_statements(calls)
    _watch_requests(calls)
    writer = threading.Thread(target=_write_often, args=(cpu, calls, stop, path), daemon=True)
    writer.start()
    # From 3.12 on a process has one profile for all its threads, which mixes their stacks.
    if sys.version_info < (3, 12):
        threading.setprofile(cpu.start_in_thread)
        cpu.start_here()
    try:
        yield
    finally:
        threading.setprofile(None)  # pyright: ignore[reportArgumentType] - documented for `sys`
        stop.set()
        writer.join()


def _write_often(cpu: _Cpu, calls: Calls, stop: threading.Event, path: Path) -> None:
    while not stop.wait(_WRITE_EVERY_S):
        _write(path, cpu, calls)
    _write(path, cpu, calls)


@cache
def _library(filename: str) -> str:
    path, standard = Path(filename), Path(threading.__file__).parent
    for place in (ROOT, *(each for each in path.parents if each.name == "site-packages")):
        if path.is_relative_to(place) and "site-packages" not in path.relative_to(place).parts:
            return path.relative_to(place).parts[0].removesuffix(".py")
    if path.is_relative_to(standard):
        return "Python: " + path.relative_to(standard).parts[0].removesuffix(".py")
    return "made at run time"


@cache
def _function(code: CodeType) -> str:
    parts = Path(code.co_filename).with_suffix("").parts
    top = len(parts) - parts[::-1].index(_library(code.co_filename)) - 1
    return ".".join((*parts[top:], code.co_qualname))


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


def _write(path: Path, cpu: _Cpu, calls: Calls) -> None:
    with calls.lock:
        rows = list(calls.rows)
    total_s, by_library, by_function = cpu.add_up()
    document: JsonObject = {
        "total_s": total_s,
        "by_library": {**by_library},
        "by_function": {**by_function},
        "calls": [list[JsonValue](row) for row in rows],
    }
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(path)
