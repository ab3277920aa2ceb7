"""Real worker and steward processes for tests, and ways to kill them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
from sqlalchemy import URL

from deployments.embedded.stack import EmbeddedStack
from deployments.installation import prefect_client_environ
from deployments.settings import PREFECT_API_URL
from domain.executions import FINAL, Execution
from domain.ids import ExecutionId, OrgId
from persistence.driver_errors import DatabaseUnreachable
from persistence.executions import get_execution, list_executions
from persistence.sessions import Database
from tests.support.databases import AUDIT_KEY

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PREFECT = ("-c", "import tests.support.worker_main; from prefect.cli import app; app()")
COMMAND = ("-c", "from deployments.cli import main; main()")


def wait_for(
    what: str, look: Callable[[], T | None], *, timeout_s: float = 60, every_s: float = 0.1
) -> T:
    """Look until there is something to see; a test that never sees it fails with its name."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(every_s)
    raise AssertionError(f"never seen: {what}")


@dataclass
class Services:
    """The processes of one test, against one database and one Prefect."""

    stack: EmbeddedStack
    database_url: URL
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)

    def worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a worker that knows the probe."""
        return self._start("worker", "-m", "tests.support.worker_main", *arguments)

    def steward(self) -> subprocess.Popen[bytes]:
        """Start a steward."""
        return self._start("steward", "-m", "deployments.steward")

    def prefect(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of Prefect's own, which knows the probe's workers as well."""
        return self._start("prefect", *PREFECT, *arguments)

    def service(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of `tenantry` that serves until it is stopped."""
        return self._start(arguments[0], *COMMAND, *arguments)

    def log(self) -> str:
        """Read what all processes have logged."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        """End what is left."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `tenantry` to its end."""
        return subprocess.run(
            [sys.executable, *COMMAND, *arguments],
            env=self._environ(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
        )

    def _environ(self) -> dict[str, str]:
        settings = self.stack.settings
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TENANTRY_", "PREFECT_"))
        }
        environ |= prefect_client_environ(settings)
        return environ | {
            "TENANTRY_HOME": str(settings.home),
            "TENANTRY_DATABASE_URL": self.database_url.render_as_string(hide_password=False),
            "TENANTRY_AUDIT_KEY": AUDIT_KEY.decode(),
            "TENANTRY_RECONCILE_INTERVAL_S": "1",
            "TENANTRY_LEASE_S": "5",
            PREFECT_API_URL: self.stack.prefect_api_url,
            **self.environ,
        }

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        number = len(self.processes)
        with (self.folder / f"{number}-{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env=self._environ(),
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process


@contextmanager
def running_services(
    stack: EmbeddedStack, database_url: URL, folder: Path, **environ: str
) -> Iterator[Services]:
    """Give a test its processes, and end them after it."""
    services = Services(stack, database_url, folder, environ=environ)
    try:
        yield services
    finally:
        services.stop()
        drop_deployments(stack)


def drop_deployments(stack: EmbeddedStack) -> None:
    """Remove all deployments from Prefect, so that no later test's worker is handed their runs."""
    with httpx.Client(base_url=stack.prefect_api_url, timeout=30) as client:
        for deployment in client.post("deployments/filter", json={}).raise_for_status().json():
            client.delete(f"deployments/{deployment['id']}").raise_for_status()


def wait_until_final(
    database: Database, org_id: OrgId, ids: list[ExecutionId], *, timeout_s: float = 120
) -> list[Execution]:
    """Wait until executions are final; return them in the order of `ids`."""

    def look() -> list[Execution] | None:
        try:
            with database.org(org_id) as session:
                found = {e.id: e for e in list_executions(session, limit=10_000)}
        except DatabaseUnreachable:
            return None  # some tests kill it
        executions = [found[id] for id in ids]
        return executions if all(e.status in FINAL for e in executions) else None

    try:
        return wait_for(
            f"{len(ids)} executions at their end", look, timeout_s=timeout_s, every_s=0.2
        )
    except AssertionError as error:
        with database.org(org_id) as session:
            states = [(id, get_execution(session, id).status.value) for id in ids]
        raise AssertionError(f"{error}; {[s for s in states if s[1] not in FINAL]}") from None
