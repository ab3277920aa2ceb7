"""How the embedded Prefect server is run."""

import sys
from collections.abc import Mapping
from types import MappingProxyType

from deployments.embedded.cluster import PREFECT_DATABASE, PREFECT_ROLE
from deployments.embedded.layout import Home
from deployments.embedded.specs import POSTGRES, PREFECT, ServiceSpec

# Prefect asks for the list of all time zones whenever it reads a cron schedule, and Python makes it
# anew from some six hundred files: 14 ms. With no such folder it is one file of the package
# `tzdata`, which Prefect brings along: 0.4 ms.
ZONES_FROM_PACKAGE: Mapping[str, str] = MappingProxyType({"PYTHONTZPATH": ""})
# What every Prefect server of ours runs with, here and in production: docs/operations.md has the
# same lines and what they were measured to do, and a test compares the two.
TUNED: Mapping[str, str] = MappingProxyType(
    {
        # One by one, events cost the server as much as the runs themselves.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
        # Five by default: what comes together in them is one statement, and until it is made, for
        # up to a quarter of a second, nobody is answered.
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.5",
        # The defaults, 5 and 10, run out when a full worker and the event services meet.
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "15",
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "15",
        # An hour and a minute by default: each minute the scheduler makes an hour's runs of each
        # minute cron anew, and the database drops all but one of them. New schedules do not wait
        # for it: there is another service for those, which looks every five seconds.
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT10M",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "120",
        # Of each batch it looks for every run in the list of the inserted ones: 500 by default.
        "PREFECT_SERVER_SERVICES_SCHEDULER_INSERT_BATCH_SIZE": "100",
        # Fifteen seconds by default. To mark a run as late costs the server as much as to start
        # it, and when five hundred are due at the same minute some of them wait.
        "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "300",
        **ZONES_FROM_PACKAGE,
    }
)


def api_url(port: int) -> str:
    """Return the address of the API."""
    return f"http://127.0.0.1:{port}/api"


def build_prefect_spec(
    home: Home, *, port: int, database_port: int, database_password: str
) -> ServiceSpec:
    """Describe Prefect's server on its own database in the embedded cluster.

    It has no password: it listens on 127.0.0.1 only, and with one the pages would ask for it
    before their Run button works. Whoever has an account on this machine can reach it; on a
    machine with several people run your own Prefect and set PREFECT_API_URL.
    """
    database = f"{PREFECT_ROLE}:{database_password}@127.0.0.1:{database_port}/{PREFECT_DATABASE}"
    return ServiceSpec(
        name=PREFECT,
        argv=(
            *(sys.executable, "-P", "-m", "uvicorn"),
            *("--factory", "prefect.server.api.server:create_app"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--log-level", "warning", "--no-access-log"),
            # Event streams of clients never end by themselves.
            *("--timeout-graceful-shutdown", "3"),
        ),
        env={
            "PREFECT_HOME": str(home.prefect),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{database}",
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_UI_API_URL": api_url(port),
            # The newer pages send usage data to a host of Prefect's even with analytics off.
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            # By default any web page may call the API from a browser on this machine. Its own
            # pages call it under 127.0.0.1, also when they were opened under localhost.
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": (
                f"http://127.0.0.1:{port},http://localhost:{port}"
            ),
            # A run that is cancelled before it starts stays Cancelling for this long.
            "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS": "60",
            **TUNED,
        },
        # Prefect reads `prefect.toml`, `pyproject.toml` and `.env` of the folder it starts in.
        cwd=str(home.prefect),
        after=(POSTGRES,),
        ready_url=f"{api_url(port)}/ready",
        # Importing it takes 5 to 10 seconds of CPU, migrating an empty database as much again.
        start_timeout_s=180,
    )
