"""Locks between processes that the kernel gives back when their holder dies, however it dies."""

import fcntl
import os
import time
from pathlib import Path
from typing import Self

_RETRY_S = 0.01


class FileLock:
    """A `flock` on a file, exclusive or shared; the file's content means nothing.

    Each object is a holder of its own, also within one process. Child programs don't inherit
    it, as Python closes the descriptor when they start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def try_acquire(self, *, shared: bool = False) -> bool:
        """Take the lock if that is possible at once."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def acquire(self, *, timeout_s: float, shared: bool = False) -> bool:
        """Take the lock, or give up after a while.

        It asks again and again instead of blocking, because `flock` has no time limit.
        """
        deadline = time.monotonic() + timeout_s
        while not self.try_acquire(shared=shared):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_RETRY_S)
        return True

    def release(self) -> None:
        """Give the lock back; does nothing without it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        """Release at the end of the block whatever was acquired."""
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Tell whether some process holds a lock exclusively.

    Asking takes the lock, shared, for a moment: a holder-to-be must try more than once.
    """
    with FileLock(path) as probe:
        return not probe.try_acquire(shared=True)
