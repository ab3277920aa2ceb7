"""The ground on which all contenders stand: one PostgreSQL, one Prefect server, one Tenantry.

All of it is started for the benchmark, in a folder of its own that is removed at the end.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr
from sqlalchemy import URL, make_url

from deployments.bench.contenders import Contender
from deployments.bench.usage import Usage, read_usage
from deployments.embedded.layout import Home
from deployments.embedded.ports import choose_port
from deployments.embedded.processes import end_with_parent
from deployments.embedded.specs import POSTGRES, PREFECT
from deployments.embedded.stack import EmbeddedStack, open_stack
from deployments.embedded.state import read_state
from deployments.installation import (
    API,
    STEWARD,
    WORKER,
    api_spec,
    prefect_client_environ,
    service_spec,
)
from deployments.settings import PREFECT_API_URL, Settings, as_environ, load_settings
from deployments.wiring import new_audit_key, open_database_of, owner_url, role_urls
from domain.json_data import JsonObject
from persistence.migrate import migrate
from persistence.sessions import Database

ROOT = Path(__file__).parents[2]
_SERVICES = (PREFECT, POSTGRES, API, STEWARD)
_OURS = ("TENANTRY_", "PREFECT_", "DBOS_")

Say = Callable[[str], None]


@dataclass(slots=True)
class Ground:
    """What runs, and how it is reached."""

    stack: EmbeddedStack
    settings: Settings
    database: Database
    folder: Path
    others: dict[str, int] = field(default_factory=dict[str, int])
    """Processes of contenders, by name, that count in `usage`."""

    @property
    def api_port(self) -> int:
        """Where our REST API listens, on 127.0.0.1."""
        return self.settings.api_port

    def usage(self) -> dict[str, Usage]:
        """Read what the services and the contenders use."""
        services = read_state(Home(self.settings.home).state_file).services
        pids = {
            name: state.pid
            for name, state in services.items()
            if name in _SERVICES and state.pid is not None
        }
        return read_usage({**pids, **self.others})

    def connect(self) -> psycopg.Connection[Any]:
        """Look into our own tables as the superuser, whom no policy stops."""
        url = make_url(self.stack.superuser_url).set(
            drivername="postgresql", database=owner_url(self.settings).database
        )
        return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)

    def make_database(self, name: str) -> URL:
        """Make another database in the same cluster; return its URL as its owner."""
        superuser = make_url(self.stack.superuser_url).set(drivername="postgresql")
        owner = owner_url(self.settings)
        with psycopg.connect(
            superuser.render_as_string(hide_password=False), autocommit=True
        ) as connection:
            connection.execute(f'create database "{name}" owner "{owner.username}"'.encode())
        return owner.set(database=name)

    def contender(self, module: str, setup: JsonObject) -> Contender:
        """Describe a contender's process; it starts with the `with` block."""
        name = module.rpartition(".")[2]
        return Contender(
            module, environ=self.environ(), setup=setup, log=self.folder / f"{name}.log"
        )

    def environ(self) -> dict[str, str]:
        """Give the environment of a contender's process: nothing of ours but what is set here."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        environ |= prefect_client_environ(self.settings)
        environ["PYTHONPATH"] = str(ROOT)
        if self.settings.prefect_api_url is not None:
            environ[PREFECT_API_URL] = self.settings.prefect_api_url
        return environ

    def start_services(self) -> None:
        """Start steward and API, and wait until they are ready."""
        self.stack.ensure(extra=[service_spec(STEWARD, self.settings), api_spec(self.settings)])
        self.stack.wait_ready()

    @contextmanager
    def working(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        profile: Path | None = None,
        name: str = WORKER,
    ) -> Generator[None]:
        """Have a worker run, from the block's beginning to its end.

        Args:
            environ: settings of its own, by their `TENANTRY_` names.
            profile: file into which it writes where its time went.
            name: what it is called in `usage`, where there are several.
        """
        settings = load_settings({**as_environ(self.settings), **(environ or {})})
        command = [sys.executable, "-m", "deployments.bench.worker"]
        with (self.folder / f"{name}.log").open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                command if profile is None else [*command, str(profile)],
                env={**self.environ(), **as_environ(settings)},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent(signal.SIGKILL),
            )
        self.others[name] = process.pid
        try:
            yield
        finally:
            del self.others[name]
            process.terminate()
            try:
                process.wait(timeout=settings.drain_grace_s + 15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def open_ground(*, prefect: bool, say: Say) -> Generator[Ground]:
    """Start PostgreSQL with our tables and, if wanted, Prefect; at the end stop and remove all."""
    folder = _make_folder()
    try:
        settings = load_settings({"TENANTRY_HOME": str(folder / "home")})
        wanted = (POSTGRES, PREFECT) if prefect else (POSTGRES,)
        with open_stack(settings, wanted, on_progress=say) as stack:
            found = stack.settings.model_copy(
                update={"audit_key": SecretStr(new_audit_key()), "api_port": choose_port()}
            )
            app_url, platform_url = role_urls(found)
            migrate(owner_url(found), app_url=app_url, platform_url=platform_url)
            database = open_database_of(found)
            stack.wait_ready()
            try:
                yield Ground(stack, found, database, folder)
            finally:
                database.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_folder() -> Path:
    # PostgreSQL runs as `nobody` under root, who may not enter a private folder. Not /tmp, which
    # may be memory: what is measured has to reach a disk.
    place = Path("/var/tmp")
    folder = Path(tempfile.mkdtemp(prefix="tenantry-bench-", dir=place if place.is_dir() else None))
    folder.chmod(0o755)
    return folder
