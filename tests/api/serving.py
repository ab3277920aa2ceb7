"""Our application with other settings, for tests that need their own limits."""

from collections.abc import Iterator
from contextlib import contextmanager

from api.app import create_app
from api.state import ApiState
from persistence.sessions import Database
from tests.api.conftest import Api, serve

__all__ = ["serve", "serve_with"]


@contextmanager
def serve_with(database: Database, **settings: object) -> Iterator[Api]:
    """Serve our application with some of its settings changed."""
    state = ApiState(database=database, **settings)  # type: ignore[arg-type]
    with serve(create_app(state), database) as api:
        yield api
