"""The API as a process of its own, on a database that is there already."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL

from tests.support.databases import AUDIT_KEY

ROOT = Path(__file__).parents[2]
_PATIENCE_S = 60


@contextmanager
def serving(module: str, owner: URL, port: int) -> Generator[None]:
    """Run a server's module, `api.service` or one like it, until the block ends."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TENANTRY_")} | {
        "TENANTRY_DATABASE_URL": owner.render_as_string(hide_password=False),
        "TENANTRY_AUDIT_KEY": AUDIT_KEY.decode(),
        "TENANTRY_API_PORT": str(port),
        "TENANTRY_LOG_LEVEL": "WARNING",
        "BENCH_PORT": str(port),
    }
    process = subprocess.Popen([sys.executable, "-m", module], env=environ, cwd=ROOT)
    try:
        _wait_for_health(process, port)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for_health(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/health")
            connection.getresponse().read()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        finally:
            connection.close()
