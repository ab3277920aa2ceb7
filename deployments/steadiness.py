"""Whether the database has answered for long enough that a worker's silence means something.

While it was away no worker could renew a lease. Right after its return leases have ended whose
workers live, and taking their runs away would cost every one of them an attempt.
"""

import time
from dataclasses import dataclass, field

# Leases are renewed three times each, and are longer than this.
_GAP_S = 5.0


@dataclass(slots=True)
class Steadiness:
    """Since when the database has answered this process without a break."""

    since: float = field(default_factory=time.monotonic)
    answered_at: float = field(default_factory=time.monotonic)

    def note_answer(self) -> None:
        """Note that the database has just answered; called every few seconds."""
        now = time.monotonic()
        if now - self.answered_at > _GAP_S:
            self.since = now
        self.answered_at = now

    def lasts(self, seconds: float) -> bool:
        """Say whether it has answered for so long, and answers still."""
        now = time.monotonic()
        return now - self.answered_at <= _GAP_S and now - self.since >= seconds
