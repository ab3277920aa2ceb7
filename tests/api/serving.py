"""Put an application behind a real server, for tests that need their own limits."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.state import ApiState
from persistence.sessions import Database
from tests.api.conftest import Api


@contextmanager
def serve(app: FastAPI, database: Database) -> Iterator[Api]:
    """Serve an application on a port of its own."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="api")
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Api(f"http://127.0.0.1:{port}", database)
    finally:
        server.should_exit = True
        thread.join(timeout=20)


@contextmanager
def serve_with(database: Database, **settings: object) -> Iterator[Api]:
    """Serve our application with some of its settings changed."""
    state = ApiState(database=database, **settings)  # type: ignore[arg-type]
    with serve(create_app(state), database) as api:
        yield api
