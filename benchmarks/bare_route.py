"""The least that a route could do: FastAPI, a pool, one insert of the same row. No more."""

import os
from typing import Any

import uvicorn
from fastapi import Body, FastAPI
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool
from sqlalchemy import make_url

from domain.ids import new_execution_id
from persistence.roles import APP_ROLE, derive_role_url

INSERT = """
insert into executions (id, org_id, workflow_id, workflow_version, trigger, input_data, created_at)
select %s, org_id, id, version, 'api', %s, now() from workflows where slug = %s
"""


def make_app() -> FastAPI:
    """Make the application."""
    owner = make_url(os.environ["TENANTRY_DATABASE_URL"].replace("+psycopg", ""))
    url = derive_role_url(owner.set(drivername="postgresql"), APP_ROLE)
    pool = ConnectionPool(
        url.render_as_string(hide_password=False), min_size=10, max_size=20, open=True
    )
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/executions", status_code=202)
    def create(wish: dict[str, Any] = Body()) -> dict[str, str]:  # noqa: B008 - FastAPI's way
        id = new_execution_id()
        with pool.connection() as connection:
            connection.execute("select set_config('app.org_id', 'org_acme', true)")
            connection.execute(INSERT, (id, Jsonb(wish["input"]), wish["workflow_id"]))
        return {"id": id, "status": "PENDING"}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(), host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
