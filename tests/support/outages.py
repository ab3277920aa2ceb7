"""Take a service of the embedded stack away for as long as wanted, and see it come back."""

import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from deployments.embedded.layout import Home
from deployments.embedded.stack import EmbeddedStack
from deployments.embedded.state import read_state
from tests.support.services import wait_for


@contextmanager
def without(stack: EmbeddedStack, service: str) -> Generator[None]:
    """Kill `postgres` or `prefect`, and keep it dead inside the block; leave when it answers.

    The keeper would start it again at once, and is frozen meanwhile.
    """
    state = read_state(Home(stack.settings.home).state_file)
    keeper, pid = state.keeper_pid, state.services[service].pid
    assert keeper is not None
    assert pid is not None
    os.kill(keeper, signal.SIGSTOP)
    try:
        os.kill(pid, signal.SIGKILL)
        yield
    finally:
        os.kill(keeper, signal.SIGCONT)
    answers = {"postgres": postgres_answers, "prefect": prefect_answers}[service]
    wait_for(f"{service} back", lambda: answers(stack), timeout_s=120, every_s=0.02)


@contextmanager
def frozen(stack: EmbeddedStack, service: str) -> Generator[None]:
    """Stop `postgres` or `prefect` in the middle of whatever it does, and let it go on."""
    pid = read_state(Home(stack.settings.home).state_file).services[service].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    # Whoever serves a connection of PostgreSQL is a child, and no new ones come now.
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pids = [pid, *(int(child) for child in children)]
    try:
        for each in pids:
            os.kill(each, signal.SIGSTOP)
        yield
    finally:
        for each in pids:
            os.kill(each, signal.SIGCONT)


def postgres_answers(stack: EmbeddedStack) -> bool:
    """Say whether PostgreSQL takes a query."""
    engine = create_engine(stack.superuser_url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return bool(connection.scalar(text("select true")))
    except DBAPIError:
        return False


def prefect_answers(stack: EmbeddedStack) -> bool:
    """Say whether Prefect's server is ready."""
    try:
        return httpx.get(f"{stack.prefect_api_url}/ready", timeout=5).is_success
    except httpx.HTTPError:
        return False


class Stopwatch:
    """Seconds since it was started."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has run, to a tenth."""
        return round(time.monotonic() - self._began, 1)
