"""The real application behind a real HTTP server, on a fresh database."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.connections import ConnectionBounds, make_protocol
from api.state import ApiState
from domain.clock import utc_now
from domain.ids import OrgId, UserId
from domain.permissions import Permission, Role
from persistence.organizations import ensure_member
from persistence.sessions import Database
from persistence.tokens import add_token
from tests.support.databases import ACME


@dataclass
class Api:
    """A running API, and tokens for it."""

    url: str
    database: Database
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    def token(
        self,
        role: Role = Role.ADMIN,
        org_id: OrgId = ACME,
        *,
        scopes: list[Permission] | None = None,
        life: timedelta = timedelta(hours=1),
    ) -> str:
        """Make a user of this role, and a token of theirs."""
        user_id = UserId(f"user_{role.value}")
        with self.database.for_platform() as session:
            ensure_member(session, org_id, user_id, name=role.value, role=role.value)
        with self.database.org(org_id, user_id=user_id) as session:
            _, secret = add_token(
                session, user_id, name="test", expires_at=utc_now() + life, scopes=scopes
            )
        return secret

    def client(self, role: Role = Role.ADMIN, org_id: OrgId = ACME) -> httpx.Client:
        """Make an HTTP client with a token; close it, or use it in a `with`."""
        key = (role.value, org_id)
        if key not in self._tokens:
            self._tokens[key] = self.token(role, org_id)
        return httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers={"Authorization": f"Bearer {self._tokens[key]}"},
            timeout=30,
        )


@contextmanager
def serve(
    app: FastAPI, database: Database, *, bounds: ConnectionBounds | None = None
) -> Iterator[Api]:
    """Serve an application on a port of its own."""
    state: ApiState | None = getattr(app.state, "api", None)
    if bounds is None and state is not None:
        bounds = ConnectionBounds(stall_timeout_s=state.event_send_timeout_s)
    protocol = make_protocol(bounds or ConnectionBounds(), on_refused=lambda _: None)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=protocol, log_level="warning", lifespan="on"
    )
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


@pytest.fixture
def api(database: Database) -> Iterator[Api]:
    app = create_app(ApiState(database=database, prefect_ui_url="http://127.0.0.1:4200"))
    with serve(app, database) as api:
        yield api


@pytest.fixture
def admin(api: Api) -> Iterator[httpx.Client]:
    """Acme's administrator."""
    with api.client() as client:
        yield client
