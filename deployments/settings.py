"""What an operator can set: every `TENANTRY_…` name, read from the environment in one place."""

import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_core import ErrorDetails

from deployments.setting_kinds import COMPUTED_DEFAULTS, KINDS
from domain.addresses import read_endpoints, read_networks
from domain.errors import ErrorCode, InvalidInput, Problem

PREFIX = "TENANTRY_"
# Prefect's own name: whoever has set it for `prefect` should not have to set it twice.
PREFECT_API_URL = "PREFECT_API_URL"
_AUDIT_KEY_LENGTH = 32  # characters: 128 bits, if they are hex digits
SYSTEM_HOME = Path("/var/lib/tenantry")


class SettingsInvalid(InvalidInput):
    """The environment holds settings that we don't know or can't use; all of them are listed."""

    code = ErrorCode.SETTINGS_INVALID
    subject: ClassVar[str] = "environment"


def _absolute(path: Path) -> Path:
    # Services run in other folders, so a relative path would mean another place to each.
    return Path(os.path.abspath(path.expanduser()))


def _postgres_url(url: SecretStr) -> SecretStr:
    scheme, separator, rest = url.get_secret_value().partition("://")
    if not separator or scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise ValueError("must start with postgresql:// (PostgreSQL is the only database)")
    return SecretStr(f"postgresql+psycopg://{rest}")


def _long_key(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value()) < _AUDIT_KEY_LENGTH:
        raise ValueError(f"must have at least {_AUDIT_KEY_LENGTH} characters")
    return key


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return url.rstrip("/")


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _default_home() -> Path:
    # PostgreSQL refuses to run as root and runs as `nobody` then, who can't enter /root.
    if sys.platform != "win32" and os.geteuid() == 0:
        return SYSTEM_HOME
    return platformdirs.user_data_path("tenantry", appauthor=False)


def _default_data_root(fields: dict[str, Any]) -> Path:
    # A refused `home` is missing here; the refusal itself is what the operator is told.
    home = fields.get("home")
    return home / "data" if isinstance(home, Path) else _default_home() / "data"


def _networks(text: str) -> str:
    read_networks(text)
    return text


def _endpoints(text: str) -> str:
    read_endpoints(text)
    return text


