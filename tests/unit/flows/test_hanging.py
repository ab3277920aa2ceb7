"""Which run keeps an event loop busy, and what becomes of a process whose loop hangs."""

import asyncio
import subprocess
import sys
import threading
import time
from typing import ClassVar

from domain.ids import RunId
from flows.hanging import describe_stack, find_run_under_way, note_run_of_task


class Blocking:
    """A loop in a thread, in which several runs are under way and one blocks."""

    is_blocked: ClassVar[threading.Event]

    def __init__(self) -> None:
        self.blocked, self.release = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.main()))

    async def main(self) -> None:
        async def wait(run_id: str) -> None:
            note_run_of_task(RunId(run_id))
            await asyncio.sleep(30)

        async def block_in_a_task_of_its_own() -> None:
            self.blocked.set()
            self.release.wait(30)

        async def block(run_id: str) -> None:
            note_run_of_task(RunId(run_id))
            await asyncio.gather(block_in_a_task_of_its_own())

        others = [asyncio.create_task(wait(f"run_{number}")) for number in range(3)]
        await asyncio.sleep(0)
        await asyncio.create_task(block("run_reason"))
        for other in others:
            other.cancel()


def test_the_run_whose_agent_blocks_the_loop_is_named_among_those_under_way():
    loop = Blocking()
    loop.thread.start()
    assert loop.blocked.wait(30)
    try:
        assert loop.thread.ident is not None
        assert find_run_under_way(loop.thread.ident) == "run_reason"
        assert "block_in_a_task_of_its_own" in describe_stack(loop.thread.ident)
    finally:
        loop.release.set()
        loop.thread.join(30)


def test_a_loop_that_is_busy_with_no_agent_names_no_run():
    assert find_run_under_way(threading.get_ident()) is None
    assert find_run_under_way(-1) is None


PROGRAM = """
import asyncio, re, signal, sys, threading, time
from deployments.hang_watch import HangWatch

class Unreachable:
    def for_platform(self):
        from persistence.driver_errors import DatabaseUnreachable
        raise DatabaseUnreachable

async def main():
    watch = HangWatch(Unreachable(), worker="w", limit_s=1.0)
    watch.start()
    watch.beat()
    for _ in range(3):
        await asyncio.sleep(0.1)
        watch.beat()
    print("beating", flush=True)
    {hang}
    watch.stop()

asyncio.run(main())
print("went on")
"""


def run(hang: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.replace("{hang}", hang)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_worker_whose_agent_sleeps_in_the_loop_ends_itself_and_says_where_it_was():
    ended = run("time.sleep(40)")
    assert ended.returncode == 70
    assert "in main" in ended.stderr
    assert "went on" not in ended.stdout


def test_a_worker_whose_agent_holds_the_interpreter_is_ended_all_the_same():
    # Catastrophic backtracking: no other thread of Python runs meanwhile.
    ended = run("re.match('(a+)+b', 'a' * 40)")
    assert ended.returncode == -27  # SIGPROF
    assert "in main" in ended.stderr


def test_a_worker_that_was_frozen_goes_on_when_it_wakes():
    program = PROGRAM.replace("{hang}", "await asyncio.sleep(0.1); watch.beat()")
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as frozen:
        assert frozen.stdout is not None
        assert frozen.stdout.readline() == "beating\n"
        frozen.send_signal(19)  # SIGSTOP
        time.sleep(3)
        frozen.send_signal(18)  # SIGCONT
        assert frozen.stdout.read() == "went on\n"
        assert frozen.wait(30) == 0
