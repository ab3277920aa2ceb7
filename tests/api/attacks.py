"""A real service to be attacked, and somebody who goes on using it meanwhile."""

import http.client
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.api_process import ApiProcess, api_process
from tests.support.databases import Cluster, open_roles
from tests.support.lives import add_tenants
from tests.support.raw_http import request

MAX_CONNECTIONS = 250
HEAD_TIMEOUT_S = 2
# An attack may cost others some time: the machine is shared. What it may not do is to stop them.
SLOWER = 20
PAUSE_S = 0.02
_MIN_ASKED = 5
# Less is the machine's noise.
_LEAST_S = 0.01


@dataclass
class Prober:
    """A client that asks all the time, mostly over connections of its own."""

    port: int
    token: str
    times_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def ask(self) -> None:
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            connection.request("GET", "/api/v1/workflows", headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                self.failures.append(f"status {answer.status}")
        except OSError as error:
            self.failures.append(repr(error))
        finally:
            connection.close()
        self.times_s.append(time.monotonic() - started)

    def take(self) -> list[float]:
        taken, self.times_s = self.times_s, []
        return taken


@dataclass(frozen=True)
class Target:
    """The service, and a token of an administrator."""

    served: ApiProcess
    token: str
    workflow_id: str

    @property
    def port(self) -> int:
        return self.served.port

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str | int
    ) -> bytes:
        return request(method, f"/api/v1{path}", body, token=self.token, **headers)

    @contextmanager
    def in_use(self) -> Iterator[Prober]:
        """Use the service as before during the block: nothing fails, nor takes much longer."""
        prober = Prober(self.port, self.token)
        for _ in range(30):
            prober.ask()
            time.sleep(PAUSE_S)
        before = max(_LEAST_S, statistics.median(prober.take()))
        stop = threading.Event()

        def go_on() -> None:
            while not stop.wait(PAUSE_S):
                prober.ask()

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield prober
            # Some attacks are over at once.
            while len(prober.times_s) < _MIN_ASKED:
                time.sleep(PAUSE_S)
        finally:
            stop.set()
            thread.join()
        assert prober.failures == [], prober.failures
        assert statistics.median(prober.take()) < SLOWER * before

    def check_sound(self) -> None:
        """Look whether it is up, has logged no failure, and holds on to nothing."""
        assert self.served.process.poll() is None
        lines = self.served.log_lines()
        bad = [x for x in lines if x["level"] not in ("INFO", "WARNING") or "exception" in x]
        assert bad == []
        assert [x for x in lines if " 500 " in x["message"]] == []
        deadline = time.monotonic() + 30
        while self.served.open_connections() > 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@contextmanager
def target(cluster: Cluster, template: str, folder: Path) -> Iterator[Target]:
    """Serve a database of one organization, with short deadlines and few connections."""
    url = cluster.copy(template)
    try:
        with open_roles(url) as database:
            ((workflow, token),) = add_tenants(database, 1).values()
            with api_process(
                url,
                folder / "api.log",
                api_max_connections=MAX_CONNECTIONS,
                api_head_timeout_s=HEAD_TIMEOUT_S,
            ) as served:
                yield Target(served, token, workflow.id)
    finally:
        cluster.drop(url)
