"""Which run the event loop is busy with, seen from another thread."""

import asyncio
import sys
import traceback
from contextvars import Context, ContextVar
from types import FrameType
from typing import cast

from domain.ids import RunId

# Set in the task of an agent. Tasks that the agent makes inherit it.
_asked: ContextVar[RunId | None] = ContextVar("asked_run", default=None)
# What the event loop calls is run by this method, whose handle knows the context.
_STEP = asyncio.Handle._run.__code__  # pyright: ignore[reportPrivateUsage]


def note_run_of_task(run_id: RunId) -> None:
    """Remember, for this task and those that it makes, for which run an agent is asked."""
    _asked.set(run_id)


def find_run_under_way(thread_id: int) -> RunId | None:
    """Find the run whose agent keeps a thread's event loop from going on; `None` if no agent does.

    Of a loop that goes on, the answer is old when it comes.
    """
    frame = _frame_of(thread_id)
    while frame is not None:
        if frame.f_code is _STEP:
            handle: asyncio.Handle = frame.f_locals["self"]
            context = cast(Context, handle._context)  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType, reportAttributeAccessIssue]
            return context.get(_asked)
        frame = frame.f_back
    return None


def describe_stack(thread_id: int) -> str:
    """Say where a thread is: files, lines and functions, and no value."""
    frame = _frame_of(thread_id)
    return "".join(traceback.format_stack(frame)) if frame is not None else "no such thread"


def _frame_of(thread_id: int) -> FrameType | None:
    return sys._current_frames().get(thread_id)  # pyright: ignore[reportPrivateUsage]
