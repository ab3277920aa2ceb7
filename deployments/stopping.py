"""Run a service until a signal stops it, without tearing it down in the middle of a step."""

import asyncio
import contextvars
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any


def run_until_stopped(serve: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `serve` in a thread of its own until it ends, or SIGTERM or SIGINT cancels it.

    In a thread, because Prefect's engine installs a SIGTERM handler that raises in the middle of
    whatever the main thread does while a flow runs there; in another thread it cannot.
    A second signal changes nothing: the drain is bounded in time.
    """
    stop = threading.Event()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(_serve(serve, stop))
        except BaseException as error:
            failure.append(error)
        finally:
            stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        _set_on(number, stop)
    thread = threading.Thread(target=run, name="service")
    thread.start()
    # In steps: a wait without end would keep Python from running the signal handler.
    while thread.is_alive():
        thread.join(timeout=0.5)
    if failure:
        raise failure[0]


async def run_aside(serve: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `serve` in a thread and a loop of its own until it ends, or SIGTERM cancels it.

    For a command of somebody else's, whose loop has the main thread; see `run_until_stopped`.
    Cancelled itself, it cancels `serve` and waits for its end.

    Raises:
        CancelledError: it was cancelled.
    """
    stop = threading.Event()
    # Settings of Prefect's are in the context.
    context = contextvars.copy_context()
    before = signal.getsignal(signal.SIGTERM)
    _set_on(signal.SIGTERM, stop)
    try:
        work = asyncio.get_running_loop().run_in_executor(
            None, lambda: context.run(asyncio.run, _serve(serve, stop))
        )
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            await work
            raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _set_on(number: signal.Signals, stop: threading.Event) -> None:
    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(number, on_signal)


async def _serve(serve: Callable[[], Coroutine[Any, Any, None]], stop: threading.Event) -> None:
    service = asyncio.create_task(serve())
    stopped = asyncio.create_task(_stopped(stop))
    await asyncio.wait({service, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not service.done():
        service.cancel()
    stopped.cancel()
    try:
        await service
    except asyncio.CancelledError:
        return


async def _stopped(stop: threading.Event) -> None:
    while not stop.is_set():
        await asyncio.sleep(0.1)
