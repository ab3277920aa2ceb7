"""Logs for programs: one JSON object a line, with ids and without what tenants put in."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

from domain.json_data import JsonObject

# Given with `extra`; nothing else of a record is written, whatever somebody adds to it.
_IDS = ("request_id", "org_id", "user_id", "execution_id", "agent_id")
_MAX_MESSAGE_CHARS = 2_000


class JsonFormatter(logging.Formatter):
    """Writes a record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record. Of an exception its kind and place are told, not its text.

        The text may quote a row: Postgres names the key that is there already.
        """
        line: JsonObject = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage()[:_MAX_MESSAGE_CHARS],
        }
        for name in _IDS:
            value = getattr(record, name, None)
            if value is not None:
                line[name] = str(value)
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _describe(record.exc_info[1])
        return json.dumps(line, ensure_ascii=True)


def start_json_logging(level: str) -> None:
    """Write our log lines, uvicorn's and everybody's warnings to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("tenantry", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(level)
    logging.captureWarnings(True)


def _describe(error: BaseException) -> JsonObject:
    chain: list[JsonObject] = []
    here: BaseException | None = error
    while here is not None and len(chain) < 5:
        frames = traceback.extract_tb(here.__traceback__)[-30:]
        found: JsonObject = {
            "type": f"{type(here).__module__}.{type(here).__qualname__}",
            "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        }
        state = getattr(here, "sqlstate", None)
        if isinstance(state, str):
            found["sqlstate"] = state
        chain.append(found)
        here = here.__cause__ or here.__context__
    return {"chain": [*chain]}
