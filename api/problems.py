"""Errors as RFC 9457 problem+json: one format for all, with all problems at once."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from api.errors import status_of
from domain.errors import ErrorCode, InvalidInput, Problem, TenantryError
from domain.json_data import JsonObject
from domain.pointers import join_pointer

MEDIA_TYPE = "application/problem+json"
_LOG = logging.getLogger("tenantry.api")


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
    problems: list[Problem] = []
    for detail in details:
        where, *path = (str(part) for part in detail["loc"])
        pointer = "" if where == "body" else f"/{where}"
        for part in path:
            pointer = join_pointer(pointer, part)
        missing = detail["type"] == "missing"
        code = ErrorCode.FIELD_MISSING if missing else ErrorCode.FIELD_INVALID
        if detail["type"] == "extra_forbidden":
            code = ErrorCode.FIELD_UNKNOWN
        problems.append(Problem(code, pointer, f"{detail['msg']}.", "See the API's document."))
    return problem_response(
        request,
        ErrorCode.REQUEST_INVALID,
        message="The request does not fit the API's document.",
        hint="Mend the problems that are listed.",
        problems=problems,
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
    return problem_response(
        request,
        code,
        status=status,
        message=f"{status.phrase}: {request.method} {request.url.path}",
        hint="See the API's document at /api/v1/openapi.json.",
        headers=http.headers,
    )


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
