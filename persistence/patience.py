"""Wait for a database that is away: what agents have answered is not thrown away for a restart."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from persistence.driver_errors import DatabaseUnreachable

T = TypeVar("T")
_LOG = logging.getLogger("tenantry.database")


def keep_trying(act: Callable[[], T], *, cap_s: float = 5.0) -> T:
    """Call `act` until the database answers; it must be safe to repeat.

    Waits 0.1 s after the first failure, doubling up to `cap_s`, each drawn between half and
    whole, so that many processes do not come back in one moment. Ends with whatever else `act`
    raises. Blocking: call it through a thread.
    """
    wait_s = 0.1
    while True:
        try:
            return act()
        except DatabaseUnreachable:
            _LOG.warning("the database is away, next try in %.1f s", wait_s)
            time.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(cap_s, wait_s * 2)
