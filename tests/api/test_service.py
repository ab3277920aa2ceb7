"""`tenantry api` as a process: it serves, logs for programs, and ends when it is told to."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.cli.conftest import PATIENCE_S, Tenantry
from tests.support.documents import read_document
from tests.support.homes import temporary_home
from tests.support.services import wait_for

pytestmark = pytest.mark.processes


@dataclass(frozen=True)
class Service:
    """A running `tenantry api`."""

    tenantry: Tenantry
    process: subprocess.Popen[str]
    url: str
    metrics_url: str
    log: Path
    token: str

    def ask(self, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        method = options.pop("method", "GET")
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=30, **options)

    def lines(self) -> list[dict[str, Any]]:
        """Read the log; a line that is no JSON fails the test.

        The command itself tells people, on the same stream, what takes time: `Starting … …`.
        """
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if not line.endswith(" …")]


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextmanager
def serving(tenantry: Tenantry, log: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with log.open("w") as file, tenantry.start("api", "--json", stderr=file) as process:
        try:
            assert process.stdout is not None
            url = read_document(process.stdout)["api"]
            wait_until_ready(url.removesuffix("/api/v1"), process)
            yield process, url
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def wait_until_ready(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline
        try:
            if httpx.get(f"{url}/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    port, metrics_port = free_ports(2)
    environ = {"TENANTRY_API_PORT": str(port), "TENANTRY_METRICS_PORT": str(metrics_port)}
    with temporary_home() as home:
        tenantry = Tenantry(home, environ)
        log = home.parent / "api.log"
        with serving(tenantry, log) as (process, url):
            token = tenantry.ask("tokens", "create", "--name", "test")["secret"]
            metrics = f"http://127.0.0.1:{metrics_port}/metrics"
            yield Service(tenantry, process, url, metrics, log, token)


def test_it_serves_the_agent_types_of_this_version(service: Service):
    found = service.ask("/agent-types").json()["items"]
    assert "sales_intelligence" in {each["type"] for each in found}


def test_a_workflow_made_over_http_is_one_of_the_command_line(service: Service):
    document = {"name": "Over HTTP", "agents": [{"name": "a", "type": "lead_request"}]}
    made = service.ask("/workflows", method="POST", json=document)
    assert made.status_code == 201
    listed = service.tenantry.ask("workflows", "list")["workflows"]
    assert made.json()["id"] in {each["id"] for each in listed}


def test_its_log_is_json_with_ids_and_without_payloads(service: Service):
    document = {"name": "Canary 7f3a", "agents": [{"name": "a", "type": "lead_request"}]}
    asked = {"X-Request-ID": "probe-1"}
    service.ask("/workflows", method="POST", json=document, headers=asked).raise_for_status()

    def look() -> list[dict[str, Any]]:
        return [line for line in service.lines() if line.get("request_id") == "probe-1"]

    # It is written once the answer is sent.
    own = wait_for("its line in the log", look)
    assert [(line["org_id"], line["user_id"]) for line in own] == [("org_demo", "user_admin")]
    assert "Canary 7f3a" not in service.log.read_text()
    assert service.token not in service.log.read_text()


def test_prometheus_has_a_port_of_its_own(service: Service):
    assert "tenantry_" in httpx.get(service.metrics_url).text
    base = service.url.removesuffix("/api/v1")
    assert httpx.get(f"{base}/metrics").status_code == 404


def test_a_second_one_on_the_same_port_is_refused(service: Service):
    answer = service.tenantry("api", "--json")
    assert (answer.code, answer.error["code"]) == (2, "command.invalid")
    assert "TENANTRY_API_PORT" in answer.error["hint"]


def test_a_signal_ends_it_without_an_error(service: Service):
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(PATIENCE_S) == 0
    assert service.lines()[-1]["message"] == "stopped"
