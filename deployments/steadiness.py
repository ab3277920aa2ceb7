"""Whether the database has answered for long enough that a worker's silence means something.

While it was away no worker could renew a lease. Right after its return leases have ended whose
workers live, and taking their runs away would cost every one of them an attempt.
"""

import time
from collections.abc import Callable

# Leases are renewed three times each, and are longer than this.
_GAP_S = 5.0


class Steadiness:
    """Since when the database has answered this process without a break."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = self._answered_at = clock()

    def note_answer(self) -> None:
        """Note that the database has just answered; called every few seconds."""
        now = self._clock()
        if now - self._answered_at > _GAP_S:
            self._since = now
        self._answered_at = now

    def lasts(self, seconds: float) -> bool:
        """Say whether it has answered for so long, and answers still."""
        now = self._clock()
        return now - self._answered_at <= _GAP_S and now - self._since >= seconds
