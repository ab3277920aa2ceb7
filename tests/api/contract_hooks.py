"""What schemathesis cannot know of our API. Loaded by `SCHEMATHESIS_HOOKS`."""

import os
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

# Whom and what all calls are made by: without them the rest of the run would be let in nowhere.
SPARED = frozenset(os.environ.get("CONTRACT_SPARED", "").split())
UNREAD = "The request does not fit the API's document."


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


@schemathesis.check
def a_request_that_fits_the_document_is_read(
    _context: CheckContext, response: Response, case: Case
) -> None:
    """Look behind the statuses that `positive_data_acceptance` is told to expect.

    A deadline that has passed is refused with 422, and so would a priority be that fits the
    document: only the first may be, and it says so in its own words.
    """
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code == 422 and response.json()["detail"] == UNREAD:
        raise AssertionError(f"what fits the document is said not to: {response.text}")


def _is_long(for_s: object) -> bool:
    """Say whether a stream would be open for longer than this run should take."""
    try:
        return 0 < float(str(for_s)) <= 3_600
    except ValueError:
        # Refused, as it should be.
        return False
