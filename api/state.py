"""What all requests of an API process share."""

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from persistence.sessions import Database


@dataclass(frozen=True, slots=True)
class ApiState:
    """Made once, at start."""

    database: Database
    prefect_ui_url: str | None = None
    """Where people open Prefect's pages, for links to runs."""
    max_body_bytes: int = 1024 * 1024
    """Largest request body that is read; bulk routes have a limit of their own."""


def state_of(request: Request) -> ApiState:
    """Give what the application was made with."""
    return cast(ApiState, request.app.state.api)
