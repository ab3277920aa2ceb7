"""The REST API as a process of its own, and what it costs the machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
from sqlalchemy import URL

from deployments.embedded.ports import choose_port
from tests.support.databases import AUDIT_KEY

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60
_LISTENING = "0A"


@dataclass(frozen=True)
class ApiProcess:
    """A running `python -m api.service`."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log_lines(self) -> list[dict[str, Any]]:
        """Read what it has logged; a line that is no JSON fails the test."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def rss_bytes(self) -> int:
        """Say how much memory of its own it has in use now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def open_files(self) -> int:
        """Count its open files, connections included."""
        return len(self._files())

    def open_connections(self) -> int:
        """Count the clients' connections that it holds open, in whatever state they are."""
        files = self._files()
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        # Local address, …, inode: https://docs.kernel.org/networking/proc_net_tcp.html
        rows = [line.split() for line in lines]
        return sum(
            int(row[1].split(":")[1], 16) == self.port
            and row[3] != _LISTENING
            and f"socket:[{row[9]}]" in files
            for row in rows
        )

    def _files(self) -> set[str]:
        folder = Path(f"/proc/{self.process.pid}/fd")
        found: set[str] = set()
        for each in folder.iterdir():
            # It may be closed meanwhile.
            with suppress(FileNotFoundError):
                found.add(os.readlink(each))
        return found


@contextmanager
def api_process(owner: URL, log: Path, **settings: object) -> Iterator[ApiProcess]:
    """Serve a database that is migrated, until the block ends; `settings` without `TENANTRY_`."""
    with log.open("wb") as file, _running("api.service", owner, settings, stderr=file) as served:
        process, port = served
        api = ApiProcess(process, port, log)
        _wait_until_ready(process, port, path="/ready")
        yield api


@contextmanager
def serving(module: str, owner: URL) -> Iterator[int]:
    """Run a server's module, `api.service` or one like it, until the block ends; give its port."""
    with _running(module, owner, {"log_level": "WARNING"}, stderr=None) as (process, port):
        _wait_until_ready(process, port, path="/health")
        yield port


@contextmanager
def _running(
    module: str, owner: URL, settings: Mapping[str, object], *, stderr: IO[bytes] | None
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = choose_port()
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("TENANTRY_", "PREFECT_"))},
        "TENANTRY_DATABASE_URL": owner.render_as_string(hide_password=False),
        "TENANTRY_AUDIT_KEY": AUDIT_KEY.decode(),
        "TENANTRY_API_PORT": str(port),
        # For a server that is none of ours.
        "PORT": str(port),
        **{f"TENANTRY_{name.upper()}": str(value) for name, value in settings.items()},
    }
    command = [sys.executable, "-m", module]
    process = subprocess.Popen(command, env=environ, cwd=ROOT, stderr=stderr)
    try:
        yield process, port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, *, path: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        assert time.monotonic() < deadline
        try:
            if httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
