"""A service that the keeper can run, and how a user asks for it."""

import json
import logging
import re
import signal
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from deployments.embedded.errors import StackStartFailed
from deployments.embedded.files import write_private
from deployments.embedded.ownership import read_own

_log = logging.getLogger(__name__)

POSTGRES = "postgres"
PREFECT = "prefect"
BUILT_IN = (POSTGRES, PREFECT)
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """How to run one service: what to start, when it is ready, how it is stopped.

    It gets the environment of the process that started the keeper, without `TENANTRY_…`,
    `PREFECT_…` and `PG…`, and with `env` on top. Its output goes to `logs/<name>.log`.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict[str, str])
    cwd: str = "/"
    after: tuple[str, ...] = ()
    """Services that must be ready before this one is started the first time."""
    uses: tuple[str, ...] = ()
    """Services that it waits for by itself; they are stopped after it."""
    port: int | None = None
    """Where it listens, for the state that others read; it is told so by its own `argv`."""
    ready_url: str | None = None
    """Ready once a GET of this `http://127.0.0.1…` address answers 200."""
    ready_after_s: float = 0.5
    """Without `ready_url`: ready once it has lived for this long."""
    start_timeout_s: float = 120
    """A start that takes longer counts as failed."""
    stop_signal: int = signal.SIGTERM
    stop_grace_s: float = 10
    """Seconds from `stop_signal` to SIGKILL."""
    restart: bool = True
    """Start it again whenever it ends; otherwise its end is its end."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a service can't be named {self.name!r}")
        if not self.argv:
            raise ValueError(f"service {self.name} has nothing to run")


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """What one user wants to run: services that we know by name, and others described in full."""

    id: str
    names: tuple[str, ...]
    extra: tuple[ServiceSpec, ...] = ()

    @classmethod
    def of(cls, names: Sequence[str], extra: Sequence[ServiceSpec] = ()) -> "ServiceRequest":
        """Make a request with an id of its own."""
        return cls(uuid.uuid4().hex, tuple(names), tuple(extra))

    def path_in(self, folder: Path) -> Path:
        """Return the file that carries this request."""
        return folder / f"{self.id}.json"


def post_request(folder: Path, request: ServiceRequest) -> None:
    """Hand a request to the keeper; handing it over twice asks once."""
    write_private(request.path_in(folder), json.dumps(asdict(request)))


def take_requests(folder: Path) -> list[ServiceRequest]:
    """Take all requests out of the folder; throw those away that are not the owner's own."""
    taken: list[ServiceRequest] = []
    for path in sorted(folder.glob("[!.]*.json")):
        # A user that gives up takes its request back.
        with suppress(FileNotFoundError):
            try:
                text = read_own(path)
            except StackStartFailed as refusal:
                _log.error("request refused: %s", refusal.message)
                path.unlink()
                continue
            path.unlink()
            try:
                taken.append(_parse(json.loads(text)))
            except (ValueError, TypeError, KeyError):
                # One user's mistake must not end the services of all the others.
                _log.exception("request %s can't be read", path.name)
    return taken


def _parse(data: Any) -> ServiceRequest:
    extra = tuple(_parse_spec(raw) for raw in data["extra"])
    return ServiceRequest(data["id"], tuple(data["names"]), extra)


def _parse_spec(raw: Any) -> ServiceSpec:
    spec = ServiceSpec(**raw)
    # JSON has lists only.
    return replace(spec, argv=tuple(spec.argv), after=tuple(spec.after), uses=tuple(spec.uses))
