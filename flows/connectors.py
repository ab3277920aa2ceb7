"""Give the agents of one run the connectors of its organization, and of no other."""

import logging
from dataclasses import replace

from pydantic import TypeAdapter, ValidationError

from agents.connectors.definitions import ConnectorDefinition
from agents.connectors.opening import OrgConnectors
from agents.interface import Connectors
from domain.addresses import POSTGRES_PORT, Endpoint
from flows.runtime import Runtime
from persistence.connectors import find_dataset, list_connectors
from persistence.sessions import Database, OrgSession

_LOG = logging.getLogger("tenantry.connectors")
_DEFINITION: TypeAdapter[ConnectorDefinition] = TypeAdapter(ConnectorDefinition)


def make_connectors(runtime: Runtime, session: OrgSession) -> Connectors:
    """Read the connector definitions of a session's organization.

    Records are read when an agent asks, in transactions of their own.

    A definition that is no longer valid is left out, with a line in the log: the agents that
    name it say that it is missing, and the others work.
    """

    org_id, rules = session.org_id, runtime.address_rules

    def read_dataset(name: str) -> bytes | None:
        with runtime.database.org(org_id) as own:
            return find_dataset(own, name)

    stored = list_connectors(session)
    definitions: dict[str, ConnectorDefinition] = {}
    for name, settings in stored.items():
        try:
            definitions[name] = _DEFINITION.validate_python(settings)
        except ValidationError as error:
            _LOG.error(
                "connector %r of %s is not valid: %d problems", name, org_id, error.error_count()
            )
    return OrgConnectors(
        definitions,
        data_root=runtime.data_root / org_id,
        read_dataset=read_dataset,
        rules=replace(rules, refused=(*rules.refused, *_own_servers(runtime.database))),
    )


def _own_servers(database: Database) -> tuple[Endpoint, ...]:
    """List the servers of the platform's own database: no tenant's connector may reach them."""
    urls = (database.app.url, database.platform.url)
    hosts = {
        (each.strip(), url.port or POSTGRES_PORT)
        for url in urls
        for host in (url.host, url.query.get("host"))
        for each in ((host,) if isinstance(host, str) else host or ())
    }
    # A folder is a socket's: that server is on this machine.
    return tuple(
        Endpoint("localhost" if host.startswith("/") else host, port)
        for host, port in sorted(hosts)
    )
