"""Contenders: warm processes that measure themselves when they are asked to.

Question and answer are one JSON document a line, over the process's standard input and output.
The first question holds what it needs to start, so that no password stands in its arguments or
its environment.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from deployments.bench.failures import BenchFailed
from deployments.bench.steps import expected_output
from deployments.embedded.processes import end_with_parent
from domain.json_data import JsonObject

_STOP_S = 15
_SIGKILL = 9


class Contender:
    """A process of its own, from `with` to the end of the block."""

    def __init__(
        self, module: str, *, environ: Mapping[str, str], setup: JsonObject, log: Path
    ) -> None:
        self._module, self._environ, self._setup, self._log = module, environ, setup, log
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=dict(self._environ),
                cwd=self._log.parent,
                preexec_fn=end_with_parent(_SIGKILL),
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._started()
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._started().pid

    def prepare(self) -> JsonObject:
        """Have it get warm; return what it says of itself."""
        return self.ask(self._setup)

    def ask(self, question: JsonObject) -> JsonObject:
        """Ask, and wait for the answer.

        Raises:
            BenchFailed: the process has ended instead, or its steps gave a wrong answer.
        """
        process = self._started()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a contender is started with pipes")
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            said = self._log.read_text("utf-8", "replace").strip().splitlines()[-1:]
            raise BenchFailed(f"{self._module} has ended: {''.join(said)}")
        return json.loads(line)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the contender is not started")
        return self._process


class Answers:
    """A contender's own side of the conversation.

    Libraries write to standard output what they like: it leads to standard error here, and only
    answers go out.
    """

    def __init__(self) -> None:
        self._out: TextIO = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def next_question(self) -> Any:
        """Wait for the next question; `None` when nobody asks any more."""
        line = sys.stdin.readline()
        return json.loads(line) if line else None

    def give(self, answer: JsonObject) -> None:
        """Answer the question."""
        self._out.write(json.dumps(answer) + "\n")
        self._out.flush()


def check_output(number: int, output: object) -> None:
    """Make sure that the steps have really run.

    Raises:
        BenchFailed: they gave another answer.
    """
    if output != expected_output(number):
        raise BenchFailed(f"The steps gave a wrong answer for input {number}.")


async def run_tasks(
    one: Callable[[int], Awaitable[object]], *, at_once: int, seconds: float
) -> JsonObject:
    """Run `one` as often as it goes, `at_once` at a time, and check every answer.

    Nothing is started after `seconds`; what is under way is waited for, and that time counts.
    """
    latencies: list[float] = []
    numbers = iter(range(1_000_000_000))
    started, cpu = time.perf_counter(), time.process_time()

    async def lane() -> None:
        while time.perf_counter() - started < seconds:
            number = next(numbers)
            begun = time.perf_counter()
            check_output(number, await one(number))
            latencies.append((time.perf_counter() - begun) * 1000)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(lane())
    return _measured(latencies, started, cpu)


def run_threads(one: Callable[[int], object], *, at_once: int, seconds: float) -> JsonObject:
    """Do in threads what `run_tasks` does in tasks."""
    latencies: list[float] = []
    numbers = iter(range(1_000_000_000))
    lock = threading.Lock()
    started, cpu = time.perf_counter(), time.process_time()

    def lane(_: int) -> None:
        while time.perf_counter() - started < seconds:
            with lock:
                number = next(numbers)
            begun = time.perf_counter()
            check_output(number, one(number))
            latencies.append((time.perf_counter() - begun) * 1000)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lane, range(at_once)))
    return _measured(latencies, started, cpu)


def _measured(latencies: list[float], started: float, cpu: float) -> JsonObject:
    return {
        "count": len(latencies),
        "elapsed_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "latencies_ms": [*latencies],
    }
