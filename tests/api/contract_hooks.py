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
    """Let no call take away what the next ones need."""
    if case.method not in ("GET", "HEAD"):
        for name, value in (case.path_parameters or {}).items():
            if value in SPARED:
                case.path_parameters[name] = "user_spared"


@schemathesis.check
def a_request_that_fits_the_document_is_read(
    _context: CheckContext, response: Response, case: Case
) -> None:
    """Stand in for `positive_data_acceptance`, which knows no rule beyond a schema.

    A deadline that has passed, a workflow without agents, a cursor of another list: these fit the
    document and are refused all the same, with 422, 412 or 428 and a problem of their own. But
    nothing that fits the document may be refused *as not fitting it*.
    """
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code in (400, 405, 406, 413, 415):
        raise AssertionError(f"what fits the document is refused with {response.status_code}")
    if response.status_code == 422 and response.json()["detail"] == UNREAD:
        raise AssertionError(f"what fits the document is said not to: {response.text}")
