"""What routes share: the text type that Postgres can hold, and how errors are described."""

from http import HTTPStatus
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from api.errors import status_of
from api.problems import MEDIA_TYPE, ProblemDocument
from domain.errors import ErrorCode
from domain.json_data import whole
from domain.text import is_storable


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("has a character that cannot be stored (NUL or half a surrogate pair)")
    return text


# `[^\x00]` tells generators of requests, and clients, what the validator checks.
Text = Annotated[
    str, AfterValidator(_storable), Field(json_schema_extra={"pattern": "^[^\\x00]*$"})
]
"""Text as Postgres takes it: no NUL, no lone surrogate."""

READ_WHOLE = BeforeValidator(whole)
"""Behind `Field(strict=True, …)` of an `int`: 4.0 is a whole number, as in JSON; "4" is none."""


def _problem(
    description: str,
    code: ErrorCode,
    detail: str,
    hint: str,
    *,
    status: HTTPStatus | None = None,
    problems: tuple[dict[str, str], ...] = (),
) -> dict[str, Any]:
    status = status or status_of(code)
    example = {
        "type": f"urn:tenantry:problem:{code.value}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code.value,
        "hint": hint,
        "request_id": "req_01jd3m3k7e9c5v2x8w4z6a1b0d",
        "problems": list(problems),
    }
    schema = {"$ref": f"#/components/schemas/{ProblemDocument.model_config.get('title')}"}
    content = {MEDIA_TYPE: {"schema": schema, "example": example}}
    return {"description": description, "content": content}


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: _problem(
        "The request cannot be read.",
        ErrorCode.REQUEST_INVALID,
        "Bad Request: POST /api/v1/executions",
        "See the API's document at /api/v1/openapi.json.",
        status=HTTPStatus.BAD_REQUEST,
    ),
    401: _problem(
        "There is no valid token.",
        ErrorCode.TOKEN_INVALID,
        "The token is missing, unknown, expired or revoked.",
        "Send `Authorization: Bearer tnt_…` with a token that is valid.",
    ),
    403: _problem(
        "The token lacks the permission.",
        ErrorCode.PERMISSION_MISSING,
        "This needs the permission `workflows.write`, which your token does not have.",
        "Ask an administrator of your organization for a role or a token that has it.",
    ),
    404: _problem(
        "There is no such thing in this organization.",
        ErrorCode.WORKFLOW_NOT_FOUND,
        "There is no workflow `lead-search`.",
        "Look at the list of workflows.",
    ),
    406: _problem(
        "The answer exists in no media type that the request accepts.",
        ErrorCode.MEDIA_TYPE_REFUSED,
        "The answer exists in none of the media types that the request accepts.",
        "Accept one of: application/json, application/yaml.",
    ),
    408: _problem(
        "The body did not arrive in time.",
        ErrorCode.REQUEST_TIMED_OUT,
        "The body did not arrive within 30 s.",
        "Send it again, over a better connection or in smaller parts.",
    ),
    409: _problem(
        "It clashes with what is there.",
        ErrorCode.WORKFLOW_NAME_TAKEN,
        "There is a workflow of this name already.",
        "Change that one, or choose another name.",
    ),
    412: _problem(
        "It was changed meanwhile.",
        ErrorCode.WORKFLOW_CHANGED,
        "The workflow was changed meanwhile: its newest version is 4.",
        "Read it again, make your change in that version, and send its `ETag` as `If-Match`.",
    ),
    413: _problem(
        "The body is too large.",
        ErrorCode.REQUEST_TOO_LARGE,
        "The body is larger than 1,048,576 bytes.",
        "Send less at once.",
    ),
    415: _problem(
        "The body is of a media type that is not read here.",
        ErrorCode.MEDIA_TYPE_UNSUPPORTED,
        "The body is neither JSON nor YAML.",
        "Send a definition as `Content-Type: application/json` or `application/yaml`.",
    ),
    422: _problem(
        "The request is refused; all problems are listed.",
        ErrorCode.REQUEST_INVALID,
        "The request does not fit the API's document.",
        "Mend the problems that are listed.",
        problems=(
            {
                "code": "field.missing",
                "pointer": "/name",
                "message": "Field required.",
                "hint": "See the API's document.",
            },
        ),
    ),
    428: _problem(
        "The request must say what it changes, in `If-Match`.",
        ErrorCode.PRECONDITION_MISSING,
        "The request does not say which version it changes.",
        "Send the `ETag` of what you have read as `If-Match`, so that nobody's change is "
        "overwritten unseen.",
    ),
    429: _problem(
        "Too many requests.",
        ErrorCode.REQUEST_TOO_MANY,
        "There were too many requests by this token.",
        "Wait 2 s, and send fewer; `RateLimit` tells what is left.",
    ),
    500: _problem(
        "Something went wrong on our side.",
        ErrorCode.INTERNAL,
        "Something went wrong on our side.",
        "Give the request's id to the operator: the log has the details under it.",
    ),
    503: _problem(
        "The database is away; try again.",
        ErrorCode.DATABASE_UNREACHABLE,
        "The database cannot be reached.",
        "Try again in a moment.",
    ),
}
"""What any operation may answer instead, for the API's document."""
