"""Calls that may block for long, each in a thread of its own."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def call_in_own_thread(call: Callable[[], T], *, name: str) -> T:
    """Call a blocking function without holding a thread of the pool that all runs share.

    Reads that wait for a silent server would take all of those, and nothing else of the worker
    would reach its database. Cancelling ends the waiting; the thread ends when the call does.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(value: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(value)  # type: ignore[arg-type]
        else:
            done.set_exception(error)

    def run() -> None:
        value, error = None, None
        try:
            value = context.run(call)
        # Whatever it is belongs to who awaits it.
        except BaseException as raised:
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
