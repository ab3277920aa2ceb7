"""Serve the API: `python -m api.service`, which `tenantry api` and `tenantry up` run."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from api.app import create_app
from api.connections import ConnectionBounds, fit_to_files, make_protocol
from api.json_logs import start_json_logging
from api.platform_metrics import create_metrics_app
from api.state import ApiState
from deployments.settings import Settings, load_settings
from deployments.wiring import open_database_of

_LOG = logging.getLogger("tenantry.api")
# Each route waits for one connection of one of the two pools, in one of 40 threads.
_POOL_SIZE = 10
_SHUTDOWN_S = 10
_BACKLOG = 512
_METRICS_BOUNDS = ConnectionBounds(max_connections=64)


def main() -> None:
    """Serve until a signal stops it; answers that are under way are finished first."""
    settings = load_settings(os.environ)  # noqa: TID251 - handed to the one place that reads it
    start_json_logging(settings.log_level)
    database = open_database_of(settings, pool_size=_POOL_SIZE)
    state = ApiState(
        database=database,
        prefect_ui_url=_prefect_ui(settings),
        event_ping_s=settings.event_ping_s,
        event_send_timeout_s=settings.api_stall_timeout_s,
        most_org_series=settings.metrics_orgs,
    )
    bounds = ConnectionBounds(
        max_connections=fit_to_files(settings.api_max_connections),
        head_timeout_s=settings.api_head_timeout_s,
        stall_timeout_s=settings.api_stall_timeout_s,
    )
    # uvicorn hands its signals on when it has ended, and the default would end us with an error.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _note_signal)
    try:
        with _serving_metrics(settings, state):
            _LOG.info("serving on %s:%d", settings.api_host, settings.api_port)
            server = _make_server(
                create_app(state),
                settings.api_host,
                settings.api_port,
                protocol=make_protocol(bounds, on_refused=state.counters.count_refusal),
                proxies=settings.api_proxies,
            )
            server.run()
    finally:
        database.close()
    _LOG.info("stopped")


@contextmanager
def _serving_metrics(settings: Settings, state: ApiState) -> Generator[None]:
    """Serve Prometheus on its own port, in a thread of its own, if there is a port."""
    if settings.metrics_port is None:
        yield
        return
    app = create_metrics_app(state)
    server = _make_server(
        app,
        settings.metrics_host,
        settings.metrics_port,
        protocol=make_protocol(_METRICS_BOUNDS, on_refused=state.counters.count_refusal),
        proxies=None,
    )
    thread = threading.Thread(target=server.run, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(_SHUTDOWN_S)


def _make_server(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    protocol: type[asyncio.Protocol],
    proxies: str | None,
) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol,
        log_config=None,
        # The line of our own has the request's id and organization.
        access_log=False,
        ws="none",
        server_header=False,
        backlog=_BACKLOG,
        # By default whoever asks from this machine may claim to be any other.
        proxy_headers=proxies is not None,
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    return uvicorn.Server(config)


def _prefect_ui(settings: Settings) -> str | None:
    if settings.prefect_ui_url is not None:
        return settings.prefect_ui_url
    api = settings.prefect_api_url
    return None if api is None else api.removesuffix("/api")


def _note_signal(_number: int, _frame: object) -> None:
    """Do nothing: the server has ended by then."""


if __name__ == "__main__":
    main()
