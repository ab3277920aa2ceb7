"""What the flows of one worker process reach: its database, its agents, its Prefect."""

from dataclasses import dataclass, field
from pathlib import Path

from agents.registry import AgentRegistry
from domain.addresses import AddressRules
from domain.errors import ErrorCode, TenantryError
from persistence.sessions import Database


class RuntimeMissing(TenantryError):
    """A compiled flow was loaded outside a Tenantry worker."""

    code = ErrorCode.INTERNAL

    def __init__(self) -> None:
        super().__init__(
            "This process is no Tenantry worker, so it cannot run tenants' workflows.",
            hint="Start one with `tenantry worker`, or "
            "`prefect worker start --pool tenantry --type tenantry`.",
        )


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that a flow needs from the process that it runs in."""

    database: Database
    registry: AgentRegistry
    data_root: Path
    """Each organization's file connectors read below `data_root/<org id>`."""
    address_rules: AddressRules = field(default_factory=AddressRules)
    """Where SQL connectors may connect to; never the platform's own database, besides."""
    max_attempts: int = 3
    """How often an execution is started before a lost worker fails it."""
    execution_url: str | None = None
    """Where people see an execution, with `{id}` for its id; for links in Prefect's UI."""
    hooks: bool = True
    """Whether state hooks write at once. Without them the steward alone does, seconds later."""


# Prefect loads a flow by a dotted path, with no arguments: the process that serves flows says
# here, once, what they run on. Keyed so that a test may replace it.
_current: dict[str, Runtime] = {}


def set_runtime(runtime: Runtime) -> None:
    """Say what this process's flows run on."""
    _current["runtime"] = runtime


def get_runtime() -> Runtime:
    """Read what this process's flows run on.

    Raises:
        RuntimeMissing: nobody has said.
    """
    runtime = _current.get("runtime")
    if runtime is None:
        raise RuntimeMissing
    return runtime
