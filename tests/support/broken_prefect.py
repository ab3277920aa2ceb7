"""A Prefect whose database is restarting: it answers 500, having done what was asked or not."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_DROPPED = {"transfer-encoding", "content-encoding", "content-length", "connection", "date"}


class BrokenPrefect(ThreadingHTTPServer):
    """Passes everything on, but answers the first two proposals of a flow's states with 500.

    The first of them is not passed on, the answer of the second is lost. Pending is no state of a
    flow's: Prefect's own worker proposes it, and the steward sees to what it leaves behind.
    """

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = httpx.Client(base_url=url.removesuffix("/api"), timeout=60)
        self.proposals: Counter[str] = Counter()
        """How often each state was proposed, by its type."""

    @property
    def url(self) -> str:
        """Give the address that stands for the true one."""
        return f"http://127.0.0.1:{self.server_port}/api"


class _Handler(BaseHTTPRequestHandler):
    server: BrokenPrefect
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        proposals = 0
        if self.path.endswith("/set_state"):
            kind = json.loads(body)["state"]["type"]
            self.server.proposals[kind] += 1
            proposals = 0 if kind == "PENDING" else self.server.proposals[kind]
        if proposals == 1:
            self._answer(httpx.Response(500))
            return
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
        answer = self.server.target.request(self.command, self.path, content=body, headers=headers)
        self._answer(httpx.Response(500) if proposals == 2 else answer)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _pass_on

    def _answer(self, answer: httpx.Response) -> None:
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in _DROPPED:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)


@contextmanager
def broken_prefect(url: str) -> Iterator[BrokenPrefect]:
    """Stand before a Prefect server until the block ends."""
    with BrokenPrefect(url) as server:
        thread = threading.Thread(target=server.serve_forever, name="broken Prefect")
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(timeout=30)
            server.target.close()
