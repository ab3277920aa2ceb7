"""Ctrl-C between the steps of a command, where it is in nobody's way."""

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

_STEP_S = 0.05


@contextmanager
def held_interrupts() -> Generator[Callable[[float], None]]:
    """Hold Ctrl-C back during the block but in the pause that it is given.

    Raised in the middle of a question to the database it may be lost: the connection pool logs what
    breaks off the return of a connection, and others make it an error of the database's. A second
    Ctrl-C is raised at once, for a question may take long; one after the last pause is let go.

    Yields:
        The pause, in seconds, to be made between two steps.

    Raises:
        KeyboardInterrupt: from the pause.
    """
    if threading.current_thread() is not threading.main_thread():
        # Python raises it in the main thread only.
        yield time.sleep
        return
    is_asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal is_asked
        if is_asked:
            signal.default_int_handler(number, frame)
        is_asked = True

    def pause(seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while not is_asked and (left_s := ends_at - time.monotonic()) > 0:
            time.sleep(min(left_s, _STEP_S))
        if is_asked:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pause
    finally:
        signal.signal(signal.SIGINT, before)


def was_interrupted(error: BaseException) -> bool:
    """Say whether an error came of Ctrl-C in the middle of something."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, KeyboardInterrupt):
            return True
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False
