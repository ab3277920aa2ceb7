"""What schemathesis cannot know of our API. Loaded by `SCHEMATHESIS_HOOKS`."""

import os
from typing import Any

import schemathesis
from schemathesis import Case, HookContext

# Whom and what all calls are made by: without them the rest of the run would be let in nowhere.
SPARED = frozenset(os.environ.get("CONTRACT_SPARED", "").split())


@schemathesis.serializer("application/x-ndjson")
def as_lines(_context: Any, value: Any) -> bytes:
    """Send lines as they are."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.hook
def before_call(_context: HookContext, case: Case, _kwargs: dict[str, Any]) -> None:
    """Let no call take away what the next ones need, and none wait for events to come."""
    if case.method not in ("GET", "HEAD"):
        for name, value in (case.path_parameters or {}).items():
            if value in SPARED:
                case.path_parameters[name] = "user_spared"
    if case.operation.label == "GET /api/v1/events" and _is_long(case.query.get("for_s", 3_600)):
        case.query["for_s"] = 0


def _is_long(for_s: object) -> bool:
    """Say whether a stream would be open for longer than this run should take."""
    try:
        return 0 < float(str(for_s)) <= 3_600
    except ValueError:
        # Refused, as it should be.
        return False
