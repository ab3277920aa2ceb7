"""What Prefect's engine logs of runs, without what only looks like trouble.

The engine logs a failed state with the traceback of an exception that there is not, which reads
`NoneType: None`, and calls a run that somebody has cancelled a crash.
"""

import logging
from uuid import UUID

from flows.carried import find_carried

_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
_CRASH = "Crash detected!"


class _RunLogFilter(logging.Filter):
    """Changes and drops lines of Prefect's engine; everything else passes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a line is logged."""
        if record.exc_info is not None and record.exc_info[0] is None:
            record.exc_info = None
            record.exc_text = None
        return not (record.getMessage().startswith(_CRASH) and _is_being_stopped(record))


def quiet_engine_logs() -> None:
    """Filter this process's log lines of flow and task runs; again, nothing changes."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, _RunLogFilter) for each in logger.filters):
            logger.addFilter(_RunLogFilter())


def _is_being_stopped(record: logging.LogRecord) -> bool:
    given = getattr(record, "flow_run_id", None)
    try:
        carried = find_carried(UUID(str(given)))
    except ValueError:
        return False
    return carried is not None and carried.stopping is not None
