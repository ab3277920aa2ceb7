"""A Prefect that fails at the requests of one workflow, and answers all others."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_DROPPED = {"transfer-encoding", "content-encoding", "content-length", "connection", "date"}


class FailingPrefect(ThreadingHTTPServer):
    """Passes on what it is asked, but for requests with a marked body."""

    daemon_threads = True

    def __init__(self, url: str, *, answers_500_to: bytes, hangs_up_on: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = httpx.Client(base_url=url.removesuffix("/api"), timeout=60)
        self.answers_500_to, self.hangs_up_on = answers_500_to, hangs_up_on
        self.is_down = False
        """Whether it answers 500 to everything, `/ready` included, as without its database."""

    @property
    def url(self) -> str:
        """Give the address that stands for the true one."""
        return f"http://127.0.0.1:{self.server_port}/api"


class _Handler(BaseHTTPRequestHandler):
    server: FailingPrefect
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.hangs_up_on in body:
            self.close_connection = True
            return
        if self.server.is_down or self.server.answers_500_to in body:
            self._answer(httpx.Response(500))
            return
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
        self._answer(
            self.server.target.request(self.command, self.path, content=body, headers=headers)
        )

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
def failing_prefect(
    url: str, *, answers_500_to: bytes, hangs_up_on: bytes
) -> Iterator[FailingPrefect]:
    """Stand before a Prefect server until the block ends."""
    with FailingPrefect(url, answers_500_to=answers_500_to, hangs_up_on=hangs_up_on) as server:
        thread = threading.Thread(target=server.serve_forever, name="failing Prefect")
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(timeout=30)
            server.target.close()
