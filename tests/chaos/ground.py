"""The whole installation as it runs in production, with a fault proxy between its services."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr
from sqlalchemy import make_url

from deployments.embedded.layout import Home
from deployments.embedded.ports import choose_port
from deployments.embedded.specs import POSTGRES, PREFECT, ServiceSpec
from deployments.embedded.stack import EmbeddedStack, open_stack
from deployments.embedded.state import ServiceStatus, read_state
from deployments.installation import API, STEWARD, WORKER, api_spec, api_url, service_spec
from deployments.settings import Settings, load_settings
from deployments.wiring import new_audit_key, open_database_of, owner_url, role_urls
from domain.clock import utc_now
from domain.ids import OrgId
from domain.limits import WorkflowLimits
from persistence.limits import set_workflow_limits
from persistence.migrate import migrate
from persistence.organizations import ensure_member, ensure_organization
from persistence.sessions import Database
from persistence.tokens import add_token
from tests.chaos.load import COALESCED, ORGS, SINGLE, define_workflow
from tests.chaos.plan import LINKS, WORKERS
from tests.chaos.proxy import FaultProxy, fault_proxy
from tests.support.databases import ADMIN
from tests.support.factories import save_workflow
from tests.support.homes import temporary_home
from tests.support.services import wait_for

ROOT = Path(__file__).parents[2]
_WORKERS_START_S = 90.0


@dataclass(frozen=True, slots=True)
class Ground:
    """What runs, and how it is reached past the proxy."""

    stack: EmbeddedStack
    settings: Settings
    """Without the proxy: for whoever looks on."""
    database: Database
    proxy: FaultProxy
    tokens: dict[OrgId, str]
    folder: Path
    """Where agents leave their traces."""

    @property
    def api_url(self) -> str:
        """Where the REST API is."""
        return api_url(self.settings)

    def kill(self, service: str) -> bool:
        """Kill a service; say whether it had a process at the moment."""
        state = read_state(Home(self.settings.home).state_file).services[service]
        if state.pid is None:
            return False
        try:
            os.kill(state.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def is_ready(self, service: str) -> bool:
        """Say whether a service is up, as its keeper sees it."""
        state = read_state(Home(self.settings.home).state_file).services.get(service)
        return state is not None and state.status is ServiceStatus.READY

    def count_workers(self) -> int:
        """Count the workers that have said that they take work."""
        with self.connect() as connection:
            (count,) = connection.execute("select count(*) from workers").fetchone() or (0,)
            return int(count)

    def connect(self) -> psycopg.Connection[Any]:
        """Look into our tables as the superuser, whom no policy stops."""
        url = make_url(self.stack.superuser_url).set(
            drivername="postgresql", database=owner_url(self.settings).database
        )
        return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)

    def keep_logs(self, folder: Path) -> None:
        """Copy what all services have logged."""
        shutil.copytree(Home(self.settings.home).logs, folder, dirs_exist_ok=True)


@contextmanager
def open_ground() -> Iterator[Ground]:
    """Start everything, and end it after the block."""
    with temporary_home() as home, fault_proxy() as proxy:
        settings = load_settings(
            {
                "TENANTRY_HOME": str(home),
                "TENANTRY_AUDIT_KEY": new_audit_key(),
                "TENANTRY_API_PORT": str(choose_port()),
                # A short run: what takes half a minute in production takes some seconds.
                "TENANTRY_LEASE_S": "5",
                "TENANTRY_RECONCILE_INTERVAL_S": "1",
                "TENANTRY_PENDING_LIMIT_S": "15",
                # Workers are killed far more often than they ever should be.
                "TENANTRY_MAX_ATTEMPTS": "10",
            }
        )
        with open_stack(settings, (POSTGRES, PREFECT)) as stack:
            found = stack.settings
            app_url, platform_url = role_urls(found)
            migrate(owner_url(found), app_url=app_url, platform_url=platform_url)
            database = open_database_of(found)
            folder = home.parent / "traces"
            folder.mkdir()
            try:
                tokens = _fill(database, str(folder))
                stack.wait_ready()
                stack.ensure(extra=_describe_services(found, proxy))
                stack.wait_ready()
                ground = Ground(stack, found, database, proxy, tokens, folder)
                wait_for(
                    "all workers",
                    lambda: ground.count_workers() == len(WORKERS),
                    timeout_s=_WORKERS_START_S,
                )
                yield ground
            finally:
                database.close()


def _fill(database: Database, folder: str) -> dict[OrgId, str]:
    tokens: dict[OrgId, str] = {}
    for org_id in ORGS:
        slug = org_id.removeprefix("org_")
        with database.for_platform() as session:
            ensure_organization(session, org_id, name=slug.title(), slug=slug)
            ensure_member(session, org_id, ADMIN, name="Admin", role="admin")
        save_workflow(database, org_id, define_workflow(COALESCED, folder))
        single = save_workflow(database, org_id, define_workflow(SINGLE, folder))
        with database.org(org_id, user_id=ADMIN) as session:
            set_workflow_limits(session, single.id, WorkflowLimits(max_batch=1))
            _, tokens[org_id] = add_token(
                session, ADMIN, name="chaos", expires_at=utc_now() + timedelta(hours=1)
            )
    return tokens


def _describe_services(settings: Settings, proxy: FaultProxy) -> list[ServiceSpec]:
    ports = {
        POSTGRES: owner_url(settings).port,
        PREFECT: make_url(settings.prefect_api_url or "").port,
    }
    links = {
        (client, server): proxy.add(client, server, target_port=ports[server] or 0)
        for client, server in LINKS
    }

    def behind_the_proxy(client: str) -> Settings:
        url = owner_url(settings).set(port=links[client, POSTGRES])
        changed: dict[str, object] = {
            "database_url": SecretStr(url.render_as_string(hide_password=False))
        }
        if (client, PREFECT) in links:
            changed["prefect_api_url"] = f"http://127.0.0.1:{links[client, PREFECT]}/api"
        return settings.model_copy(update=changed)

    workers = [
        replace(
            service_spec(WORKER, behind_the_proxy(name)),
            name=name,
            argv=(sys.executable, "-m", "tests.chaos.worker"),
        )
        for name in WORKERS
    ]
    steward = service_spec(STEWARD, behind_the_proxy(STEWARD))
    specs = [api_spec(behind_the_proxy(API)), steward, *workers]
    return [replace(spec, env={**spec.env, "PYTHONPATH": str(ROOT)}) for spec in specs]
