"""Which HTTP status each of our error codes has. The only place that knows."""

from http import HTTPStatus

from domain.errors import ErrorCode

_BY_CODE = {
    ErrorCode.TOKEN_INVALID: HTTPStatus.UNAUTHORIZED,
    ErrorCode.PERMISSION_MISSING: HTTPStatus.FORBIDDEN,
    ErrorCode.ROUTE_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ErrorCode.REQUEST_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.REQUEST_TOO_MANY: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.WORKFLOW_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.EXECUTION_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.SCHEDULE_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.ORGANIZATION_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.MEMBER_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.TOKEN_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.WORKFLOW_NAME_TAKEN: HTTPStatus.CONFLICT,
    ErrorCode.ORGANIZATION_ID_TAKEN: HTTPStatus.CONFLICT,
    ErrorCode.EXECUTION_IDEMPOTENCY_CONFLICT: HTTPStatus.CONFLICT,
    ErrorCode.EXECUTION_TRANSITION_REFUSED: HTTPStatus.CONFLICT,
    ErrorCode.WORKFLOW_CHANGED: HTTPStatus.PRECONDITION_FAILED,
    ErrorCode.DATABASE_UNREACHABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.DATABASE_NOT_MIGRATED: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def status_of(code: ErrorCode) -> HTTPStatus:
    """Give an error code's HTTP status; what is not listed is the request's own fault."""
    return _BY_CODE.get(code, HTTPStatus.UNPROCESSABLE_ENTITY)
