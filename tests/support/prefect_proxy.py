"""Stands before a real Prefect server: passes on what it is asked, and fails where it is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

import httpx

_DROPPED = {"transfer-encoding", "content-encoding", "content-length", "connection", "date"}


class PrefectProxy(ThreadingHTTPServer):
    """Passes everything on; what fails says a subclass."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = httpx.Client(base_url=url.removesuffix("/api"), timeout=60)

    @property
    def url(self) -> str:
        """Give the address that stands for the true one."""
        return f"http://127.0.0.1:{self.server_port}/api"

    def answer(self, request: httpx.Request) -> httpx.Response | None:
        """Answer a request; `None` hangs up. By default as the true server does."""
        return self.target.send(request)


Proxy = TypeVar("Proxy", bound=PrefectProxy)


class _Handler(BaseHTTPRequestHandler):
    server: PrefectProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
        request = self.server.target.build_request(
            self.command, self.path, content=body, headers=headers
        )
        answer = self.server.answer(request)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in _DROPPED:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _pass_on


@contextmanager
def serving(server: Proxy) -> Iterator[Proxy]:
    """Let a proxy serve until the block ends."""
    with server:
        thread = threading.Thread(target=server.serve_forever, name="Prefect proxy")
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(timeout=30)
            server.target.close()
