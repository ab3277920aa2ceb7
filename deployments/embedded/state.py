"""What the keeper tells its users, as one JSON file that is replaced in one step."""

import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from deployments.embedded.files import write_private
from deployments.embedded.ownership import read_own


class ServiceStatus(StrEnum):
    """How far a service is."""

    WAITING = "waiting"  # for another service
    STARTING = "starting"
    READY = "ready"
    PAUSING = "pausing"  # died, and is started again shortly
    FAILED = "failed"  # died too often, or can't be started; asking again tries again
    ENDED = "ended"  # came to its end and is not to be restarted


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a service can't run, in words for people."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service as the keeper sees it."""

    status: ServiceStatus
    pid: int | None = None
    start: str | None = None
    """With `pid`, names the process for good; see `processes.ProcessId`."""
    port: int | None = None
    starts: int = 0
    """How often it was started by this keeper."""
    stop_signal: int = 15
    failure: Failure | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class KeeperState:
    """Everything that the keeper says."""

    keeper_pid: int | None = None
    accepted: tuple[str, ...] = ()
    """Ids of the latest requests that are reflected in `services`."""
    services: dict[str, ServiceState] = field(default_factory=dict[str, ServiceState])
    ports: dict[str, int] = field(default_factory=dict[str, int])
    """Ports used last, kept for the next start so that bookmarks stay right."""


def write_state(path: Path, state: KeeperState) -> None:
    """Replace the state file."""
    write_private(path, json.dumps(asdict(state), indent=1))


def read_state(path: Path) -> KeeperState:
    """Read the state file; one that is missing or unreadable says nothing.

    Unreadable is one that an older or newer version has written: its keeper is gone, or else
    it would not accept our request.

    Raises:
        StackStartFailed: it is not the caller's own.
    """
    try:
        return _parse(json.loads(read_own(path)))
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return KeeperState()


def _parse(data: Any) -> KeeperState:
    state = KeeperState(**data)
    services = {name: _parse_service(raw) for name, raw in state.services.items()}
    return replace(state, accepted=tuple(state.accepted), services=services)


def _parse_service(raw: Any) -> ServiceState:
    state = ServiceState(**raw)
    failure: Any = state.failure
    return replace(
        state,
        status=ServiceStatus(state.status),
        failure=Failure(**failure) if failure is not None else None,
    )
