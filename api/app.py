"""The REST application."""

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.requests import Request

from api.access import Doorkeeper
from api.bulk_slots import BulkSlots
from api.document import complete_document
from api.event_stream import EventHub
from api.intake import Intake
from api.limits import Limits
from api.manners import Manners
from api.platform_metrics import Metrics
from api.problems import add_problem_handlers, problem_response
from api.reference_pages import make_reference_pages
from api.refusals import Refusals
from api.routes import (
    agent_types,
    audit,
    events,
    executions,
    members,
    metrics,
    organizations,
    queue,
    tokens,
    workflows,
)
from api.state import ApiState, state_of
from domain.errors import ErrorCode, TenantryError
from persistence.schema_version import check_migrated

PREFIX = "/api/v1"
_DESCRIPTION = """
Run agent workflows for your organization, and read what happened.

Send `Authorization: Bearer tnt_…`. Every error is an RFC 9457 problem document that lists all that
is wrong at once, each with a code, a JSON pointer, a sentence and a hint.
"""


def create_app(state: ApiState) -> FastAPI:
    """Make the application. It never calls Prefect: it writes rows, worker and steward act."""
    app = FastAPI(
        title="Tenantry",
        version="1",
        description=_DESCRIPTION,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        # Both spellings are answered where clients use both; a redirect would lose the body.
        redirect_slashes=False,
    )
    app.state.api = state
    app.state.doorkeeper = Doorkeeper(state.database)
    app.state.bulk_slots = BulkSlots()
    app.state.intake = Intake(state.database)
    app.state.events = EventHub(state.database, on_count=state.counters.event_clients.set)
    # The last one added is the outermost.
    app.add_middleware(Refusals, state=state)
    app.add_middleware(Limits, state=state)
    app.add_middleware(Metrics, state=state)
    app.add_middleware(Manners)
    add_problem_handlers(app)
    for routes in (
        tokens,
        audit,
        metrics,
        queue,
        events,
        executions,
        agent_types,
        workflows,
        organizations,
        members,
    ):
        app.include_router(routes.router, prefix=PREFIX)
    app.include_router(make_reference_pages(f"{PREFIX}/openapi.json"))
    _add_health(app)
    complete_document(app)
    return app


def _add_health(app: FastAPI) -> None:
    @app.get("/health", include_in_schema=False)
    async def health() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        """Say that the process lives: in the event loop, so that no busy thread delays it."""
        return JSONResponse({"status": "ok"})

    @app.get("/ready", include_in_schema=False)
    def ready(request: Request) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        """Say whether requests can be served: the database answers, and has our tables."""
        try:
            check_migrated(state_of(request).database)
        except TenantryError as error:
            return problem_response(
                request, ErrorCode(error.code), message=error.message, hint=error.hint
            )
        return JSONResponse({"status": "ok"})