HomePath = Annotated[Path, AfterValidator(_absolute)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Settings(BaseModel):
    """How this installation runs; the defaults give a complete one on this machine alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    home: HomePath = Field(default_factory=_default_home)
    """Folder of the embedded database, its secrets and all logs. Change it to keep several
    installations apart. As root it must be reachable for the user `nobody`, as PostgreSQL
    refuses to run as root."""

    database_url: PostgresUrl | None = None
    """URL of your own PostgreSQL, as the role that owns the tables
    (`postgresql://tenantry_owner:…@host/tenantry`). Set it in production; unset, an embedded
    PostgreSQL is started under `TENANTRY_HOME`."""

    database_app_url: PostgresUrl | None = None
    """URL for the role `tenantry_app`, as which everything runs that acts for an organization.
    Set it when that role's password is managed elsewhere; unset, it is derived from
    `TENANTRY_DATABASE_URL`."""

    database_platform_url: PostgresUrl | None = None
    """URL for the role `tenantry_platform`, as which the worker and the steward do the few acts
    that cross organizations. Set it when that role's password is managed elsewhere; unset, it
    is derived from `TENANTRY_DATABASE_URL`."""

    audit_key: Annotated[SecretStr, AfterValidator(_long_key)] | None = None
    """Key of the HMAC that chains the audit log, at least 32 characters. Set it in production,
    from where the database's administrators can't read it; changing it makes older rows
    unverifiable."""

    prefect_api_url: HttpUrl | None = Field(default=None, alias=PREFECT_API_URL)
    """API of your own Prefect server (`https://prefect.internal/api`); Prefect's own name. Set
    it in production; unset, an embedded Prefect server is started."""

    prefect_ui_url: HttpUrl | None = None
    """Where people open Prefect's pages, for links. Set it when that differs from the API's
    address without `/api`."""

    worker_limit: Annotated[int, Field(ge=1, le=256)] = 16
    """Prefect flow runs that one worker carries at a time. The last one is kept for an
    organization that has nothing running. Raise it when agents mostly wait for other services."""

    worker_processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Worker processes that `tenantry worker`, and the worker of `tenantry up`, consists of. Raise
    it when one worker keeps a core busy and others are idle: each has limits, connections and
    memory of its own."""

    worker_isolated: bool = False
    """Set by workers, for the process in which they have lost executions carried alone."""

    worker_executions: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    """Executions that one worker carries at a time, in all its runs; it takes no further batch
    beyond it. Raise it when agents mostly wait and memory is plenty: each needs room for its
    input and its agents' answers."""

    max_batch: Annotated[int, Field(ge=1, le=1_000)] = 500
    """Executions in one Prefect flow run, for workflows that set no `max_batch` of their own. 1
    gives each execution a flow run; Prefect then starts a handful a second."""

    ageing_s: Annotated[float, Field(ge=1, le=86_400)] = 60
    """Seconds after which a waiting execution counts as one priority higher, and again after as
    many more, so that nothing waits for ever behind more urgent work."""

    poll_interval_s: Annotated[float, Field(ge=0.05, le=60)] = 0.5
    """Seconds a worker with nothing to do waits before it asks for work again. Raise it to
    spare the database when many workers are idle."""

    prefect_poll_s: Annotated[float, Field(ge=0.2, le=600)] = 2
    """Seconds between two questions to Prefect for runs that schedules and its Run button made.
    Raise it to spare Prefect's server when there are many workers."""

    lease_s: Annotated[float, Field(ge=3, le=3600)] = 10
    """Seconds without a sign of life after which a worker counts as lost and its executions go
    to another one. Raise it when workers are starved of CPU and get declared lost."""

    reconcile_interval_s: Annotated[float, Field(ge=0.5, le=600)] = 3
    """Seconds between two comparisons of Prefect with the execution rows. It bounds how long a
    change that no hook reported stays unseen."""

    pending_limit_s: Annotated[float, Field(ge=5, le=86400)] = 120
    """Seconds that a flow run may be pending in Prefect. After that its executions go to another
    worker. Raise it when workers take long to start a run."""

    event_days: Annotated[float, Field(gt=0, le=3650)] = 7
    """Days that events of executions are kept for listeners that were away. Raise it when they
    are away for longer."""

    drift_log_days: Annotated[float, Field(gt=0, le=3650)] = 30
    """Days that the log of drift, and of what was done about it, is kept."""

    drain_grace_s: Annotated[float, Field(ge=0, le=3600)] = 20
    """Seconds that a stopping worker gives its runs to finish before it hands them back. Match
    it to your service manager's stop timeout."""

    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """How often agents are asked for an execution over which workers are lost, until it fails."""

    data_root: HomePath = Field(default_factory=_default_data_root)
    """Folder that file connectors may read; nothing outside of it is readable to a workflow.
    Unset, it is `data` under `TENANTRY_HOME`."""

    connector_networks: Annotated[str, AfterValidator(_networks)] | None = None
    """Addresses of the worker's own machine that `sql` connectors may read from, separated by
    commas (`127.0.0.1/32`). Unset, none: there are services that trust whoever is on it."""

    connector_refused: Annotated[str, AfterValidator(_endpoints)] | None = None
    """Servers that no connector may read from (`host:port`), separated by commas, besides that of
    Tenantry's own database. Name Prefect's database server, if that is another one."""

    api_host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    """Address on which the REST API listens. Change it to serve other machines, and put a proxy
    that speaks TLS in front: tokens must not travel in plain text."""

    api_port: Annotated[int, Field(ge=1, le=65535)] = 4280
    """TCP port of the REST API. Where it is taken, `tenantry up` chooses another one and says
    so."""

    api_proxies: str | None = None
    """Addresses of your own proxies, separated by commas, whose `X-Forwarded-For` is believed;
    unset, none is. Set it when the API is behind a proxy: the audit trail keeps the addresses of
    those who ask."""

    api_max_connections: Annotated[int, Field(ge=10, le=100_000)] = 4_000
    """Connections to the REST API that are open at a time, event streams included. When there
    are more, the one is closed whose client has been silent for longest. Each takes an open file:
    the process raises its own limit as far as the system lets it."""

    api_head_timeout_s: Annotated[float, Field(ge=0.5, le=300)] = 10
    """Seconds that a client of the REST API may take to send a request's headers. Raise it when
    clients come over very bad lines."""

    api_stall_timeout_s: Annotated[float, Field(ge=0.5, le=600)] = 20
    """Seconds that a client of the REST API may read nothing of its answer or its events before
    it is dropped."""

    event_ping_s: Annotated[float, Field(ge=0.1, le=300)] = 15
    """Seconds between two signs of life in an event stream without events, when its token is
    looked at again, too. Set it below the time after which your proxy closes idle connections."""

    metrics_host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    """Address on which the API process serves figures for Prometheus. Choose one that tenants do
    not reach: the figures are of all organizations together."""

    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """TCP port of `/metrics` for Prometheus; unset, it is not served."""

    metrics_orgs: Annotated[int, Field(ge=0, le=10_000)] = 100
    """Organizations that Prometheus is told of one by one: those that move most and those that
    wait longest, if there are more. Raise it when Prometheus has room for a dozen series of
    each."""

    execution_url: HttpUrl | None = None
    """Where people see an execution, with `{id}` in place of its id, for the link from Prefect's
    pages (`https://tenantry.internal/executions/{id}`)."""

    org: Annotated[str, Field(min_length=1)] = "org_demo"
    """Organization for which the command line acts when `--org` is not given."""

    user: Annotated[str, Field(min_length=1)] = "user_admin"
    """User as whom the command line acts, and whom the audit log names, when `--user` is not
    given."""

    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = "INFO"
    """Least severe messages that are logged: `DEBUG`, `INFO`, `WARNING` or `ERROR`."""

    log_sample: Annotated[float, Field(ge=0, le=1)] = 1
    """Part of all executions whose starts and ends workers and stewards log: of each one all
    lines or none. Lower it where a worker does hundreds a second; 0 logs none of them."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting as a line of documentation."""

    name: str
    kind: str
    default: str
    meaning: str


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables; an empty value counts as unset.

    Raises:
        SettingsInvalid: a `TENANTRY_…` name is unknown, or a value can't be used. All problems
            are in `problems`; none of them repeats a value, as it may be a secret.
    """
    fields = _field_by_name()
    values = {
        fields[name]: value for name, value in environ.items() if name in fields and value.strip()
    }
    problems = [
        _unknown_name(name, fields)
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in fields
    ]
    try:
        settings = Settings.model_validate(values, by_name=True)
    except ValidationError as refused:
        details = refused.errors(include_input=False, include_url=False)
        # A default that depends on a refused value is no problem of its own.
        wrong = [detail for detail in details if detail["type"] != "default_factory_not_called"]
        problems += [_bad_value(detail) for detail in wrong]
        raise SettingsInvalid(problems) from None
    if problems:
        raise SettingsInvalid(problems)
    return settings


def as_environ(settings: Settings) -> dict[str, str]:
    """Write settings down as the variables that `load_settings` reads back, for a child process.

    It holds the secrets in plain text: give it to a process, never to a log.
    """
    environ: dict[str, str] = {}
    for name, field in _field_by_name().items():
        value: object = getattr(settings, field)
        if value is not None:
            environ[name] = str(value.get_secret_value() if isinstance(value, SecretStr) else value)
    return environ


def describe_settings() -> tuple[SettingRow, ...]:
    """List every setting for the documentation and for `.env.example`."""
    return tuple(
        SettingRow(
            name=name,
            kind=KINDS.get(field, "text"),
            default=_default_text(field),
            meaning=" ".join((Settings.model_fields[field].description or "").split()),
        )
        for name, field in _field_by_name().items()
    )


def _field_by_name() -> dict[str, str]:
    """Map each environment variable to its field."""
    return {
        info.alias or f"{PREFIX}{field.upper()}": field
        for field, info in Settings.model_fields.items()
    }


def _default_text(field: str) -> str:
    computed = COMPUTED_DEFAULTS.get(field)
    default: object = Settings.model_fields[field].default
    return computed or ("" if default is None else str(default))


def _unknown_name(name: str, known: Mapping[str, str]) -> Problem:
    # Without the prefix, which alone makes any two names look alike.
    ends = [each.removeprefix(PREFIX) for each in known if each.startswith(PREFIX)]
    near = difflib.get_close_matches(name.removeprefix(PREFIX), ends, n=1, cutoff=0.6)
    hint = f"Did you mean {PREFIX}{near[0]}?" if near else f"Known are: {', '.join(known)}."
    return Problem(
        ErrorCode.SETTINGS_INVALID, f"/{name}", f"{name} is not a setting of Tenantry.", hint
    )


def _bad_value(detail: ErrorDetails) -> Problem:
    place = str(detail["loc"][0])  # the field, or its alias where it has one
    name = next((n for n, field in _field_by_name().items() if place in {n, field}), place)
    field = _field_by_name().get(name, place)
    # Pydantic's texts for our few types: "Input should be …", "Value error, must …".
    said = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    meaning = " ".join((Settings.model_fields[field].description or "").split())
    return Problem(
        ErrorCode.SETTINGS_INVALID, f"/{name}", f"{name} {said}.", f"Meaning of {name}: {meaning}"
    )
