"""How the queue serves all organizations, as one process looks at it: not oftener than it is worth.

Tenants ask for their shares and Prometheus for everybody's; both get the same figures for a while,
so that Postgres is asked by the clock and not by them.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from domain.served import PlatformService
from persistence.served import measure_service
from persistence.sessions import Database

WINDOWS_S: Sequence[int] = (60, 300, 900, 3_600)
"""The spans that are looked at; few, as each is kept for itself."""
_KEPT_S = 0.5
# What takes long is asked for rarely: at most a twentieth of the time goes into it.
_KEPT_TIMES = 20.0


@dataclass(frozen=True, slots=True)
class _Look:
    found: PlatformService
    until: float


@dataclass(slots=True)
class QueueWatch:
    """Looks at the queue for whoever asks; of several at a time one does."""

    database: Database
    _looks: dict[int, _Look] = field(default_factory=dict[int, _Look])
    _locks: dict[int, threading.Lock] = field(
        default_factory=lambda: {window_s: threading.Lock() for window_s in WINDOWS_S}
    )

    def look(self, *, window_s: int) -> PlatformService:
        """Tell how everybody was served within about the last `window_s` seconds.

        The span is the next larger one of `WINDOWS_S`, or the largest.
        """
        span_s = next((each for each in WINDOWS_S if each >= window_s), WINDOWS_S[-1])
        with self._locks[span_s]:
            known = self._looks.get(span_s)
            began = time.monotonic()
            if known is not None and began < known.until:
                return known.found
            with self.database.for_platform() as session:
                found = measure_service(session, window_s=span_s)
            now = time.monotonic()
            kept_s = max(_KEPT_S, _KEPT_TIMES * (now - began))
            self._looks[span_s] = _Look(found, now + kept_s)
            return found
