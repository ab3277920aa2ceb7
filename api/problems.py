"""Errors as RFC 9457 problem+json: one format for all, with all problems at once."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from api.errors import status_of
from domain.errors import ErrorCode, InvalidInput, Problem, TenantryError
from domain.json_data import JsonObject
from domain.pointers import join_pointer

MEDIA_TYPE = "application/problem+json"
# What pydantic says in the words of Python, by its error's type.
_WORDS = {
    "extra_forbidden": ("There is no such field.", "Leave it out, or correct its name."),
    "model_attributes_type": ("This must be a JSON object.", "See the API's document."),
}
_LOG = logging.getLogger("tenantry.api")
# Nobody mends more of them at once, and an answer should not be larger than what it answers.
_MAX_PROBLEMS = 100


class ProblemPart(BaseModel):
    """One thing that is wrong with the request, and where."""

    code: str = Field(examples=["field.missing"])
    pointer: str = Field(
        description="RFC 6901 JSON pointer into the body; `/query/…`, `/path/…` or `/header/…` "
        "for what is not in it.",
        examples=["/agents/1/config/connector"],
    )
    message: str = Field(examples=["`Sales Qualifier` does not say which connector to read from."])
    hint: str = Field(examples=["Add `connector: crm` to its config."])


class ProblemDocument(BaseModel):
    """An RFC 9457 problem."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(examples=["urn:tenantry:problem:workflow.invalid"])
    title: str = Field(examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["The workflow definition is refused."])
    code: str = Field(examples=["workflow.invalid"])
    hint: str = Field(examples=["Mend the problems that are listed."])
    request_id: str = Field(examples=["req_01jd3m3k7e9c5v2x8w4z6a1b0d"])
    problems: list[ProblemPart] = Field(default_factory=list[ProblemPart])


def problem_response(
    request: Request,
    code: ErrorCode,
    *,
    message: str,
    hint: str,
    status: HTTPStatus | None = None,
    problems: Sequence[Problem] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Render an error."""
    status = status or status_of(code)
    # For the audit of refusals, which sees the answer only.
    request.state.problem_code = code.value
    body: JsonObject = {
        "type": f"urn:tenantry:problem:{code.value}",
        "title": status.phrase,
        "status": status.value,
        "detail": message,
        "code": code.value,
        "hint": hint,
        "request_id": str(getattr(request.state, "request_id", "")),
        "problems": [dict(problem.as_json()) for problem in problems],
    }
    return JSONResponse(body, status, media_type=MEDIA_TYPE, headers=headers)


def add_problem_handlers(app: FastAPI) -> None:
    """Have every error of the application rendered as a problem."""
    app.add_exception_handler(TenantryError, _on_own_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, unexpected_response)
    _describe_problems(app)


def _describe_problems(app: FastAPI) -> None:
    """Put the problem's schema into the document, which routes only refer to."""
    build = app.openapi

    def openapi() -> dict[str, Any]:
        document = build()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        template = "#/components/schemas/{model}"
        schema = ProblemDocument.model_json_schema(ref_template=template, mode="serialization")
        schemas.update(schema.pop("$defs", {}))
        schemas["Problem"] = schema
        return document

    # FastAPI's own way to change the document.
    app.openapi = openapi


def _on_own_error(request: Request, error: Exception) -> JSONResponse:
    own = cast(TenantryError, error)
    problems = own.problems if isinstance(own, InvalidInput) else ()
    headers: dict[str, str] = {}
    if own.code is ErrorCode.TOKEN_INVALID:
        headers["WWW-Authenticate"] = 'Bearer realm="tenantry"'
    if status_of(own.code) is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "2"
    retry_after_s = getattr(own, "retry_after_s", None)
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    return problem_response(
        request, own.code, message=own.message, hint=own.hint, problems=problems, headers=headers
    )


def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    details = cast(RequestValidationError, error).errors()
    if _is_unread(request, details):
        return problem_response(
            request,
            ErrorCode.MEDIA_TYPE_UNSUPPORTED,
            message="The body is not sent as JSON.",
            hint="Send JSON with `Content-Type: application/json`.",
        )
    left_out = len(details) - _MAX_PROBLEMS
    problems: list[Problem] = []
    for detail in details[:_MAX_PROBLEMS]:
        where, *path = (str(part) for part in detail["loc"])
        pointer = "" if where == "body" else f"/{where}"
        for part in path:
            pointer = join_pointer(pointer, part)
        missing = detail["type"] == "missing"
        code = ErrorCode.FIELD_MISSING if missing else ErrorCode.FIELD_INVALID
        if detail["type"] == "extra_forbidden":
            code = ErrorCode.FIELD_UNKNOWN
        message, hint = _WORDS.get(detail["type"], (f"{detail['msg']}.", "See the API's document."))
        problems.append(Problem(code, pointer, message, hint))
    return problem_response(
        request,
        ErrorCode.REQUEST_INVALID,
        message="The request does not fit the API's document."
        + (f" Only the first {_MAX_PROBLEMS} of its problems are listed." if left_out > 0 else ""),
        hint="Mend the problems that are listed.",
        problems=problems,
    )


def _is_unread(request: Request, details: Sequence[Any]) -> bool:
    """Say whether the body was left as it is, because its media type is not JSON's."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        return False
    return any(
        tuple(detail["loc"]) == ("body",) and detail["type"] != "missing" for detail in details
    )


def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    http = cast(HTTPException, error)
    status = HTTPStatus(http.status_code)
    code = {
        HTTPStatus.NOT_FOUND: ErrorCode.ROUTE_NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED: ErrorCode.METHOD_NOT_ALLOWED,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ErrorCode.REQUEST_TOO_LARGE,
        HTTPStatus.REQUEST_TIMEOUT: ErrorCode.REQUEST_TIMED_OUT,
    }.get(status, ErrorCode.REQUEST_INVALID)
    headers = dict(http.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_of(request))
    return problem_response(
        request,
        code,
        status=status,
        message=f"{status.phrase}: {request.method} {request.url.path}",
        hint="See the API's document at /api/v1/openapi.json.",
        headers=headers,
    )


def _methods_of(request: Request) -> list[str]:
    """List the methods of all routes of a path; the framework looks at the first one only."""
    app = cast(FastAPI, request.app)
    routes = list(iter_route_contexts(app.routes))
    # The first that fits, as in routing: `/executions/bulk` is no execution named `bulk`.
    for route in routes:
        if route.path and compile_path(route.path)[0].match(request.url.path):
            same = [each.methods or () for each in routes if each.path == route.path]
            return sorted({method for methods in same for method in methods})
    return []


def unexpected_response(request: Request, error: Exception) -> JSONResponse:
    """Log what no route foresaw, and render it without a word of it."""
    known = {"request_id": str(getattr(request.state, "request_id", ""))}
    _LOG.error("request %s failed", request.url.path, exc_info=error, extra=known)
    return problem_response(
        request,
        ErrorCode.INTERNAL,
        message="Something went wrong on our side.",
        hint="Give the request's id to the operator: the log has the details under it.",
    )
