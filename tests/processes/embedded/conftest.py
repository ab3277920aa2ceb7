"""Homes and users of the embedded stack, all of them real, and gone after each test."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from deployments.embedded.layout import Home
from deployments.embedded.specs import ServiceSpec
from deployments.embedded.state import ServiceState, read_state
from deployments.settings import Settings

PATIENCE_S = 60.0


def wait_until(what: str, holds: Callable[[], Any]) -> Any:
    """Wait for a condition and return its (true) value; fail the test if it never comes."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.02)
    pytest.fail(f"never came: {what}")


def pids_of(home: Home) -> set[int]:
    """List the live processes that work for a home: by their folder or their command line."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            signs = ""
            with suppress(OSError):  # it ends while we look, or its folder is not for us to see
                signs = (entry / "cmdline").read_bytes().decode(errors="replace")
                signs += f" {(entry / 'cwd').readlink()}"
            if str(home.path) in signs:
                found.add(int(entry.name))
    return found


def state_of(home: Home, service: str) -> ServiceState:
    """Return what the keeper says about a service."""
    return read_state(home.state_file).services[service]


def pid_of(home: Home, service: str) -> int:
    """Return the process of a running service."""
    pid = state_of(home, service).pid
    assert pid is not None
    return pid


def keeper_pid(home: Home) -> int:
    """Return the process of the running keeper."""
    pid = read_state(home.state_file).keeper_pid
    assert pid is not None
    return pid


def sleeper(home: Home, name: str = "sleeper", **changes: Any) -> ServiceSpec:
    """Describe a service that does nothing, and is found by `pids_of`."""
    argv = (sys.executable, "-c", "import time; time.sleep(3600)", str(home.path))
    return replace(ServiceSpec(name, argv, ready_after_s=0.1), **changes)


class User:
    """Another process that uses the stack of a home."""

    def __init__(self, home: Home, *services: str, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.embedded.user_process", *services],
            env={**os.environ, "TENANTRY_HOME": str(home.path), **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # In a group of its own, as a command in a terminal is.
            process_group=0,
        )

    def answer(self) -> dict[str, Any]:
        """Wait for its next line."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline() or '{"silent": true}')

    def ask(self, *names: str, extra: tuple[ServiceSpec, ...] = ()) -> dict[str, Any]:
        """Have it ask for services, and wait until they are ready."""
        assert self.process.stdin is not None
        asked = {"names": names, "extra": [asdict(spec) for spec in extra]}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def leave(self) -> dict[str, Any]:
        """Have it leave the stack, and wait until it has ended."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        said = self.answer()
        self.process.wait(PATIENCE_S)
        return said

    def kill(self) -> None:
        """End it the hard way."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def dispose(self) -> None:
        """Leave nothing of it, whatever the test did."""
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


@pytest.fixture
def home() -> Iterator[Home]:
    """An empty home which PostgreSQL's user can reach, unlike pytest's own folders."""
    path = Path(tempfile.mkdtemp(prefix="tenantry-test-", dir="/var/tmp"))
    path.chmod(0o755)
    found = Home(path)
    yield found
    with suppress(AssertionError, ProcessLookupError):
        os.kill(keeper_pid(found), signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_S
    while pids_of(found) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in pids_of(found):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def settings(home: Home) -> Settings:
    return Settings(home=home.path)


@pytest.fixture
def start_user(home: Home) -> Iterator[Callable[..., User]]:
    with ExitStack() as users:

        def start(*services: str, **environ: str) -> User:
            user = User(home, *services, **environ)
            users.callback(user.dispose)
            return user

        yield start
